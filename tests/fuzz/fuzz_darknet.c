/*
 * Fuzz target: plugins/models/darknet, .cfg files, and .weights files as those of tests/golden/darknet/classifier.cfg.
 * What was read of weights is written again, and must be the same.
 */
#include "../../plugins/models/darknet/darknet.h"
#include "fuzz.h"
#include <stdlib.h>

/* ---- .cfg ---- */

static void check_layers(const darknet_plan *p) {
    fuzz_check(p->n_layers >= 1 && p->n_layers < DARKNET_MOST_SECTIONS && p->n_heads <= DARKNET_MOST_HEADS, "how many");
    for (uint32_t i = 0; i < p->n_layers; i++) {
        const darknet_layer *l = &p->layers[i];
        fuzz_check(l->n_from <= DARKNET_MOST_FROM && l->stride >= 1 && l->stride <= 64 && l->filters <= 1 << 20 &&
                       l->down >= 0 && l->down <= 65536,
                   "layer %u", i);
        for (uint32_t k = 0; k < l->n_from; k++)
            fuzz_check(l->from[k] >= 0 && (uint32_t)l->from[k] < i, "layer %u reads layer %d", i, l->from[k]);
    }
    for (uint32_t i = 0; i < p->n_heads; i++) {
        const darknet_head *h = &p->heads[i];
        fuzz_check(h->layer >= 1 && h->layer < p->n_layers && h->n_mask >= 1 && h->n_mask <= DARKNET_MOST_ANCHORS,
                   "head %u", i);
        for (uint32_t k = 0; k < h->n_mask; k++)
            fuzz_check(h->mask[k] >= 0 && h->mask[k] < (int64_t)h->n_anchors, "head %u: its mask", i);
    }
    fuzz_check(darknet_plan_stride(p) >= 1, "stride");
}

static int32_t say(void *ctx, const char *key, const char *value, cvr_error *err) {
    (void)ctx, (void)err;
    fuzz_touch(key, strlen(key));
    fuzz_touch(value, strlen(value));
    return CVR_OK;
}

static void read_cfg(const fuzz_host *h, const uint8_t *bytes, size_t n) {
    static darknet_plan p;
    cvr_error err = CVR_ERROR_INIT;
    const int32_t status = darknet_plan_parse(&h->host, "a.cfg", (const char *)bytes, n, &p, &err);
    fuzz_check_error(status, &err);
    if (status == CVR_OK) {
        check_layers(&p);
        fuzz_check(darknet_propose(&p, say, NULL, &err) == CVR_OK, "%s", err.message);
    } else {
        fuzz_check(strcmp(err.file, "a.cfg") == 0 || err.code == CVR_ERR_NOMEM, "no file in '%s'", err.message);
    }
    darknet_plan_close(&p);
}

/* ---- .weights ---- */

static const cvr_weight layout[] = {
    {.struct_size = sizeof(cvr_weight),
     .name = "backbone.0.conv.weight",
     .dtype = CVR_F32,
     .rank = 4,
     .shape = {4, 3, 3, 3}},
    {.struct_size = sizeof(cvr_weight), .name = "backbone.0.bn.weight", .dtype = CVR_F32, .rank = 1, .shape = {4}},
    {.struct_size = sizeof(cvr_weight), .name = "backbone.0.bn.bias", .dtype = CVR_F32, .rank = 1, .shape = {4}},
    {.struct_size = sizeof(cvr_weight),
     .name = "backbone.0.bn.running_mean",
     .dtype = CVR_F32,
     .rank = 1,
     .shape = {4}},
    {.struct_size = sizeof(cvr_weight), .name = "backbone.0.bn.running_var", .dtype = CVR_F32, .rank = 1, .shape = {4}},
    {.struct_size = sizeof(cvr_weight), .name = "backbone.0.bn.num_batches_tracked", .dtype = CVR_I64},
    {.struct_size = sizeof(cvr_weight),
     .name = "backbone.2.conv.weight",
     .dtype = CVR_F32,
     .rank = 4,
     .shape = {8, 4, 3, 3}},
    {.struct_size = sizeof(cvr_weight), .name = "backbone.2.conv.bias", .dtype = CVR_F32, .rank = 1, .shape = {8}},
    {.struct_size = sizeof(cvr_weight),
     .name = "head.4.conv.weight",
     .dtype = CVR_F32,
     .rank = 4,
     .shape = {3, 8, 1, 1}},
    {.struct_size = sizeof(cvr_weight), .name = "head.4.conv.bias", .dtype = CVR_F32, .rank = 1, .shape = {3}},
};
#define TENSORS (sizeof layout / sizeof *layout)

typedef struct kept {
    cvr_weight w[TENSORS];
    const cvr_weight *pointers[TENSORS];
    uint64_t n;
} kept;

static int32_t keep(void *ctx, const cvr_weight *w, cvr_error *err) {
    kept *const k = ctx;
    (void)err;
    fuzz_check(k->n < TENSORS, "more tensors than there are");
    fuzz_touch(w->data, w->bytes);
    k->w[k->n] = *w;
    k->pointers[k->n] = &k->w[k->n];
    k->n++;
    return CVR_OK;
}

typedef struct output {
    uint8_t bytes[4096];
    uint64_t n;
} output;

static int32_t sink(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    output *const o = ctx;
    (void)err;
    fuzz_check(n <= sizeof o->bytes - o->n, "more bytes than were read");
    memcpy(o->bytes + o->n, bytes, n);
    o->n += n;
    return CVR_OK;
}

static void read_weights(const fuzz_host *h, const uint8_t *bytes, size_t n) {
    static kept k;
    static output o;
    const cvr_weight *pointers[TENSORS];
    cvr_error err = CVR_ERROR_INIT;
    const uint64_t header = n > 4 && bytes[4] == 1 ? 16 : 20; /* version 0.1, or later */
    memset(&k, 0, sizeof k);
    o.n = 0;
    for (size_t i = 0; i < TENSORS; i++) pointers[i] = &layout[i];
    darknet_note_head(&(darknet_head_shape){4, 3, 1, 0});
    const int32_t status = darknet_weights.read_for(&h->host, bytes, n, pointers, TENSORS, keep, &k, &err);
    fuzz_check_error(status, &err);
    if (status != CVR_OK) return;
    fuzz_check(darknet_weights.write(&h->host, k.pointers, k.n, NULL, 0, sink, &o, &err) == CVR_OK, "%s", err.message);
    fuzz_check(o.n - 20 == n - header && memcmp(o.bytes + 20, bytes + header, n - header) == 0, "written otherwise");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_host h;
    fuzz_host_init(&h, 4u << 20);
    if (darknet_weights.probe(bytes, n < 64 ? n : 64, n))
        read_weights(&h, bytes, n);
    else
        read_cfg(&h, bytes, n);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    return 0;
}
