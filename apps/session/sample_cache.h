/* data.cache = ram: samples as the data set reads them, kept in memory from one epoch to the next. */
#ifndef CVR_SAMPLE_CACHE_H
#define CVR_SAMPLE_CACHE_H

#include <cvr/plugins.h>
#include <stdatomic.h>

typedef struct sample_cache sample_cache;

/* A cache before an open data set, which stays the caller's. `left`: bytes that it may still take, shared with others.
 */
int32_t sample_cache_create(sample_cache **out, const cvr_dataset_desc *inner, void *self, atomic_int_fast64_t *left,
                            cvr_error *err);
void sample_cache_destroy(sample_cache **c);
/* The same data set, cached: its `self` is the cache. */
const cvr_dataset_desc *sample_cache_desc(const sample_cache *c);
/* What data.cache_size says, else half of the memory that is free. */
int64_t sample_cache_room(uint64_t wanted);

#endif
