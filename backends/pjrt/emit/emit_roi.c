/*
 * roi_align and its gradient (<cvr/plugin/ops/detect.h>). A loop over the samples of a bin, of which all bins of all
 * rois do the same one in a round: four rows of the map each, weighted, are looked up and added, or the gradient is
 * added to them. Maps lie one behind the other in one table, so that each roi has its own in one look-up.
 */
#include "emit_roi.h"
#include "emit.h"
#include <math.h>

/* ---- one axis ---- */

/* (N,R) for all bins: (N,R,B) */
static hlo_value over_bins(hlo *h, hlo_value v, int64_t bins) {
    hlo_value like = v;
    like.shape[like.rank++] = bins;
    return hlo_expand(h, v, like, 1u << v.rank);
}

static hlo_value is_finite(hlo *h, hlo_value v) {
    return hlo_compare(h, "LT", hlo_unary(h, "abs", v), hlo_f32(h, HUGE_VAL));
}

/* A number of samples from a position, kept within the bin. */
static hlo_value bound(hlo *h, hlo_value i, hlo_value grid) {
    const hlo_value zero = hlo_f32(h, 0);
    const hlo_value held = hlo_select(h, hlo_compare(h, "LT", i, grid), i, grid);
    return hlo_select(h, hlo_compare(h, "GT", i, zero), held, zero);
}

/* Samples off the map are not visited where a bin has many. */
static void bound_samples(hlo *h, roi_axis *axis, hlo_value from) {
    const hlo_value step = hlo_div(h, axis->bin, axis->grid), two = hlo_f32(h, 2);
    const hlo_value many = hlo_compare(h, "GT", axis->grid, hlo_f32(h, 64));
    const hlo_value low = hlo_div(h, hlo_sub(h, hlo_f32(h, -1), from), step);
    const hlo_value high = hlo_div(h, hlo_sub(h, axis->size, from), step);
    const hlo_value first = bound(h, hlo_sub(h, hlo_unary(h, "floor", low), two), axis->grid);
    const hlo_value end = bound(h, hlo_add(h, hlo_unary(h, "ceil", high), two), axis->grid);
    const hlo_value most = hlo_add(h, hlo_scale(h, axis->size, 4), hlo_f32(h, 256));
    axis->first = hlo_select(h, many, first, hlo_fill(h, first, 0));
    const hlo_value n = hlo_sub(h, hlo_select(h, many, end, axis->grid), axis->first);
    axis->n = hlo_convert(h, hlo_binary(h, "minimum", n, most), CVR_I32);
}

roi_axis roi_axis_of(hlo *h, const hlo_value ends[2], hlo_value scale, hlo_value size, const cvr_roi_align_attrs *a,
                     int64_t bins) {
    const hlo_value offset = hlo_f32(h, a->aligned ? 0.5 : 0), one = hlo_f32(h, 1);
    const hlo_value start = hlo_sub(h, hlo_mul(h, ends[0], scale), offset);
    hlo_value length = hlo_sub(h, hlo_sub(h, hlo_mul(h, ends[1], scale), offset), start);
    if (!a->aligned) length = hlo_select(h, hlo_compare(h, "GT", length, one), length, one);
    const hlo_value bin = hlo_div(h, length, hlo_f32(h, (double)bins));
    hlo_value grid = a->sampling_ratio > 0 ? hlo_fill(h, bin, (double)a->sampling_ratio) : hlo_unary(h, "ceil", bin);
    const hlo_value known = hlo_binary(h, "and", is_finite(h, start), is_finite(h, bin));
    const hlo_value some = hlo_binary(h, "and", hlo_compare(h, "GE", grid, one), is_finite(h, grid));
    grid = hlo_select(h, hlo_binary(h, "and", known, some), grid, hlo_f32(h, 0));
    roi_axis axis = {.start = over_bins(h, start, bins),
                     .bin = over_bins(h, bin, bins),
                     .grid = over_bins(h, grid, bins),
                     .size = over_bins(h, size, bins)};
    const hlo_value number = hlo_iota(h, CVR_F32, axis.bin, 2);
    axis.start = hlo_add(h, axis.start, hlo_mul(h, number, axis.bin));
    bound_samples(h, &axis, axis.start);
    return axis;
}

void roi_axis_put(const roi_axis *axis, hlo_value *carried) {
    const hlo_value all[ROI_CARRIED] = {axis->start, axis->bin, axis->grid, axis->first, axis->n, axis->size};
    memcpy(carried, all, sizeof all);
}

roi_axis roi_axis_get(const hlo_value *carried) {
    return (roi_axis){carried[0], carried[1], carried[2], carried[3], carried[4], carried[5]};
}

