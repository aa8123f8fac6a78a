/* See emit_classes.h. */
#include "emit_classes.h"
#include <math.h>

#define CLASSES 2u /* the axis of classes, as a bit */

hlo_value class_rows_from(hlo *h, hlo_value x) {
    static const uint32_t order[3] = {0, 2, 1};
    if (x.rank == 3) x = hlo_transpose(h, x, order);
    const int64_t classes = x.shape[x.rank - 1], shape[2] = {hlo_count(x) / classes, classes};
    return hlo_reshape(h, x, 2, shape);
}

hlo_value class_rows_back(hlo *h, hlo_value rows, const cvr_tensor *like) {
    static const uint32_t order[3] = {0, 2, 1};
    const int64_t turned[3] = {like->shape[0], like->shape[2], like->shape[1]};
    if (like->rank == 3) return hlo_transpose(h, hlo_reshape(h, rows, 3, turned), order);
    return hlo_reshape_like(h, rows, hlo_like(like));
}

class_rows class_rows_of(hlo *h, uint32_t x, uint32_t target, uint32_t weight, int64_t ignore_index) {
    class_rows r = {.x = class_rows_from(h, hlo_input(h, x))};
    r.rows = r.x.shape[0];
    r.classes = r.x.shape[1];
    r.target = hlo_convert(h, hlo_reshape(h, hlo_input_raw(h, target), 1, &r.rows), CVR_I64);
    const hlo_value number = hlo_iota(h, CVR_I64, r.x, 1);
    r.is_target = hlo_compare(h, "EQ", number, hlo_expand(h, r.target, r.x, CLASSES));
    r.ignored = hlo_compare(h, "EQ", r.target, hlo_integer(h, CVR_I64, ignore_index));
    const hlo_value below = hlo_compare(h, "LT", r.target, hlo_integer(h, CVR_I64, 0));
    const hlo_value above = hlo_compare(h, "GE", r.target, hlo_integer(h, CVR_I64, r.classes > 1 ? r.classes : 2));
    const hlo_value outside = hlo_binary(h, "or", below, above);
    r.is_wrong = hlo_binary(h, "and", outside, hlo_unary(h, "not", r.ignored));
    if (hlo_has(h, weight)) {
        r.weight = hlo_reshape(h, hlo_input(h, weight), 1, &r.classes);
        r.weight_of_target = class_pick(h, &r, hlo_along(h, r.weight, r.x, 1));
    } else {
        hlo_value one = r.target;
        one.dtype = CVR_F32;
        r.weight_of_target = hlo_fill(h, one, 1);
    }
    return r;
}

hlo_value class_pick(hlo *h, const class_rows *r, hlo_value x) {
    return hlo_sum(h, hlo_select(h, r->is_target, x, hlo_f32(h, 0)), CLASSES);
}

hlo_value class_logsumexp(hlo *h, hlo_value x) {
    const hlo_value most = hlo_reduce(h, "maximum", x, CLASSES);
    const hlo_value e = hlo_unary(h, "exponential", hlo_sub(h, x, hlo_expand(h, most, x, CLASSES)));
    return hlo_add(h, most, hlo_unary(h, "log", hlo_sum(h, e, CLASSES)));
}

hlo_value class_counted(hlo *h, const class_rows *r, hlo_value v) {
    return hlo_select(h, r->ignored, hlo_f32(h, 0), hlo_select(h, r->is_wrong, hlo_f32(h, (double)NAN), v));
}
