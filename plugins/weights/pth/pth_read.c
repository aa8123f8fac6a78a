/*
 * Reading: the container, the state dict in it, then its tensors, one by one. The whole file is checked before the
 * first tensor is given.
 */
#include "pth.h"
#include <stdlib.h>

/*
 * Tensors may be views of one storage, several of each element, so a small file can describe much. What it gives in
 * all is bounded by its own size: tied weights need a factor of 2.
 */
#define OUTPUT_PER_FILE_BYTE 16u
#define LEAST_OUTPUT (1ull << 20)

uint32_t pth_u16(const uint8_t *b) {
    return (uint32_t)b[0] | (uint32_t)b[1] << 8;
}

uint32_t pth_u32(const uint8_t *b) {
    return pth_u16(b) | pth_u16(b + 2) << 16;
}

uint64_t pth_u64(const uint8_t *b) {
    return pth_u32(b) | (uint64_t)pth_u32(b + 4) << 32;
}

const char *pth_show(const uint8_t *s, uint64_t n, char buf[PTH_SHOWN]) {
    if (n > PTH_SHOWN - 1) n = PTH_SHOWN - 1;
    for (uint64_t i = 0; i < n; i++) buf[i] = s[i] >= 0x20 && s[i] < 0x7f ? (char)s[i] : '?';
    buf[n] = '\0';
    return buf;
}

int32_t pth_string_is(const pth_value *v, const char *text) {
    const uint64_t n = strlen(text);
    return v->kind == PTH_STRING && v->n == n && memcmp(v->bytes, text, n) == 0;
}

/* PyTorch 0.1 wrote a tar whose first member is sys_info. */
int32_t pth_is_tar(const uint8_t *bytes, uint64_t n) {
    return n >= 9 && memcmp(bytes, "sys_info", 9) == 0;
}

/* Whether `s` is UTF-8 without NUL: no overlong form, no surrogate, nothing past U+10FFFF. */
static int32_t is_text(const uint8_t *s, uint64_t n) {
    for (uint64_t i = 0; i < n;) {
        const uint8_t c = s[i];
        const uint64_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
        if (c == 0 || len == 0 || len > n - i) return 0;
        for (uint64_t k = 1; k < len; k++) {
            if ((s[i + k] & 0xc0) != 0x80) return 0;
        }
        if ((c == 0xe0 && s[i + 1] < 0xa0) || (c == 0xed && s[i + 1] > 0x9f)) return 0;
        if ((c == 0xf0 && s[i + 1] < 0x90) || (c == 0xf4 && s[i + 1] > 0x8f)) return 0;
        i += len;
    }
    return 1;
}

/* The tensors to give, in the file's order, and the same sorted by name. */
typedef struct pth_reading {
    pth_pickle *p;
    cvr_weight *weights;
    const pth_tensor **tensors;
    const char **names;
    uint64_t n, largest; /* bytes of the largest tensor that has to be copied */
} pth_reading;

static int32_t add_tensor(pth_reading *r, const pth_value *key, const pth_tensor *t) {
    char shown[PTH_SHOWN];
    void *name = NULL;
    cvr_error *const err = r->p->err;
    if (key->kind != PTH_STRING) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a tensor whose name is no text");
    if (key->n > PTH_MAX_NAME || !is_text(key->bytes, key->n))
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "the name of tensor '%s' is not UTF-8, or of more than %u bytes",
                        pth_show(key->bytes, key->n, shown), PTH_MAX_NAME);
    CVR_TRY(pth_arena_take(r->p->arena, key->n + 1u, &name, err));
    if (key->n) memcpy(name, key->bytes, key->n);
    cvr_weight *const w = &r->weights[r->n];
    *w = (cvr_weight){.struct_size = sizeof *w,
                      .name = name,
                      .dtype = t->dtype->dtype,
                      .rank = t->rank,
                      .bytes = t->numel * t->dtype->size,
                      .source_dtype = t->dtype->word};
    for (uint32_t i = 0; i < PTH_MAX_RANK; i++) w->shape[i] = i < t->rank ? t->shape[i] : 1;
    if (!pth_tensor_is_contiguous(t) && w->bytes > r->largest) r->largest = w->bytes;
    r->names[r->n] = name;
    r->tensors[r->n++] = t;
    return CVR_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int32_t check_unique(pth_reading *r) {
    char shown[PTH_SHOWN];
    if (r->n > 1) qsort(r->names, r->n, sizeof *r->names, by_text);
    for (uint64_t i = 1; i < r->n; i++) {
        if (strcmp(r->names[i - 1], r->names[i]) == 0)
            return cvr_fail(r->p->err, CVR_ERR_FORMAT, "tensor '%s' is there twice; save the file anew",
                            pth_show((const uint8_t *)r->names[i], strlen(r->names[i]), shown));
    }
    return CVR_OK;
}

