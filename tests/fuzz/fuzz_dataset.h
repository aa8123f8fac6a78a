/* What the targets of data sets share. */
#ifndef CVR_FUZZ_DATASET_H
#define CVR_FUZZ_DATASET_H

#include "fuzz.h"

/* Opens the data set of the plugin that is linked to the target, reads it if it can be opened, and closes it. More
 * than `most` bytes in all must not be asked for. */
void fuzz_dataset(const void *attrs, uint32_t split, uint32_t channels, uint64_t most);
/* As fuzz_file, compressed; one time in four the bytes as they are, which then may be gzip or not. */
void fuzz_gzip_file(const char *name, const uint8_t *bytes, size_t n, uint64_t number);

#endif
