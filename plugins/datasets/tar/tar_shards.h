/*
 * Shards: which archives a pattern names, and the samples in them.
 */
#ifndef CVR_TAR_SHARDS_H
#define CVR_TAR_SHARDS_H

#include "../name_table.h"
#include "tar_file.h"

/* A picture and its class. The index holds no more than this and its name for what takes two headers in the archive. */
typedef struct tar_sample {
    uint64_t offset, size; /* the picture's bytes */
    uint64_t key;          /* its name in the index's text, without ending */
    uint32_t shard;
    int32_t label;
} tar_sample;

typedef struct tar_index {
    const cvr_host *host;
    const cvr_image_service *image;
    const char *label_key; /* in .json members */
    name_table shards;     /* paths */
    char *text;
    uint64_t text_n, text_room;
    tar_sample *samples;
    uint64_t n, room;
    int64_t highest; /* label */
} tar_index;

/* Adds the archives of a pattern: `{a,b}` and `{000..012}` are written out, then `*`, `?` and `[...]` looked up. An
 * error where there are none. */
int32_t tar_shards_find(tar_index *x, const char *pattern, cvr_error *err);
/* Goes through all archives. */
int32_t tar_index_make(tar_index *x, cvr_error *err);
void tar_index_free(tar_index *x);

#endif
