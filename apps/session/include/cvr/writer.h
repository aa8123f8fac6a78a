/* Files that appear whole or not at all. */
#ifndef CVR_WRITER_H
#define CVR_WRITER_H

#include <cvr/base.h>

#pragma GCC visibility push(default)

/*
 * A file that appears whole or not at all: bytes go to PATH.tmp; commit() syncs it, renames it over PATH and syncs the
 * folder. With `keep`, the file that was there stays as PATH.1. Exactly one of commit and abandon ends it.
 */
typedef struct cvr_writer {
    char *path, *tmp;
    int fd;
    size_t used;
    uint8_t *buffer;
} cvr_writer;
int32_t cvr_writer_open(cvr_writer *w, const char *path, cvr_error *err);
/* With another ending than ".tmp": several processes that write the same file at once each need their own. */
int32_t cvr_writer_open_as(cvr_writer *w, const char *path, const char *ending, cvr_error *err);
int32_t cvr_writer_put(cvr_writer *w, const void *bytes, uint64_t n, cvr_error *err);
int32_t cvr_writer_commit(cvr_writer *w, bool keep, cvr_error *err);
void cvr_writer_abandon(cvr_writer *w);
/* All at once. */
int32_t cvr_fs_write(const char *path, const void *bytes, uint64_t n, cvr_error *err);
/* The same without waiting for the disk: should the machine stop, the file may be missing or empty, until cvr_fs_sync()
 * has returned for it and for its folder. */
int32_t cvr_fs_write_unsynced(const char *path, const void *bytes, uint64_t n, cvr_error *err);
int32_t cvr_fs_sync(const char *path, bool folder, cvr_error *err);

#pragma GCC visibility pop
#endif
