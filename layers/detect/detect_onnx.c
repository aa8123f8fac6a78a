/* How boxes are coded, chosen and gathered in ONNX. Words and shapes as in ops/detect.h. */
#include "detect_family.h"

#include <cvr/plugin/formats/onnx.h>

int32_t detect_write_constant(const cvr_onnx *o, int32_t (*run)(const cvr_kernel_args *a, cvr_error *err),
                              cvr_error *err) {
    cvr_tensor tensors[3];
    const cvr_tensor *inputs[2] = {&tensors[0], &tensors[1]};
    cvr_tensor *outputs[1] = {&tensors[2]};
    cvr_kernel_args a;
    cvr_onnx_value value, out = o->outputs[0];
    memset(tensors, 0, sizeof tensors);
    memset(&a, 0, sizeof a);
    for (uint32_t i = 0; i < 3; i++) {
        const cvr_type *t = o->type(o, i < 2 ? o->inputs[i] : out);
        tensors[i].struct_size = sizeof tensors[i];
        tensors[i].dtype = t->dtype;
        tensors[i].rank = t->rank;
        memcpy(tensors[i].shape, t->shape, sizeof t->shape);
    }
    const cvr_type *made = o->type(o, out);
    tensors[2].data = o->host->alloc(o->host, (uint64_t)cvr_numel(made->rank, made->shape) * 4, 64);
    if (!tensors[2].data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    a.struct_size = sizeof a;
    a.attrs = o->attrs;
    a.inputs = inputs;
    a.outputs = outputs;
    a.n_inputs = 2;
    a.n_outputs = 1;
    int32_t status = run(&a, err);
    if (status == CVR_OK) status = o->constant(o, made, tensors[2].data, &value, err);
    o->host->free(o->host, tensors[2].data);
    return status == CVR_OK ? cvr_onnx_emit1(o, "Identity", value, &out, err) : status;
}

/* ---- coders ---- */

/* A number of each box: x[..., k:k+1] */
static int32_t column(const cvr_onnx *o, cvr_onnx_value x, int64_t k, cvr_onnx_value *out, cvr_error *err) {
    *out = 0;
    return cvr_onnx_slice(o, x, -1, k, k + 1, 1, out, err);
}

/* Along one axis (0: x, 1: y) of the anchors: its centre and its side. */
static int32_t anchor_axis(const cvr_onnx *o, cvr_onnx_value anchors, int64_t axis, cvr_onnx_value *centre,
                           cvr_onnx_value *side, cvr_error *err) {
    cvr_onnx_value from, to, half = 0;
    *side = *centre = 0;
    CVR_TRY(column(o, anchors, axis, &from, err));
    CVR_TRY(column(o, anchors, axis + 2, &to, err));
    CVR_TRY(cvr_onnx_emit2(o, "Sub", to, from, side, err));
    CVR_TRY(cvr_onnx_with(o, "Mul", *side, 0.5, &half, err));
    return cvr_onnx_emit2(o, "Add", from, half, centre, err);
}

/* LTRB: centre - d0 * side, centre + d1 * side */
static int32_t decode_distances(const cvr_onnx *o, cvr_onnx_value deltas, int64_t axis, cvr_onnx_value centre,
                                cvr_onnx_value side, cvr_onnx_value ends[2], cvr_error *err) {
    for (int i = 0; i < 2; i++) {
        cvr_onnx_value d, far = 0;
        CVR_TRY(column(o, deltas, axis + 2 * i, &d, err));
        CVR_TRY(cvr_onnx_emit2(o, "Mul", d, side, &far, err));
        CVR_TRY(cvr_onnx_emit2(o, i ? "Add" : "Sub", centre, far, &ends[i], err));
    }
    return CVR_OK;
}

/* centre + d * side, and half of exp(d') * side on either side of it */
static int32_t decode_centre(const cvr_onnx *o, cvr_onnx_value deltas, int64_t axis, cvr_onnx_value centre,
                             cvr_onnx_value side, cvr_onnx_value ends[2], cvr_error *err) {
    const cvr_box_coder_attrs *a = o->attrs;
    cvr_onnx_value d, share = 0, way = 0, middle = 0, grown, power = 0, growth = 0, whole = 0, half = 0;
    CVR_TRY(column(o, deltas, axis, &d, err));
    CVR_TRY(cvr_onnx_with(o, "Mul", d, 1 / a->weights[axis], &share, err));
    CVR_TRY(cvr_onnx_emit2(o, "Mul", share, side, &way, err));
    CVR_TRY(cvr_onnx_emit2(o, "Add", way, centre, &middle, err));
    CVR_TRY(column(o, deltas, axis + 2, &grown, err));
    CVR_TRY(cvr_onnx_with(o, "Mul", grown, 1 / a->weights[axis + 2], &power, err));
    if (a->coder != CVR_CODER_CENTER_OPEN) {
        cvr_onnx_value held = 0;
        CVR_TRY(cvr_onnx_with(o, "Min", power, (double)CVR_CODER_MOST, &held, err));
        power = held;
    }
    CVR_TRY(cvr_onnx_emit1(o, "Exp", power, &growth, err));
    CVR_TRY(cvr_onnx_emit2(o, "Mul", growth, side, &whole, err));
    CVR_TRY(cvr_onnx_with(o, "Mul", whole, 0.5, &half, err));
    CVR_TRY(cvr_onnx_emit2(o, "Sub", middle, half, &ends[0], err));
    return cvr_onnx_emit2(o, "Add", middle, half, &ends[1], err);
}

/* deltas (N,A,4*K) as (N,A,K,4), anchors as (A,1,4) or (N,A,1,4) -> (N,A,4*K) */
static int32_t write_decode(const cvr_onnx *o, cvr_error *err) {
    const cvr_box_coder_attrs *a = o->attrs;
    const cvr_type *t = o->type(o, o->inputs[0]), *anchor_type = o->type(o, o->inputs[1]);
    const cvr_onnx_attr last = cvr_onnx_int("axis", -1);
    const cvr_onnx_dim split[4] = {cvr_onnx_axis(o, o->inputs[0], 0), cvr_onnx_axis(o, o->inputs[0], 1),
                                   cvr_onnx_size(t->shape[2] / 4), cvr_onnx_size(4)};
    cvr_onnx_dim dims[CVR_MAX_RANK];
    cvr_onnx_value out = o->outputs[0], deltas = o->inputs[0], anchors = o->inputs[1], ends[4] = {0}, boxes = 0;
    const int32_t several = t->shape[2] != 4;
    if (several) {
        deltas = anchors = 0;
        CVR_TRY(cvr_onnx_reshape(o, o->inputs[0], split, 4, &deltas, err));
        CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", o->inputs[1], anchor_type->rank - 1, &anchors, err));
    }
    for (int64_t axis = 0; axis < 2; axis++) {
        cvr_onnx_value centre, side, pair[2] = {0, 0};
        CVR_TRY(anchor_axis(o, anchors, axis, &centre, &side, err));
        CVR_TRY(
            (a->coder == CVR_CODER_LTRB ? decode_distances : decode_centre)(o, deltas, axis, centre, side, pair, err));
        ends[axis] = pair[0];
        ends[axis + 2] = pair[1];
    }
    CVR_TRY(cvr_onnx_emit(o, "Concat", ends, 4, &last, 1, several ? &boxes : &out, err));
    return several ? cvr_onnx_reshape(o, boxes, dims, cvr_onnx_axes(o, out, dims), &out, err) : CVR_OK;
}

/* boxes (N,A,4*K) between 0 and the size (N,2) as (N,1,4*K): width, height, width, height, ... */
static int32_t write_clip(const cvr_onnx *o, cvr_error *err) {
    const int64_t columns = o->type(o, o->inputs[0])->shape[2];
    const cvr_onnx_attr axis = cvr_onnx_int("axis", 1);
    cvr_onnx_value order, sides = 0, rows = 0, least = 0, out = o->outputs[0];
    int64_t *width_first = o->host->alloc(o->host, (uint64_t)columns * sizeof *width_first, 64);
    if (!width_first) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < columns; i++) width_first[i] = i % 2 == 0;
    const int32_t status = cvr_onnx_i64s(o, width_first, columns, &order, err);
    o->host->free(o->host, width_first);
    CVR_TRY(status);
    const cvr_onnx_value gathered[2] = {o->inputs[1], order};
    CVR_TRY(cvr_onnx_emit(o, "Gather", gathered, 2, &axis, 1, &sides, err));
    CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", sides, 1, &rows, err));
    CVR_TRY(cvr_onnx_with(o, "Max", o->inputs[0], 0, &least, err));
    return cvr_onnx_emit2(o, "Min", least, rows, &out, err);
}

