/* Fuzz target: plugins/weights/safetensors. What was read is written and read again, and must be the same. */
#include "../../plugins/weights/safetensors/safetensors.h"
#include "fuzz.h"
#include <stdlib.h>

#define MOST 256u

typedef struct kept {
    cvr_weight w[MOST];
    const cvr_weight *pointers[MOST];
    uint64_t n;
    int32_t writable; /* every type and name is one that the writer takes, and there was room for all */
} kept;

static int32_t keep(void *ctx, const cvr_weight *w, cvr_error *err) {
    kept *const k = ctx;
    (void)err;
    fuzz_touch(w->name, strlen(w->name));
    fuzz_touch(w->source_dtype, strlen(w->source_dtype));
    fuzz_touch(w->data, w->bytes);
    if (k->n == MOST || w->dtype == 0 || strcmp(w->name, ST_METADATA) == 0) {
        k->writable = 0;
        return CVR_OK;
    }
    k->w[k->n] = *w;
    k->w[k->n].name = strdup(w->name);
    fuzz_check(k->w[k->n].name != NULL, "out of memory");
    k->pointers[k->n] = &k->w[k->n];
    k->n++;
    return CVR_OK;
}

static void forget(kept *k) {
    for (uint64_t i = 0; i < k->n; i++) free((void *)(uintptr_t)k->w[i].name);
}

typedef struct output {
    uint8_t *bytes;
    uint64_t n;
} output;

static int32_t sink(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    output *const o = ctx;
    (void)err;
    uint8_t *const more = realloc(o->bytes, o->n + n);
    fuzz_check(more != NULL, "out of memory");
    memcpy(more + o->n, bytes, n);
    o->bytes = more;
    o->n += n;
    return CVR_OK;
}

static void check_same(const kept *a, const kept *b) {
    fuzz_check(a->n == b->n, "%llu tensors became %llu", (unsigned long long)a->n, (unsigned long long)b->n);
    for (uint64_t i = 0; i < a->n; i++) {
        const cvr_weight *const x = &a->w[i];
        uint64_t k = 0;
        while (k < b->n && strcmp(b->w[k].name, x->name) != 0) k++;
        fuzz_check(k < b->n, "tensor '%s' was lost", x->name);
        const cvr_weight *const y = &b->w[k];
        fuzz_check(x->dtype == y->dtype && x->rank == y->rank && x->bytes == y->bytes &&
                       memcmp(x->shape, y->shape, sizeof x->shape) == 0 &&
                       (x->bytes == 0 || memcmp(x->data, y->data, x->bytes) == 0),
                   "tensor '%s' is another after writing", x->name);
    }
}

static void check_round_trip(const fuzz_host *h, const kept *first) {
    static kept second;
    output o = {NULL, 0};
    cvr_error err;
    cvr_error_init(&err);
    int32_t status = st_write(&h->host, first->pointers, first->n, NULL, 0, sink, &o, &err);
    fuzz_check(status == CVR_OK, "read, but not written: %s", err.message);
    memset(&second, 0, sizeof second);
    status = st_read(&h->host, o.bytes, o.n, keep, &second, &err);
    fuzz_check(status == CVR_OK, "written, but not read: %s", err.message);
    check_same(first, &second);
    forget(&second);
    free(o.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static kept first;
    fuzz_host h;
    cvr_error err;
    cvr_error_init(&err);
    fuzz_host_init(&h, 1u << 24);
    memset(&first, 0, sizeof first);
    first.writable = 1;
    const int32_t status = st_read(&h.host, bytes, n, keep, &first, &err);
    fuzz_check_error(status, &err);
    if (status == CVR_OK && first.writable) check_round_trip(&h, &first);
    forget(&first);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    return 0;
}
