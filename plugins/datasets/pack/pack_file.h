/*
 * A packed split in memory, all of it checked but the records' sums.
 */
#ifndef CVR_PACK_FILE_H
#define CVR_PACK_FILE_H

#include <cvr/plugin/formats/pack.h>
#include <cvr/plugin/plugin.h>
#include <stdatomic.h>

typedef struct pack_file {
    const cvr_host *host;
    char *path;
    const uint8_t *bytes; /* the mapped file */
    uint64_t size;
    pack_footer footer;
    const pack_entry *entries;
    uint64_t *names;      /* where each class's name is in the file */
    atomic_uchar *looked; /* by sample: its sum was found right */
} pack_file;

/* Errors name the file. After an error, too, it wants pack_file_close(). */
int32_t pack_file_open(pack_file *f, const cvr_host *host, const char *path, cvr_error *err);
void pack_file_close(pack_file *f);
/* A sample's record, whose sum is checked when it is asked for the first time. */
int32_t pack_file_record(const pack_file *f, int64_t index, const uint8_t **record, cvr_error *err);
/* CVR_ERR_FORMAT about the file. */
int32_t pack_file_fail(const pack_file *f, const char *what, cvr_error *err);

#endif
