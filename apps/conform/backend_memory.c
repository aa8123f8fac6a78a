/* See backend_memory.h. */
#include "backend_memory.h"
#include <cvr/plugin/rng.h>

#define N_BLOCKS 5
#define LARGEST 70001 /* bytes */

typedef struct block {
    uint64_t bytes;
    void *address;
    uint8_t want[LARGEST], have[LARGEST];
} block;

typedef struct trial {
    cvr_device *d;
    const cvr_backend_desc *backend;
    void *self;
    block *blocks;
} trial;

/* ---- transfers ---- */

static int32_t moved(const trial *t, int32_t (*move)(void *, const cvr_transfer *, uint64_t *, cvr_error *), void *to,
                     const void *from, uint64_t bytes, cvr_error *err) {
    const cvr_transfer transfer = {sizeof transfer, to, from, bytes, 0};
    uint64_t ticket;
    CVR_TRY(move(t->self, &transfer, &ticket, err));
    if (!ticket) return CVR_OK;
    CVR_TRY(t->backend->wait(t->self, ticket, err));
    return t->backend->wait(t->self, ticket, err); /* a ticket that is done stays done */
}

static int32_t upload(const trial *t, block *b, uint64_t from, uint64_t bytes, cvr_error *err) {
    return moved(t, t->backend->upload, (uint8_t *)b->address + from, b->want + from, bytes, err);
}

/* The whole block is what it must be. */
static int32_t compare(const trial *t, block *b, const char *after, cvr_error *err) {
    memset(b->have, 0, b->bytes);
    CVR_TRY(moved(t, t->backend->download, b->have, b->address, b->bytes, err));
    for (uint64_t i = 0; i < b->bytes; i++)
        if (b->have[i] != b->want[i])
            return cvr_fail(err, CVR_ERR_PLUGIN, "byte %llu of a block of %llu is %u and must be %u after %s",
                            (unsigned long long)i, (unsigned long long)b->bytes, b->have[i], b->want[i], after);
    return CVR_OK;
}

/* Parts of a block, of any size, at multiples of 4 bytes. */
static int32_t try_transfers(const trial *t, cvr_rng *rng, cvr_error *err) {
    for (int i = 0; i < N_BLOCKS; i++) {
        block *b = &t->blocks[i];
        for (uint64_t k = 0; k < b->bytes; k++) b->want[k] = (uint8_t)cvr_rng_below(rng, 256);
        CVR_TRY(upload(t, b, 0, b->bytes, err));
    }
    for (int i = 0; i < N_BLOCKS; i++) CVR_TRY(compare(t, &t->blocks[i], "an upload", err));
    for (int turn = 0; turn < 40; turn++) {
        block *b = &t->blocks[turn % N_BLOCKS], *other = &t->blocks[(turn + 1) % N_BLOCKS];
        const uint64_t from = cvr_rng_below(rng, (b->bytes + 3) / 4) * 4, n = 1 + cvr_rng_below(rng, b->bytes - from);
        for (uint64_t k = 0; k < n; k++) b->want[from + k] = (uint8_t)cvr_rng_below(rng, 256);
        CVR_TRY(upload(t, b, from, n, err));
        CVR_TRY(compare(t, b, "an upload into a part of it", err));
        const uint64_t most = b->bytes < other->bytes ? b->bytes : other->bytes;
        CVR_TRY(moved(t, t->backend->copy, other->address, b->address, most, err));
        memcpy(other->want, b->want, most);
        CVR_TRY(compare(t, other, "a copy on the device", err));
    }
    return CVR_OK;
}

/* ---- blocks ---- */

static int32_t try_blocks(const trial *t, cvr_error *err) {
    static const uint64_t sizes[N_BLOCKS] = {1, 3, 256, 4097, LARGEST};
    const uint64_t alignment = cvr_device_info_of(t->d)->alignment;
    for (int i = 0; i < N_BLOCKS; i++) {
        block *b = &t->blocks[i];
        b->bytes = sizes[i];
        CVR_TRY(cvr_device_alloc(t->d, b->bytes, &b->address, err));
        const uint64_t at = (uint64_t)(uintptr_t)b->address;
        if (!at || at % alignment)
            return cvr_fail(err, CVR_ERR_PLUGIN, "a block of %llu bytes at %p, which is no multiple of alignment %llu",
                            (unsigned long long)b->bytes, b->address, (unsigned long long)alignment);
        for (int k = 0; k < i; k++) {
            const uint64_t other = (uint64_t)(uintptr_t)t->blocks[k].address;
            if (at < other + t->blocks[k].bytes && other < at + b->bytes)
                return cvr_fail(err, CVR_ERR_PLUGIN, "two blocks that are in use overlap");
        }
    }
    return CVR_OK;
}

