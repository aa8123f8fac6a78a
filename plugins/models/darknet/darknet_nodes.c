/*
 * Darknet's layers as layers of cvrun. Parameters are named by the layer's number, as Darknet prints it:
 * backbone.N.conv, backbone.N.bn, backbone.N.fc; `head` stands for `backbone` where the number of classes decides about
 * the filters.
 */
#include "darknet.h"
#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/shape.h>
#include <math.h>

#define NORM_MOMENTUM "0.01" /* of a batch's statistics in the running ones */

static net_text name_of(const darknet_build *b, uint32_t i, const char *part) {
    return net_print("%s.%u.%s", b->plan->layers[i].feeds_result ? "head" : "backbone", i, part);
}

/* A failure at the layer's line, where nothing has failed yet. */
static void fail(darknet_build *b, uint32_t i, const char *format, ...) CVR_PRINTF(3, 4);
static void fail(darknet_build *b, uint32_t i, const char *format, ...) {
    char text[sizeof b->n.err->message];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (b->n.status == CVR_OK)
        b->n.status = darknet_cfg_fail(&b->plan->cfg, b->plan->layers[i].line, b->n.err, "%s", text);
}

static cvr_value before(const darknet_build *b, uint32_t i) {
    return i ? b->values[i - 1] : b->image;
}

/* ---- weights ---- */

static cvr_value activated(darknet_build *b, uint32_t i, cvr_value x) {
    const darknet_layer *l = &b->plan->layers[i];
    return *l->activation ? net_layer(&b->n, x, name_of(b, i, "act").s, l->activation, l->settings) : x;
}

static cvr_value normalized(darknet_build *b, uint32_t i, cvr_value x) {
    if (!b->plan->layers[i].normalized) return x;
    return net_layer(&b->n, x, name_of(b, i, "bn").s, "batch_norm2d",
                     net_print("eps=%.17g momentum=" NORM_MOMENTUM, b->attrs->bn_eps).s);
}

/* As the file says, or as many as the data's classes need. */
static int64_t filters_of(const darknet_build *b, uint32_t i) {
    const darknet_layer *l = &b->plan->layers[i];
    if (!l->feeds_result || !b->num_classes) return l->filters;
    for (uint32_t k = 0; k < b->plan->n_heads; k++)
        if (b->plan->heads[k].layer == i + 1) return b->plan->heads[k].n_mask * (b->num_classes + 5);
    return b->num_classes;
}

void darknet_note_heads(const darknet_build *b) {
    const darknet_plan *p = b->plan;
    for (uint32_t k = 0; k < p->n_heads; k++) {
        const uint32_t i = p->heads[k].layer - 1;
        const int64_t anchors = darknet_plan_shares(p, i) ? 0 : p->heads[k].n_mask;
        darknet_note_head(&(darknet_head_shape){i, filters_of(b, i), anchors, 5});
    }
    for (uint32_t i = 0; i < p->n_layers && !p->n_heads; i++)
        if (p->layers[i].feeds_result) darknet_note_head(&(darknet_head_shape){i, filters_of(b, i), 1, 0});
}

static cvr_value convolutional(darknet_build *b, uint32_t i) {
    const darknet_layer *l = &b->plan->layers[i];
    const net_conv2d c = {filters_of(b, i), l->size, l->stride, l->padding, l->groups, !l->normalized};
    b->n.conv = (net_start){NET_START_KAIMING_IN, 0, 0};
    const cvr_value x = net_conv_dilated(&b->n, before(b, i), name_of(b, i, "conv").s, &c, l->dilation);
    return activated(b, i, normalized(b, i, x));
}

