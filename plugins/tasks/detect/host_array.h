/* An array that grows, in the host's memory. */
#ifndef CVR_DETECT_HOST_ARRAY_H
#define CVR_DETECT_HOST_ARRAY_H

#include <cvr/plugin/plugin.h>

typedef struct host_array {
    void *data;
    uint64_t n, room; /* elements */
} host_array;

/* Room for `more` elements of `size` bytes past those that there are. */
static inline int32_t host_array_room(host_array *a, const cvr_host *host, uint64_t more, uint64_t size,
                                      cvr_error *err) {
    uint64_t least, bytes;
    if (__builtin_add_overflow(a->n, more, &least) || __builtin_mul_overflow(least + least / 2, size, &bytes) ||
        bytes > UINT64_C(1) << 42)
        return cvr_fail(err, CVR_ERR_NOMEM, "%llu rows more are too many", (unsigned long long)more);
    if (least <= a->room) return CVR_OK;
    void *const data = host->alloc(host, bytes + size, 64);
    if (!data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for %llu rows", (unsigned long long)least);
    if (a->n) memcpy(data, a->data, a->n * size);
    if (a->data) host->free(host, a->data);
    a->data = data;
    a->room = least + least / 2;
    return CVR_OK;
}

/* One element more, at the end; NULL when memory is out. */
static inline void *host_array_add(host_array *a, const cvr_host *host, uint64_t size, cvr_error *err) {
    if (host_array_room(a, host, 1, size, err) != CVR_OK) return NULL;
    return (char *)a->data + a->n++ * size;
}

static inline void host_array_free(host_array *a, const cvr_host *host) {
    if (a->data) host->free(host, a->data);
    a->data = NULL;
    a->n = a->room = 0;
}

#endif