/* What the state dict holds beside tensors (a count of epochs, say) is nobody's weight and is left out. */
static int32_t collect(pth_reading *r, const pth_items *state, uint64_t file_size) {
    const uint64_t room = state->n / 2 + 1;
    const uint64_t most = file_size * OUTPUT_PER_FILE_BYTE + LEAST_OUTPUT;
    void *weights = NULL, *tensors = NULL, *names = NULL;
    uint64_t total = 0;
    CVR_TRY(pth_arena_take(r->p->arena, room * sizeof *r->weights, &weights, r->p->err));
    CVR_TRY(pth_arena_take(r->p->arena, room * sizeof *r->tensors, &tensors, r->p->err));
    CVR_TRY(pth_arena_take(r->p->arena, room * sizeof *r->names, &names, r->p->err));
    r->weights = weights;
    r->tensors = tensors;
    r->names = names;
    for (uint64_t i = 0; i + 1 < state->n; i += 2) {
        if (state->v[i + 1].kind != PTH_TENSOR) continue;
        CVR_TRY(add_tensor(r, &state->v[i], state->v[i + 1].tensor));
        const uint64_t bytes = r->weights[r->n - 1].bytes;
        if (bytes > most - total)
            return cvr_fail(r->p->err, CVR_ERR_UNSUPPORTED,
                            "its tensors are views that take more than %llu bytes, %u times the file; save them with "
                            ".contiguous()",
                            (unsigned long long)most, OUTPUT_PER_FILE_BYTE);
        total += bytes;
    }
    return check_unique(r);
}

static int32_t give(pth_reading *r, const cvr_host *host, cvr_weight_fn each, void *ctx) {
    uint8_t *const copy = r->largest ? host->alloc(host, r->largest, 64) : NULL;
    int32_t status = CVR_OK;
    if (r->largest && !copy)
        return cvr_fail(r->p->err, CVR_ERR_NOMEM, "out of memory for a tensor of %llu bytes",
                        (unsigned long long)r->largest);
    for (uint64_t i = 0; i < r->n; i++) {
        const pth_tensor *const t = r->tensors[i];
        if (pth_tensor_is_contiguous(t)) {
            r->weights[i].data = t->numel ? t->storage->data + t->offset * t->dtype->size : t->storage->data;
        } else {
            pth_tensor_copy(t, copy);
            r->weights[i].data = copy;
        }
        CVR_TRY_OUT(each(ctx, &r->weights[i], r->p->err));
    }
out:
    if (copy) host->free(host, copy);
    return status;
}

static int32_t read_container(pth_pickle *p, const uint8_t *bytes, uint64_t n, pth_value *out) {
    if (pth_is_zip(bytes, n)) return pth_zip_read(p, bytes, n, out);
    if (pth_is_pickle(bytes, n)) return pth_legacy_read(p, bytes, n, out);
    if (pth_is_tar(bytes, n))
        return cvr_fail(p->err, CVR_ERR_UNSUPPORTED,
                        "a tar of PyTorch 0.1; load it with torch.load and save it anew with torch.save");
    return cvr_fail(p->err, CVR_ERR_FORMAT, "neither a zip file nor a pickle, so not one of torch.save's");
}

int32_t pth_read(const cvr_host *host, const uint8_t *bytes, uint64_t n, cvr_weight_fn each, void *ctx,
                 cvr_error *err) {
    pth_arena arena;
    pth_pickle p;
    pth_value root;
    const pth_items *state = NULL;
    pth_reading r = {.p = &p};
    int32_t status = CVR_OK;
    if (n > INT64_MAX / OUTPUT_PER_FILE_BYTE / 2) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "the file is too large");
    pth_arena_init(&arena, host, n);
    pth_pickle_init(&p, &arena, bytes, err);
    CVR_TRY_OUT(read_container(&p, bytes, n, &root));
    CVR_TRY_OUT(pth_state_find(&root, &state, err));
    CVR_TRY_OUT(collect(&r, state, n));
    CVR_TRY_OUT(give(&r, host, each, ctx));
out:
    pth_arena_free(&arena);
    return status;
}