/* ---- choosing ---- */

/* The k largest of (N,P): numbers, and where they stand, i64. */
static int32_t largest(const cvr_onnx *o, cvr_onnx_value x, int64_t k, cvr_onnx_value out[2], cvr_error *err) {
    const cvr_onnx_attr attrs[3] = {cvr_onnx_int("axis", 1), cvr_onnx_int("largest", 1), cvr_onnx_int("sorted", 1)};
    cvr_onnx_value in[2] = {x, 0};
    CVR_TRY(cvr_onnx_i64(o, k, &in[1], err));
    const cvr_onnx_node n = {.struct_size = sizeof n,
                             .type = "TopK",
                             .inputs = in,
                             .outputs = out,
                             .attrs = attrs,
                             .n_inputs = 2,
                             .n_outputs = 2,
                             .n_attrs = 3};
    return o->node(o, &n, err);
}

/* How many of (N,P) are true, i32 (N) */
static int32_t count_true(const cvr_onnx *o, cvr_onnx_value x, cvr_onnx_value *out, cvr_error *err) {
    const int64_t axis = 1;
    cvr_onnx_value ones = 0;
    CVR_TRY(cvr_onnx_cast(o, x, CVR_ONNX_TYPE_I32, &ones, err));
    return cvr_onnx_reduce(o, "ReduceSum", 13, ones, &axis, 1, 0, out, err);
}