void roi_sample(hlo *h, const roi_axis *axis, hlo_value i, hlo_value *pixel, hlo_value weight[2]) {
    const hlo_value zero = hlo_f32(h, 0), one = hlo_f32(h, 1),
                    number = hlo_add(h, axis->first, hlo_convert(h, i, CVR_F32));
    const hlo_value within = hlo_div(h, hlo_mul(h, hlo_add(h, number, hlo_f32(h, 0.5)), axis->bin), axis->grid);
    const hlo_value at = hlo_add(h, axis->start, within), last = hlo_sub(h, axis->size, one);
    hlo_value on = hlo_compare(h, "LT", hlo_along(h, i, axis->n, 0), axis->n);
    on = hlo_binary(h, "and", on, hlo_compare(h, "GE", at, hlo_f32(h, -1)));
    on = hlo_binary(h, "and", on, hlo_compare(h, "LE", at, axis->size));
    const hlo_value held = hlo_binary(h, "minimum", hlo_binary(h, "maximum", at, zero), last);
    const hlo_value safe = hlo_select(h, on, held, zero), low = hlo_unary(h, "floor", safe);
    const hlo_value part = hlo_sub(h, safe, low);
    *pixel = hlo_convert(h, low, CVR_I32);
    weight[0] = hlo_select(h, on, hlo_div(h, hlo_sub(h, one, part), axis->grid), zero);
    weight[1] = hlo_select(h, on, hlo_div(h, part, axis->grid), zero);
}

/* ---- rois ---- */

/* Maps that rois may read, one behind the other. */
typedef struct roi_maps {
    int64_t n;
    float scale[CVR_ROI_MOST_MAPS], size[2][CVR_ROI_MOST_MAPS]; /* of each map: height, width */
    int32_t first[CVR_ROI_MOST_MAPS];                           /* where it starts in the table */
} roi_maps;

typedef struct rois {
    hlo_value row;     /* type (N,R) f32 */
    hlo_value side[4]; /* (N,R) */
    hlo_value level;   /* (N,R) i32 */
    hlo_value counts;  /* (N,R): the roi is one */
} rois;

static hlo_value log2_of(hlo *h, hlo_value v) {
    return hlo_scale(h, hlo_unary(h, "log", v), 1.4426950408889634);
}

/* Which map each roi reads. NaN, of a side below 0: the first. */
static hlo_value levels_of(hlo *h, const rois *r, const cvr_roi_align_attrs *a) {
    if (a->n_scales < 2) return hlo_convert(h, hlo_fill(h, r->row, 0), CVR_I32);
    const float least = -log2f((float)a->scales[0]), most = -log2f((float)a->scales[a->n_scales - 1]);
    const hlo_value low = hlo_f32(h, (double)least), high = hlo_f32(h, (double)most);
    const hlo_value area = hlo_mul(h, hlo_sub(h, r->side[2], r->side[0]), hlo_sub(h, r->side[3], r->side[1]));
    const hlo_value share = hlo_div(h, hlo_unary(h, "sqrt", area), hlo_f32(h, 224));
    const hlo_value sum = hlo_add(h, hlo_add(h, hlo_f32(h, 4), log2_of(h, share)), hlo_f32(h, (double)1e-6f));
    const hlo_value k = hlo_unary(h, "floor", sum);
    const hlo_value held = hlo_select(h, hlo_compare(h, "LT", k, high), k, high);
    const hlo_value level = hlo_sub(h, hlo_select(h, hlo_compare(h, "GT", k, low), held, low), low);
    return hlo_convert(h, hlo_binary(h, "minimum", level, hlo_f32(h, (double)(a->n_scales - 1))), CVR_I32);
}

/* Input i, (N,R,4), and the one after it, how many of them count. */
static rois rois_of(hlo *h, uint32_t i, const cvr_roi_align_attrs *a) {
    const hlo_value all = hlo_input(h, i);
    rois r = {.row = {.dtype = CVR_F32, .rank = 2, .shape = {all.shape[0], all.shape[1]}}};
    for (int k = 0; k < 4; k++) r.side[k] = hlo_reshape_like(h, hlo_slice_axis(h, all, 2, k, k + 1), r.row);
    const hlo_value number = hlo_iota(h, CVR_I32, r.row, 1);
    const hlo_value end =
        hlo_has(h, i + 1) ? hlo_along(h, hlo_input_raw(h, i + 1), number, 0) : hlo_integer(h, CVR_I32, all.shape[1]);
    r.counts = hlo_compare(h, "LT", number, end);
    r.level = levels_of(h, &r, a);
    return r;
}

/* A number of each roi's map. */
static hlo_value of_map(hlo *h, const rois *r, const float *each, int64_t n) {
    return hlo_take(h, hlo_table_f32(h, each, 1, &n), r->level);
}

/* The rounds of a loop over the samples of a bin, i = i_y * n_x + i_x, and what they need. */
enum { ROUNDS, N_X, Y, X = Y + ROI_CARRIED, FIRST = X + ROI_CARRIED, WIDTH, CARRIED };

