/*
 * The class of a sample in a shard: a number as text, or a member of a JSON object.
 */
#ifndef CVR_TAR_LABEL_H
#define CVR_TAR_LABEL_H

#include <cvr/plugin/plugin.h>

#define TAR_MOST_CLASS 65535

/* " 17\n". -1 where it is no number of a class. */
int64_t tar_label_of_text(const char *text, uint64_t n);
/* The number of `key` in the outermost object. -1 where it is not there, or the text is no JSON object. */
int64_t tar_label_of_json(const char *text, uint64_t n, const char *key);

#endif
