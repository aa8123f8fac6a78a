/* The allocator table. Every allocation of libcvr, and of plugins through the host, comes through here. */
#define _DEFAULT_SOURCE /* madvise */
#include <cvr/base.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Large blocks ask for huge pages: fewer faults, and fewer misses of the processor's table of pages where a kernel
 * walks along many planes at once, as Winograd's do. Where the system has none to give, nothing is lost. */
#define HUGE_PAGE ((size_t)2 << 20)

static void *libc_alloc(void *ctx, size_t bytes, size_t align) {
    (void)ctx;
    void *p = NULL;
    const bool huge = bytes >= 2 * HUGE_PAGE && align <= HUGE_PAGE;
    if (huge) align = HUGE_PAGE;
    if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes ? bytes : 1) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    if (huge) (void)madvise(p, bytes - bytes % HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return p;
}

static void libc_free(void *ctx, void *p) {
    (void)ctx;
    free(p);
}

static const cvr_allocator libc_allocator = {NULL, libc_alloc, libc_free};
static cvr_allocator current = {NULL, libc_alloc, libc_free};
static atomic_uint_fast64_t count;

void cvr_set_allocator(const cvr_allocator *a) {
    current = a ? *a : libc_allocator;
}

uint64_t cvr_alloc_count(void) {
    return atomic_load_explicit(&count, memory_order_relaxed);
}

void *cvr_alloc_aligned(size_t bytes, size_t align) {
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    return current.alloc(current.ctx, bytes, align);
}

void *cvr_calloc(size_t n, size_t size) {
    if (size && n > SIZE_MAX / size) return NULL;
    void *p = cvr_alloc_aligned(n * size, 16);
    if (p) memset(p, 0, n * size);
    return p;
}

void cvr_free(void *p) {
    if (p) current.free(current.ctx, p);
}

char *cvr_strndup(const char *s, size_t n) {
    char *copy = cvr_calloc(n + 1, 1);
    if (copy) memcpy(copy, s, n);
    return copy;
}

char *cvr_strdup(const char *s) {
    return cvr_strndup(s, strlen(s));
}

void *cvr_grow(void *array, size_t n, size_t *capacity, size_t element_size) {
    if (n < *capacity) return array;
    const size_t wanted = *capacity ? *capacity * 2 : 8;
    if (wanted < *capacity) return NULL;
    char *bigger = cvr_calloc(wanted, element_size);
    if (!bigger) return NULL;
    if (n) memcpy(bigger, array, n * element_size);
    cvr_free(array);
    *capacity = wanted;
    return bigger;
}