/* x (N, ...) -> (N, output) */
static cvr_value connected(darknet_build *b, uint32_t i) {
    cvr_value x = before(b, i);
    if (b->n.status != CVR_OK) return x;
    if (b->n.b->type(b->n.b, x)->rank == 4) x = net_layer(&b->n, x, name_of(b, i, "flatten").s, "flatten", "");
    if (b->n.status != CVR_OK) return x;
    b->n.linear = (net_start){NET_START_UNIFORM, sqrt(2 / (double)net_shape(&b->n, x)[1]), 0};
    x = b->plan->layers[i].normalized ? net_linear_plain(&b->n, x, name_of(b, i, "fc").s, filters_of(b, i))
                                      : net_linear(&b->n, x, name_of(b, i, "fc").s, filters_of(b, i));
    if (b->plan->layers[i].normalized && b->n.status == CVR_OK) {
        const int64_t *s = net_shape(&b->n, x);
        x = net_layer(&b->n, x, name_of(b, i, "pixels").s, "reshape",
                      net_print("%lld,%lld,1,1", (long long)s[0], (long long)s[1]).s);
        x = net_layer(&b->n, normalized(b, i, x), name_of(b, i, "row").s, "flatten", "");
    }
    return activated(b, i, x);
}

/* ---- pooling ---- */

/* x without the first `from` rows or columns, `length` of them. */
static cvr_value cut(darknet_build *b, cvr_value x, int64_t dim, int64_t from, int64_t length) {
    if (b->n.status != CVR_OK) return x;
    const int64_t size = net_shape(&b->n, x)[dim];
    const cvr_slice_attrs a = {.dim = dim, .start = from, .step = 1, .length = length, .size = size};
    return from == 0 && length == size ? x : net_emit1(&b->n, NET_OP("slice", &a), &x, 1);
}

/* Darknet pads `padding` in all, the smaller half in front; the pool here pads both sides alike, and the windows that
 * begin too early are cut off. */
typedef struct pool_fit {
    int64_t padding, skip, ceil_mode;
    int64_t size[2]; /* wanted */
} pool_fit;

static int fits(const darknet_layer *l, const int64_t *in, const pool_fit *f) {
    const cvr_window w = {l->size, l->stride, f->padding, 1, f->ceil_mode};
    for (int k = 0; k < 2; k++)
        if (f->size[k] < 1 || cvr_window_count(in[k], &w) - f->skip < f->size[k]) return 0;
    return 1;
}

static int find_fit(const darknet_layer *l, const int64_t *in, pool_fit *f) {
    const int64_t front = l->padding / 2;
    for (int k = 0; k < 2; k++) {
        const int64_t room = in[k] + l->padding - l->size;
        f->size[k] = room < 0 ? 0 : room / l->stride + 1;
    }
    for (f->skip = 0; front + f->skip * l->stride <= l->size / 2; f->skip++)
        for (f->ceil_mode = 0; f->ceil_mode < 2; f->ceil_mode++) {
            f->padding = front + f->skip * l->stride;
            if (fits(l, in, f)) return 1;
        }
    return 0;
}

static cvr_value maxpool(darknet_build *b, uint32_t i) {
    const darknet_layer *l = &b->plan->layers[i];
    cvr_value x = before(b, i);
    pool_fit f;
    if (b->n.status != CVR_OK) return x;
    const int64_t *s = net_shape(&b->n, x);
    if (!find_fit(l, s + 2, &f)) {
        fail(b, i, "size=%lld stride=%lld padding=%lld: no such windows over a map of %lld x %lld; use others",
             (long long)l->size, (long long)l->stride, (long long)l->padding, (long long)s[2], (long long)s[3]);
        return x;
    }
    x = net_layer(&b->n, x, name_of(b, i, "maxpool").s, "max_pool2d",
                  net_print("%lld stride=%lld padding=%lld ceil_mode=%s", (long long)l->size, (long long)l->stride,
                            (long long)f.padding, f.ceil_mode ? "yes" : "no")
                      .s);
    return cut(b, cut(b, x, 2, f.skip, f.size[0]), 3, f.skip, f.size[1]);
}

/* ---- other layers' values ---- */