static void open_samples(hlo *h, const rois *r, const roi_maps *m, const cvr_roi_align_attrs *a, hlo_value *c) {
    const hlo_value scale = of_map(h, r, m->scale, m->n), zero = hlo_integer(h, CVR_I32, 0);
    roi_axis axis[2];
    hlo_value most[2];
    for (int k = 0; k < 2; k++) { /* y, x */
        const hlo_value ends[2] = {r->side[1 - k], r->side[3 - k]};
        axis[k] = roi_axis_of(h, ends, scale, of_map(h, r, m->size[k], m->n), a, a->output_size[k]);
        axis[k].n = hlo_select(h, over_bins(h, r->counts, a->output_size[k]), axis[k].n, zero);
        most[k] = hlo_reduce(h, "maximum", axis[k].n, 7);
    }
    c[ROUNDS] = hlo_mul(h, most[0], most[1]);
    c[N_X] = hlo_binary(h, "maximum", most[1], hlo_integer(h, CVR_I32, 1));
    roi_axis_put(&axis[0], c + Y);
    roi_axis_put(&axis[1], c + X);
    c[FIRST] = hlo_take(h, hlo_table_i32(h, m->first, 1, &m->n), r->level);
    c[WIDTH] = hlo_convert(h, of_map(h, r, m->size[1], m->n), CVR_I32);
}

/* Of this round's sample: the four rows of the table (N,R,P,Q) i32, and their weights. */
static void corners_of(hlo *h, const hlo_value *c, hlo_value round, hlo_value row[4], hlo_value weight[4]) {
    const roi_axis y = roi_axis_get(c + Y), x = roi_axis_get(c + X);
    hlo_value pixel[2], by_y[2], by_x[2], like = y.bin;
    like.shape[like.rank++] = x.bin.shape[2];
    /* (N,R,P), (N,R,Q) and (N,R) become (N,R,P,Q); the bits are the axes that they do not have */
    roi_sample(h, &y, hlo_div(h, round, c[N_X]), &pixel[0], by_y);
    roi_sample(h, &x, hlo_binary(h, "remainder", round, c[N_X]), &pixel[1], by_x);
    const hlo_value width = hlo_expand(h, c[WIDTH], like, 12), first = hlo_expand(h, c[FIRST], like, 12);
    const hlo_value line = hlo_mul(h, hlo_expand(h, pixel[0], like, 8), width), zero = hlo_f32(h, 0);
    const hlo_value low = hlo_add(h, hlo_add(h, first, line), hlo_expand(h, pixel[1], like, 4));
    for (int k = 0; k < 4; k++) {
        weight[k] = hlo_mul(h, hlo_expand(h, by_y[k / 2], like, 8), hlo_expand(h, by_x[k % 2], like, 4));
        hlo_value at = low;
        if (k / 2) at = hlo_add(h, at, width);
        if (k % 2) at = hlo_add(h, at, hlo_integer(h, CVR_I32, 1));
        /* a weight of 0 may belong to a pixel past the map */
        row[k] = hlo_select(h, hlo_compare(h, "GT", weight[k], zero), at, hlo_integer(h, CVR_I32, -1));
    }
}

/* (N, all pixels of all maps, C) */
static hlo_value table_of(hlo *h, roi_maps *m) {
    hlo_value all[CVR_ROI_MOST_MAPS];
    int64_t rows = 0;
    for (int64_t i = 0; i < m->n; i++) {
        const hlo_value map = hlo_input(h, (uint32_t)i + 2);
        const int64_t shape[3] = {map.shape[0], map.shape[1] * map.shape[2], map.shape[3]};
        m->size[0][i] = (float)map.shape[1];
        m->size[1][i] = (float)map.shape[2];
        m->first[i] = (int32_t)rows;
        rows += shape[1];
        all[i] = hlo_reshape(h, map, 3, shape);
    }
    return m->n > 1 ? hlo_concat(h, all, (uint32_t)m->n, 1) : all[0];
}

