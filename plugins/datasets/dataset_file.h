/*
 * A data file, plain or gzip, read as a stream. Which of the two is told by its first bytes. Every error names the
 * file.
 */
#ifndef CVR_DATASET_FILE_H
#define CVR_DATASET_FILE_H

#include <cvr/plugin/plugin.h>

typedef struct dataset_file dataset_file;

int32_t dataset_file_open(const cvr_host *host, const char *path, dataset_file **out, cvr_error *err);
void dataset_file_close(dataset_file *f);

/* Up to `n` bytes; `got` is less only at the end. A gzip file that is cut short, or whose checksum differs, is an
 * error. */
int32_t dataset_file_read(dataset_file *f, void *to, uint64_t n, uint64_t *got, cvr_error *err);

/* The most bytes that the file could possibly give in all, whatever it declares. */
uint64_t dataset_file_limit(const dataset_file *f);

/* CVR_ERR_FORMAT about this file; `what` says what is wrong and what to do. */
int32_t dataset_file_fail(const dataset_file *f, cvr_error *err, const char *what);

/* The same about any path, with any code. */
int32_t dataset_file_fail_path(const char *path, cvr_error *err, int32_t code, const char *what);

/* Writes "dir/name" or, where only that exists, "dir/name.gz". 0 if there is neither. */
int32_t dataset_file_find(const char *dir, const char *name, char *buf, uint64_t size);

/* The last part of a path. */
const char *dataset_file_base(const char *path);

#endif