/* Group `group_id` of `groups` of a layer's channels. */
static cvr_value group_of(darknet_build *b, uint32_t i, uint32_t from) {
    const darknet_layer *l = &b->plan->layers[i];
    const cvr_value x = b->values[from];
    if (b->n.status != CVR_OK || l->groups == 1) return x;
    const int64_t channels = net_shape(&b->n, x)[1], each = channels / l->groups;
    if (channels % l->groups != 0)
        fail(b, i, "groups=%lld do not divide the %lld channels of layer %u", (long long)l->groups, (long long)channels,
             from);
    return cut(b, x, 1, l->group_id * each, each);
}

static cvr_value route(darknet_build *b, uint32_t i) {
    const darknet_layer *l = &b->plan->layers[i];
    cvr_value parts[DARKNET_MOST_FROM];
    for (uint32_t k = 0; k < l->n_from; k++) parts[k] = group_of(b, i, (uint32_t)l->from[k]);
    if (b->n.status != CVR_OK || l->n_from == 1) return parts[0];
    for (uint32_t k = 1; k < l->n_from; k++) {
        const int64_t *a = net_shape(&b->n, parts[0]), *c = net_shape(&b->n, parts[k]);
        if (a[2] != c[2] || a[3] != c[3])
            fail(b, i, "layer %d is %lld x %lld and layer %d is %lld x %lld; what is joined must be of one size",
                 l->from[0], (long long)a[2], (long long)a[3], l->from[k], (long long)c[2], (long long)c[3]);
    }
    return b->n.status == CVR_OK ? net_concat(&b->n, parts, l->n_from, 1, name_of(b, i, "route").s) : parts[0];
}

static cvr_value shortcut(darknet_build *b, uint32_t i) {
    const darknet_layer *l = &b->plan->layers[i];
    cvr_value x = before(b, i);
    for (uint32_t k = 0; k < l->n_from && b->n.status == CVR_OK; k++) {
        const cvr_value y = b->values[l->from[k]];
        const int64_t *s = net_shape(&b->n, x), *t = net_shape(&b->n, y);
        if (memcmp(s, t, 4 * sizeof *s) != 0)
            fail(b, i, "layer %u is %lld x %lld x %lld and layer %d is %lld x %lld x %lld; cvrun adds what is alike",
                 i - 1, (long long)s[1], (long long)s[2], (long long)s[3], l->from[k], (long long)t[1], (long long)t[2],
                 (long long)t[3]);
        x = net_layer2(&b->n, x, y, name_of(b, i, k ? "more" : "add").s, "add", "");
    }
    return activated(b, i, x);
}

/* ---- sizes ---- */

static cvr_value upsample(darknet_build *b, uint32_t i) {
    const darknet_layer *l = &b->plan->layers[i];
    const cvr_value x = before(b, i);
    if (b->n.status != CVR_OK) return x;
    const int64_t *s = net_shape(&b->n, x);
    return net_layer(
        &b->n, x, name_of(b, i, "upsample").s, "upsample",
        net_print("size=%lld,%lld mode=nearest", (long long)(s[2] * l->stride), (long long)(s[3] * l->stride)).s);
}

static cvr_value reshaped(darknet_build *b, uint32_t i, const char *part, cvr_value x, const int64_t s[6]) {
    return net_layer(&b->n, x, name_of(b, i, part).s, "reshape",
                     net_print("%lld,%lld,%lld,%lld,%lld,%lld", (long long)s[0], (long long)s[1], (long long)s[2],
                               (long long)s[3], (long long)s[4], (long long)s[5])
                         .s);
}

/*
 * Darknet's reorg takes the memory of x (N, C, H, W) for (N, C/s^2, H*s, W*s), moves blocks of s x s pixels to
 * channels, and takes what comes of it, (N, C, H, W) again, for (N, C*s^2, H/s, W/s). `reverse` is the way back.
 */