/* ---- past the limits ---- */

/* A refusal has words, and does not say that the device is gone. */
static int32_t refused(int32_t status, const cvr_error *why, const char *what, cvr_error *err) {
    if (status == CVR_OK) return cvr_fail(err, CVR_ERR_PLUGIN, "%s is not refused", what);
    if (status == CVR_ERR_DEVICE)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s is refused as if the device were lost: %.300s", what, why->message);
    return why->message[0] ? CVR_OK : cvr_fail(err, CVR_ERR_PLUGIN, "%s is refused without a word", what);
}

/* As much as the device says that it may give at once: it gives that, or says why not. */
static int32_t try_largest(const trial *t, cvr_error *err) {
    cvr_error why = CVR_ERROR_INIT;
    void *address = NULL;
    const uint64_t most = cvr_device_info_of(t->d)->max_allocation, bytes = most > INT64_MAX / 4 ? INT64_MAX / 4 : most;
    const int32_t status = cvr_device_alloc(t->d, bytes, &address, &why);
    if (status == CVR_OK) cvr_device_free(t->d, address);
    if (status == CVR_OK && bytes == most) return CVR_OK;
    CVR_TRY(refused(status, &why, "a block of max_allocation bytes", err));
    if (most == UINT64_MAX) return CVR_OK;
    cvr_error_init(&why);
    return refused(cvr_device_alloc(t->d, most + 1, &address, &why), &why, "a block past max_allocation", err);
}

/* A program with a tensor that no block of the device can hold. */
static int32_t plan_large(const trial *t, cvr_plugins *plugins, const cvr_threadpool *pool, cvr_error *err) {
    const uint64_t most = cvr_device_info_of(t->d)->max_allocation;
    const int64_t n = most > INT64_MAX / 512 ? INT64_MAX / 2048 : (int64_t)(most / 4 + 1);
    cvr_store *store = NULL;
    cvr_graph *graph = NULL;
    cvr_program *program = NULL;
    cvr_arena *arena = NULL;
    cvr_value v[2];
    cvr_type type;
    int32_t status;
    cvr_type_set(&type, CVR_F32, 1, (int64_t[1]){n});
    CVR_TRY_OUT(cvr_store_create(&store, 1, err));
    CVR_TRY_OUT(cvr_graph_create(&graph, plugins, store, false, err));
    CVR_TRY_OUT(cvr_graph_input(graph, "x", &type, &v[0], err));
    v[1] = v[0];
    CVR_TRY_OUT(cvr_emit(cvr_graph_builder(graph), "add", NULL, 0, v, 2, &v[0], err));
    CVR_TRY_OUT(cvr_graph_output(graph, "y", v[0], err));
    CVR_TRY_OUT(cvr_store_place(store, t->d, err));
    CVR_TRY_OUT(cvr_program_plan(&program, graph, t->d, pool, CVR_FALLBACK_ALLOW, err));
    CVR_TRY_OUT(cvr_arena_create(&arena, t->d, &program, 1, 0, err));
out:
    cvr_program_destroy(&program);
    cvr_arena_destroy(&arena);
    cvr_graph_destroy(&graph);
    cvr_store_destroy(&store);
    return status;
}

static int32_t try_all(const trial *t, cvr_plugins *plugins, const cvr_threadpool *pool, cvr_error *err) {
    cvr_error why = CVR_ERROR_INIT;
    cvr_rng rng;
    uint64_t used, available;
    cvr_rng_start(&rng, 0x6d656d6f, 0);
    CVR_TRY(try_blocks(t, err));
    CVR_TRY(try_transfers(t, &rng, err));
    CVR_TRY(try_largest(t, err));
    CVR_TRY(refused(plan_large(t, plugins, pool, &why), &why, "a tensor past max_allocation", err));
    CVR_TRY(t->backend->memory(t->self, &used, &available, err));
    return try_transfers(t, &rng, err); /* nothing of that did any harm */
}

int32_t backend_memory(cvr_device *d, cvr_plugins *plugins, const cvr_threadpool *pool, cvr_error *err) {
    const trial t = {.d = d,
                     .backend = cvr_device_backend(d),
                     .self = cvr_device_self(d),
                     .blocks = cvr_calloc(N_BLOCKS, sizeof *t.blocks)};
    if (!t.blocks) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = try_all(&t, plugins, pool, err);
    for (int i = 0; i < N_BLOCKS; i++) cvr_device_free(d, t.blocks[i].address);
    cvr_free(t.blocks);
    return status;
}
