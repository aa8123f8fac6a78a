/*
 * What the kernels of detection share. Boxes are x1, y1, x2, y2; areas and overlaps are rounded as the reference's
 * (<cvr/plugin/ops/detect_math.h>), so that both take the same decisions.
 */
#include "cvr/device/kernel.h"
#include "detect_params.h"

/* Matches of rows without an object. */
#define MATCH_BACKGROUND (-1)
#define MATCH_BETWEEN (-2)

FN i32 load_i32(u64 a, u32 i) {
    return i32(load_u32(a, i));
}
FN void store_i32(u64 a, u32 i, i32 v) {
    store_u32(a, i, u32(v));
}
/* Element i of 64 bits, all of it, where it is from 0 to `most`; else `other`. */
FN u32 load_within(u64 a, u32 i, u32 most, u32 other) {
    const u32 low = load_u32(a, 2u * i), high = load_u32(a, 2u * i + 1u);
    return high == 0u && low <= most ? low : other;
}
/* Objects of picture i that are there, no more than there is room for. */
FN u32 objects_of(u64 counts, u32 i, u32 most) {
    return counts == 0u ? most : load_within(counts, i, most, most);
}
/* Rows of picture i that count, likewise. */
FN u32 rows_of(u64 counts, u32 i, u32 most) {
    return counts == 0u ? most : min_u(load_u32(counts, i), most);
}

FN void load_box(u64 a, u32 i, OUT f32 box[4]) {
    UNROLL for (u32 j = 0u; j < 4u; j++) box[j] = load_f32(a, 4u * i + j);
}
FN f32 area_of(f32 b[4]) {
    EXACT f32 w = b[2] - b[0];
    EXACT f32 h = b[3] - b[1];
    EXACT f32 area = w * h;
    return area;
}
/* Intersection / union; NaN where both are empty, or where a coordinate is NaN. */
FN f32 iou_of(f32 a[4], f32 b[4]) {
    const f32 x1 = a[0] < b[0] ? b[0] : a[0], y1 = a[1] < b[1] ? b[1] : a[1];
    const f32 x2 = b[2] < a[2] ? b[2] : a[2], y2 = b[3] < a[3] ? b[3] : a[3];
    EXACT f32 w = x2 - x1;
    EXACT f32 h = y2 - y1;
    EXACT f32 both = (w > 0.0f ? w : 0.0f) * (h > 0.0f ? h : 0.0f);
    EXACT f32 all = area_of(a) + area_of(b) - both;
    return div_f(both, all);
}

/* ---- logistic numbers ---- */

FN f32 sigmoid_f(f32 x) {
    const f32 tail = exp_f(-abs_f(x));
    return div_f(x < 0.0f ? tail : 1.0f, 1.0f + tail);
}
/* log(1 + t), exact also for small t >= 0: the logarithm of what 1 + t is rounded to, and how that differs */
FN f32 log1p_f(f32 t) {
    EXACT f32 u = 1.0f + t;
    EXACT f32 far = u - 1.0f;
    return far == 0.0f ? t : log_f(u) * div_f(t, far);
}
/* log(sigmoid(x)) */
FN f32 log_sigmoid(f32 x) {
    return (x < 0.0f ? x : 0.0f) - log1p_f(exp_f(-abs_f(x)));
}
/* -t log q - (1 - t) log(1 - q) with q = sigmoid(x) */
FN f32 bce_of(f32 x, f32 t) {
    return log1p_f(exp_f(-abs_f(x))) + (x > 0.0f ? x : 0.0f) - x * t;
}

/* ---- scores in order ---- */

/* Of a float's bits: a whole number that rises as the float falls. Twice, it is the bits again. */
FN u32 falling_bits(u32 bits) {
    return bits >> 31u != 0u ? bits : ~bits & 0x7fffffffu;
}
/* Rises as the score falls; 0 and -0 are equal, NaN comes last (cvr_score_key). */
FN u32 falling_key(f32 score) {
    if (is_nan(score)) return 0xffffffffu;
    return falling_bits(bits_of(score) == 0x80000000u ? 0u : bits_of(score));
}
/* Of n sorted keys, how many are below `key`. */
FN u32 keys_below(u64 keys, u32 first, u32 n, u32 key) {
    u32 low = 0u, high = n;
    while (low < high) {
        const u32 middle = low + (high - low) / 2u;
        if (load_u32(keys, first + middle) < key)
            low = middle + 1u;
        else
            high = middle;
    }
    return low;
}
