/*
 * One IDX file (http://yann.lecun.com/exdb/mnist), plain or gzip: pictures or labels as bytes in memory.
 */
#ifndef CVR_IDX_FILE_H
#define CVR_IDX_FILE_H

#include "dataset_file.h"

#define IDX_MAGIC_IMAGES 0x00000803u /* u8, 3 dimensions */
#define IDX_MAGIC_LABELS 0x00000801u /* u8, 1 dimension */

/* What an IDX file declares: (n, height, width), or (n). */
typedef struct idx_header {
    uint32_t magic;
    uint32_t rank;
    int64_t shape[3];
} idx_header;

/* The whole of one file. `h` says which magic and rank are expected, and gets the shape. The bytes are the host's; give
 * them back with host->free, also after an error. */
int32_t idx_file_read(const cvr_host *host, const char *path, idx_header *h, uint8_t **out, cvr_error *err);

/* The highest of `n` labels. */
int64_t idx_file_highest(const uint8_t *labels, int64_t n);

#endif
