/*
 * A plain tar archive as a list of its files: ustar (POSIX.1-1988), pax (POSIX.1-2001) and GNU's long names and sizes.
 */
#ifndef CVR_TAR_FILE_H
#define CVR_TAR_FILE_H

#include <cvr/plugin/plugin.h>

#define TAR_MOST_NAME 4096u

typedef struct tar_member {
    char name[TAR_MOST_NAME];
    uint64_t offset, size; /* of its bytes in the archive */
    int32_t is_link;       /* to another file: it has no bytes */
} tar_member;

typedef struct tar_file {
    const char *path; /* the caller's */
    int fd;
    uint64_t size, at;
} tar_file;

int32_t tar_file_open(tar_file *f, const char *path, cvr_error *err);
void tar_file_close(tar_file *f);
/* The next file or link; folders and the like are passed over. `done` where the archive ends. */
int32_t tar_file_next(tar_file *f, tar_member *m, int32_t *done, cvr_error *err);
/* `n` bytes at `offset`, all of which must be there. */
int32_t tar_file_read(const tar_file *f, uint64_t offset, void *to, uint64_t n, cvr_error *err);
/* CVR_ERR_FORMAT about the archive. */
int32_t tar_file_fail(const tar_file *f, const char *what, cvr_error *err);

#endif