/* index where `test`, else -1, i32; how many there are */
static int32_t mark(const cvr_onnx *o, cvr_onnx_value test, cvr_onnx_value index, cvr_onnx_value *out,
                    cvr_onnx_value *count, cvr_error *err) {
    cvr_onnx_value place = 0, none;
    CVR_TRY(cvr_onnx_cast(o, index, CVR_ONNX_TYPE_I32, &place, err));
    CVR_TRY(cvr_onnx_number(o, CVR_I32, -1, &none, err));
    CVR_TRY(cvr_onnx_emit3(o, "Where", test, place, none, out, err));
    return count_true(o, test, count, err);
}

static int32_t write_top_k(const cvr_onnx *o, cvr_error *err) {
    const cvr_top_k_attrs *a = o->attrs;
    cvr_onnx_value values = o->outputs[0], index = o->outputs[1], count = o->outputs[2], best[2] = {0, 0}, test = 0,
                   zero;
    if (!a->above) {
        best[0] = values;
        CVR_TRY(largest(o, o->inputs[0], a->k, best, err));
        CVR_TRY(cvr_onnx_cast(o, best[1], CVR_ONNX_TYPE_I32, &index, err));
        CVR_TRY(cvr_onnx_with(o, "GreaterOrEqual", best[0], -INFINITY, &test, err));
        return count_true(o, test, &count, err);
    }
    CVR_TRY(largest(o, o->inputs[0], a->k, best, err));
    CVR_TRY(cvr_onnx_with(o, "Greater", best[0], a->threshold, &test, err));
    CVR_TRY(cvr_onnx_f32(o, 0, &zero, err));
    CVR_TRY(cvr_onnx_emit3(o, "Where", test, best[0], zero, &values, err));
    return mark(o, test, best[1], &index, &count, err);
}

/* x (N,P) or (N,P,K), index (N,B): rows of x, of which there is one more of zeros where an index is negative */
static int32_t write_gather(const cvr_onnx *o, cvr_error *err) {
    const int64_t shared = ((const cvr_gather_attrs *)o->attrs)->shared;
    const cvr_type *x = o->type(o, o->inputs[0]);
    const int32_t wide = x->rank == (shared ? 2u : 3u);
    const cvr_onnx_attr axis = cvr_onnx_int("axis", shared ? 0 : 1), batch = cvr_onnx_int("batch_dims", 1);
    cvr_onnx_value in[2] = {o->inputs[0], 0}, out = o->outputs[0], least, zero, wide_index = 0, rows = 0, test = 0,
                   tests = 0;
    CVR_TRY(cvr_onnx_number(o, CVR_I32, 0, &least, err));
    CVR_TRY(cvr_onnx_number(o, x->dtype, 0, &zero, err));
    CVR_TRY(cvr_onnx_emit2(o, "GreaterOrEqual", o->inputs[1], least, &test, err));
    CVR_TRY(cvr_onnx_emit2(o, "Max", o->inputs[1], least, &in[1], err));
    if (shared || !wide) {
        CVR_TRY(cvr_onnx_emit(o, shared ? "Gather" : "GatherElements", in, 2, &axis, 1, &rows, err));
    } else {
        CVR_TRY(cvr_onnx_cast(o, in[1], CVR_ONNX_TYPE_I64, &wide_index, err));
        in[1] = 0;
        CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", wide_index, 2, &in[1], err));
        CVR_TRY(cvr_onnx_emit(o, "GatherND", in, 2, &batch, 1, &rows, err));
    }
    if (!wide) return cvr_onnx_emit3(o, "Where", test, rows, zero, &out, err);
    CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", test, 2, &tests, err));
    return cvr_onnx_emit3(o, "Where", tests, rows, zero, &out, err);
}

CVR_ONNX_TRAITS(detect_decode_traits, write_decode, cvr_traits_mixed_f32)
CVR_ONNX_TRAITS(detect_clip_traits, write_clip, cvr_traits_mixed_f32)
CVR_ONNX_TRAITS(detect_top_k_traits, write_top_k, cvr_traits_mixed_f32)

const cvr_onnx_trait detect_gather_onnx = {sizeof detect_gather_onnx, write_gather};