HLO_EMITTER(align) {
    const cvr_roi_align_attrs *a = HLO_ATTRS(cvr_roi_align_attrs);
    const rois r = rois_of(h, 0, a);
    roi_maps m = {.n = a->n_scales};
    hlo_value c[CARRIED + 2];
    hlo_loop loop;
    for (int64_t i = 0; i < m.n; i++) m.scale[i] = (float)a->scales[i];
    c[CARRIED] = table_of(h, &m);
    open_samples(h, &r, &m, a, c);
    const hlo_value sums = {
        .dtype = CVR_F32,
        .rank = 5,
        .shape = {r.row.shape[0], r.row.shape[1], a->output_size[0], a->output_size[1], c[CARRIED].shape[2]}};
    c[CARRIED + 1] = hlo_fill(h, sums, 0);
    hlo_loop_begin(h, &loop, c, CARRIED + 2);
    hlo_value row[4], weight[4];
    corners_of(h, c, loop.round, row, weight);
    for (int k = 0; k < 4; k++) {
        const hlo_value zero = hlo_integer(h, CVR_I32, 0), at = hlo_binary(h, "maximum", row[k], zero);
        const hlo_value found = hlo_take_batched(h, c[CARRIED], at);
        const hlo_value counts = hlo_expand(h, hlo_compare(h, "GE", row[k], zero), sums, 16);
        const hlo_value part = hlo_mul(h, found, hlo_expand(h, weight[k], sums, 16));
        c[CARRIED + 1] = hlo_add(h, c[CARRIED + 1], hlo_select(h, counts, part, hlo_f32(h, 0)));
    }
    hlo_loop_end(h, &loop, c);
    hlo_result(h, c[CARRIED + 1]);
}

/* grad (N*R,C,P,Q), rois, count -> the gradient of one map */
HLO_EMITTER(align_backward) {
    const cvr_roi_align_backward_attrs *b = HLO_ATTRS(cvr_roi_align_backward_attrs);
    const cvr_roi_align_attrs *a = &b->forward;
    rois r = rois_of(h, 1, a);
    const hlo_value grad = hlo_input(h, 0), out = hlo_like(h->a->outputs[0]);
    const int64_t pictures = out.shape[0], pixels = out.shape[1] * out.shape[2], channels = out.shape[3];
    const int64_t all[1] = {hlo_count(grad) / channels}, rows[2] = {all[0], channels};
    const hlo_value into = {.dtype = CVR_F32, .rank = 2, .shape = {pictures * pixels, channels}};
    const roi_maps m = {
        .n = 1, .scale = {(float)a->scales[b->level]}, .size = {{(float)out.shape[1]}, {(float)out.shape[2]}}};
    hlo_value c[CARRIED + 2];
    hlo_loop loop;
    r.counts = hlo_binary(h, "and", r.counts, hlo_compare(h, "EQ", r.level, hlo_integer(h, CVR_I32, b->level)));
    r.level = hlo_convert(h, hlo_fill(h, r.row, 0), CVR_I32);
    open_samples(h, &r, &m, a, c);
    /* each picture's pixels follow those of the one before */
    const hlo_value picture = hlo_iota(h, CVR_I32, c[FIRST], 0);
    c[FIRST] = hlo_add(h, c[FIRST], hlo_mul(h, picture, hlo_integer(h, CVR_I32, pixels)));
    c[CARRIED] = hlo_reshape(h, grad, 2, rows);
    c[CARRIED + 1] = hlo_fill(h, into, 0);
    hlo_loop_begin(h, &loop, c, CARRIED + 2);
    hlo_value row[4], weight[4];
    corners_of(h, c, loop.round, row, weight);
    for (int k = 0; k < 4; k++) {
        const hlo_value flat = hlo_reshape(h, row[k], 1, all), past = hlo_integer(h, CVR_I32, into.shape[0]);
        const hlo_value at = hlo_select(h, hlo_compare(h, "LT", flat, hlo_integer(h, CVR_I32, 0)), past, flat);
        const hlo_value by = hlo_expand(h, hlo_reshape(h, weight[k], 1, all), c[CARRIED], 2);
        c[CARRIED + 1] = hlo_scatter_add(h, c[CARRIED + 1], at, hlo_mul(h, c[CARRIED], by));
    }
    hlo_loop_end(h, &loop, c);
    hlo_result(h, c[CARRIED + 1]);
}

/* Rounds are counted in 32 bits: as many as samples that may lie on a map, along both axes. */
#define MOST_SIDE 8192

static int32_t sides_fit(const cvr_tensor *map, cvr_error *reason) {
    if (map->shape[2] <= MOST_SIDE && map->shape[3] <= MOST_SIDE) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "a map of %lld x %lld pixels, whose sides may be %d",
                    (long long)map->shape[2], (long long)map->shape[3], MOST_SIDE);
}

static int32_t align_supports(const cvr_signature *sig, cvr_error *reason) {
    for (uint32_t i = 2; i < sig->n_inputs; i++) CVR_TRY(sides_fit(sig->inputs[i], reason));
    return CVR_OK;
}

static int32_t align_backward_supports(const cvr_signature *sig, cvr_error *reason) {
    return sides_fit(sig->outputs[0], reason);
}

const hlo_op emit_roi_ops[] = {
    {.op = "roi_align", .payload = {sizeof(cvr_stablehlo_emit), align}, .supports = align_supports},
    {.op = "roi_align_backward",
     .payload = {sizeof(cvr_stablehlo_emit), align_backward},
     .supports = align_backward_supports},
    {.op = NULL}};