static cvr_value reorg(darknet_build *b, uint32_t i) {
    const darknet_layer *l = &b->plan->layers[i];
    const int64_t k = l->stride;
    cvr_value x = before(b, i);
    if (b->n.status != CVR_OK) return x;
    const int64_t s[4] = {net_shape(&b->n, x)[0], net_shape(&b->n, x)[1], net_shape(&b->n, x)[2],
                          net_shape(&b->n, x)[3]};
    if (s[1] % (k * k) != 0 || (!l->reverse && (s[2] % k != 0 || s[3] % k != 0))) {
        fail(b, i, "stride=%lld does not divide %lld channels of %lld x %lld", (long long)k, (long long)s[1],
             (long long)s[2], (long long)s[3]);
        return x;
    }
    const int64_t pixels[6] = {s[0], s[1] / (k * k), s[2], k, s[3], k}, blocks[6] = {s[0], k, k, pixels[1], s[2], s[3]};
    x = reshaped(b, i, "split", x, l->reverse ? blocks : pixels);
    x = net_layer(&b->n, x, name_of(b, i, "reorg").s, "permute", l->reverse ? "0,3,4,1,5,2" : "0,3,5,1,2,4");
    const int64_t out[4] = {s[0], l->reverse ? s[1] / (k * k) : s[1] * k * k, l->reverse ? s[2] * k : s[2] / k,
                            l->reverse ? s[3] * k : s[3] / k};
    return net_layer(
        &b->n, x, name_of(b, i, "join").s, "reshape",
        net_print("%lld,%lld,%lld,%lld", (long long)out[0], (long long)out[1], (long long)out[2], (long long)out[3]).s);
}

/* ---- all of them ---- */

static cvr_value avgpool(darknet_build *b, uint32_t i) {
    return net_layer(&b->n, before(b, i), name_of(b, i, "avgpool").s, "adaptive_avg_pool2d", "1");
}

static cvr_value dropout(darknet_build *b, uint32_t i) {
    return net_layer(&b->n, before(b, i), name_of(b, i, "dropout").s, "dropout",
                     net_print("%.17g", b->plan->layers[i].probability).s);
}

/* Softmax and cost are the task's, which takes logits; a head is read by darknet_put_boxes. */
static cvr_value passed_on(darknet_build *b, uint32_t i) {
    return before(b, i);
}

/* Layers but those that take rows want maps. */
static int wants_map(uint32_t kind) {
    return kind != DARKNET_CONNECTED && kind != DARKNET_DROPOUT && kind != DARKNET_SOFTMAX && kind != DARKNET_COST &&
           kind != DARKNET_ROUTE;
}

cvr_value darknet_node(darknet_build *b, uint32_t i) {
    static cvr_value (*const build[])(darknet_build *, uint32_t) = {[DARKNET_CONVOLUTIONAL] = convolutional,
                                                                    [DARKNET_CONNECTED] = connected,
                                                                    [DARKNET_MAXPOOL] = maxpool,
                                                                    [DARKNET_AVGPOOL] = avgpool,
                                                                    [DARKNET_ROUTE] = route,
                                                                    [DARKNET_SHORTCUT] = shortcut,
                                                                    [DARKNET_UPSAMPLE] = upsample,
                                                                    [DARKNET_REORG] = reorg,
                                                                    [DARKNET_DROPOUT] = dropout,
                                                                    [DARKNET_SOFTMAX] = passed_on,
                                                                    [DARKNET_COST] = passed_on,
                                                                    [DARKNET_HEAD] = passed_on};
    const uint32_t kind = b->plan->layers[i].kind;
    if (b->n.status == CVR_OK && wants_map(kind) && b->n.b->type(b->n.b, before(b, i))->rank != 4)
        fail(b, i, "this layer needs a map, but [connected] before it gives rows; take it out");
    const cvr_value y = build[kind](b, i);
    if (b->n.status != CVR_OK) (void)cvr_fail_at(b->n.err, b->plan->cfg.path, b->plan->layers[i].line, b->n.status);
    return y;
}
