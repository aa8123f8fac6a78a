/*
 * The memory of one reading: chunks that are given back together.
 */
#include "pth.h"

/* A byte of a pickle makes at most a few values of 16 bytes; honest files stay far below this. */
#define BYTES_PER_FILE_BYTE 32u
#define LEAST_LIMIT (1ull << 20)
#define LARGEST_LIMIT (1ull << 32)
#define LEAST_CHUNK (16u << 10)

typedef struct pth_chunk {
    struct pth_chunk *next;
    uint64_t used, size; /* bytes that follow this header, which keeps their alignment */
    uint64_t reserved;
} pth_chunk;

void pth_arena_init(pth_arena *a, const cvr_host *host, uint64_t file_size) {
    const uint64_t limit =
        file_size < LARGEST_LIMIT / BYTES_PER_FILE_BYTE ? file_size * BYTES_PER_FILE_BYTE : LARGEST_LIMIT;
    *a = (pth_arena){host, NULL, 0, limit + LEAST_LIMIT};
}

void pth_arena_free(pth_arena *a) {
    while (a->chunks) {
        pth_chunk *const c = a->chunks;
        a->chunks = c->next;
        a->host->free(a->host, c);
    }
}

int32_t pth_arena_take(pth_arena *a, uint64_t bytes, void **out, cvr_error *err) {
    pth_chunk *c = a->chunks;
    *out = NULL;
    if (bytes > a->limit - a->used) {
        return cvr_fail(
            err, CVR_ERR_FORMAT,
            "reading it takes more than %llu bytes, far more than a file of this size is worth; the file is "
            "damaged, or made to do harm",
            (unsigned long long)a->limit);
    }
    bytes = (bytes + 15) / 16 * 16;
    if (!c || bytes > c->size - c->used) {
        /* Chunks grow with what was taken, so that their number stays small. */
        const uint64_t usual = a->used < LEAST_CHUNK ? LEAST_CHUNK : a->used < (1u << 20) ? a->used : 1u << 20;
        const uint64_t size = bytes > usual ? bytes : usual;
        c = a->host->alloc(a->host, sizeof *c + size, 16);
        if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        *c = (pth_chunk){a->chunks, 0, size, 0};
        a->chunks = c;
    }
    *out = (uint8_t *)c + sizeof *c + c->used;
    c->used += bytes;
    a->used = bytes > a->limit - a->used ? a->limit : a->used + bytes;
    memset(*out, 0, bytes);
    return CVR_OK;
}

int32_t pth_arena_grow(pth_arena *a, void **array, uint64_t n, uint64_t *room, uint64_t size, cvr_error *err) {
    void *bigger = NULL;
    if (n <= *room) return CVR_OK;
    const uint64_t want = n > *room * 2 ? n : *room * 2;
    if (want > a->limit / size) return pth_arena_take(a, a->limit + 1, &bigger, err);
    CVR_TRY(pth_arena_take(a, want * size, &bigger, err));
    if (*room) memcpy(bigger, *array, *room * size);
    *array = bigger;
    *room = want;
    return CVR_OK;
}
