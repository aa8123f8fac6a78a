/*
 * A folder for a test's files, below TMPDIR: made before a test, gone after it with all that lies in it.
 */
#ifndef CVR_TEST_SCRATCH_H
#define CVR_TEST_SCRATCH_H

#include <stdint.h>

extern char scratch_root[256];

/* `name` stands in the folder's. */
void scratch_open(const char *name);
void scratch_close(void);

/* A path in the folder; it lives until the fourth call after it. */
const char *scratch_path(const char *name);
/* The folder and those that it lies in. */
void scratch_folders(const char *name);
/* A file, with the folders that it lies in. */
void scratch_put(const char *name, const void *bytes, uint64_t n);
void scratch_put_text(const char *name, const char *text);

#endif
