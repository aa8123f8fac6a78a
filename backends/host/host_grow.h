/* Arrays that grow, by the host's allocator: for backends. */
#ifndef HOST_GROW_H
#define HOST_GROW_H

#include <cvr/plugin/host.h>
#include <string.h>

/* Room for `wanted` more items of `size` bytes in an array of n: the array itself, or a larger copy in its place. NULL:
 * there is no memory, and the array is as it was. */
static inline void *host_grow_by(const cvr_host *host, void *items, uint64_t n, uint64_t wanted, uint64_t *capacity,
                                 uint64_t size) {
    const uint64_t larger = 2 * n + 15 + wanted;
    if (n + wanted <= *capacity) return items;
    void *more = host->alloc(host, larger * size, 64);
    if (!more) return NULL;
    if (n) memcpy(more, items, n * size);
    host->free(host, items);
    *capacity = larger;
    return more;
}

/* Room for one more. */
static inline void *host_grow(const cvr_host *host, void *items, uint64_t n, uint64_t *capacity, uint64_t size) {
    return host_grow_by(host, items, n, 1, capacity, size);
}

#endif
