/* Joining along an axis and cutting out of one: torch.cat, and Python's x[start:end:step] on one axis. */
#include "shape_family.h"

#define ATTR(name_, default_, flags_, min_, doc_)                                                                      \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_attr_desc), .name = name_, .kind = CVR_ATTR_INT, .count = 1, .flags = flags_,        \
        .default_text = default_, .min = min_, .doc = doc_                                                             \
    }

static const cvr_attr_desc dim_attr = ATTR("dim", "0", CVR_ATTR_POSITIONAL, 0, "logical axis");
static const cvr_attr_desc start_attr = ATTR("start", "0", 0, 0, "first index; negative counts from the end");
static const cvr_attr_desc end_attr =
    ATTR("end", "2147483647", 0, 0, "index after the last; negative counts from the end");
static const cvr_attr_desc step_attr = ATTR("step", "1", CVR_ATTR_MIN, 1, "from one index to the next");
static const cvr_attr_desc length_attr = ATTR("length", NULL, 0, 0, "elements that are taken");
static const cvr_attr_desc size_attr = ATTR("size", NULL, 0, 0, "elements of the whole axis");

static const cvr_attr_desc *const concat_attrs[] = {&dim_attr};
static const cvr_attr_desc *const slice_attrs[] = {&dim_attr, &start_attr, &step_attr, &length_attr, &size_attr};
static const cvr_attr_desc *const slice_layer_attrs[] = {&dim_attr, &start_attr, &end_attr, &step_attr};

/* As slice_layer_attrs packs it. */
typedef struct slice_layer {
    int64_t dim, start, end, step;
} slice_layer;

static const cvr_attr_desc *const chunk_layer_attrs[] = {
    CVR_ATTR(INT, "chunks", NULL, "pieces", CVR_ATTR_PLACE_BETWEEN(1, CVR_MAX_IO)), &dim_attr};

typedef struct chunk_layer {
    int64_t chunks, dim;
} chunk_layer;

/* ---- concat ---- */

static int32_t concat_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_concat_attrs *attrs = a->attrs;
    const cvr_type *first = a->inputs[0];
    cvr_type *y = a->outputs[0];
    *y = *first;
    if (attrs->dim < 0 || attrs->dim >= (int64_t)first->rank)
        return cvr_fail(err, CVR_ERR_INVALID, "concat: dim %lld of a tensor with %u axes", (long long)attrs->dim,
                        first->rank);
    for (uint32_t i = 1; i < a->n_inputs; i++) {
        const cvr_type *x = a->inputs[i];
        int same = x->rank == first->rank && x->dtype == first->dtype;
        for (int64_t d = 0; d < (int64_t)first->rank; d++)
            same = same && (d == attrs->dim || x->shape[d] == first->shape[d]);
        if (!same)
            return cvr_fail(err, CVR_ERR_INVALID,
                            "concat: input %u differs from the first one on an axis other than %lld", i,
                            (long long)attrs->dim);
        if (__builtin_add_overflow(y->shape[attrs->dim], x->shape[attrs->dim], &y->shape[attrs->dim]))
            return cvr_fail(err, CVR_ERR_INVALID, "concat: the inputs are too large");
    }
    return CVR_OK;
}

/* The gradient of each input is its slice of grad. */
static int32_t concat_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_concat_attrs *attrs = a->attrs;
    int64_t start = 0;
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        const int64_t length = b->type(b, a->inputs[i])->shape[attrs->dim];
        const cvr_slice_attrs slice = {attrs->dim, start, 1, length, b->type(b, a->outputs[0])->shape[attrs->dim]};
        if (a->needs[i])
            CVR_TRY(cvr_emit(b, "slice", &slice, sizeof slice, &a->grad_outputs[0], 1, &a->grad_inputs[i], err));
        start += length;
    }
    return CVR_OK;
}

/* Copies between a tensor and the part of `whole` that begins at `start` on axis dim, with `step` from one to the next.
 * `into`: from part to whole. */
static void copy_part(const cvr_tensor *part, const cvr_tensor *whole, const cvr_slice_attrs *s, int into) {
    const size_t size = cvr_dtype_size(part->dtype);
    const int64_t n = cvr_numel(part->rank, part->shape);
    int64_t part_step[CVR_MAX_RANK], whole_step[CVR_MAX_RANK];
    shape_steps(part->rank, part->shape, part_step);
    shape_steps(whole->rank, whole->shape, whole_step);
    const int64_t origin = s->start * whole_step[s->dim];
    whole_step[s->dim] *= s->step;
    for (int64_t i = 0; i < n; i++) {
        const int64_t p = shape_at(part->rank, part->shape, part_step, i);
        const int64_t w = origin + shape_at(part->rank, part->shape, whole_step, i);
        char *in_part = (char *)part->data + (size_t)p * size, *in_whole = (char *)whole->data + (size_t)w * size;
        memcpy(into ? in_whole : in_part, into ? in_part : in_whole, size);
    }
}

static int32_t concat_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_concat_attrs *attrs = a->attrs;
    cvr_slice_attrs s = {.dim = attrs->dim, .step = 1};
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        copy_part(a->inputs[i], a->outputs[0], &s, 1);
        s.start += a->inputs[i]->shape[attrs->dim];
    }
    return CVR_OK;
}

static int32_t build_concat(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                            cvr_error *err) {
    cvr_concat_attrs call = *(const cvr_concat_attrs *)attrs;
    CVR_TRY(shape_axis(call.dim, b->type(b, in[0])->rank, &call.dim, err));
    return cvr_emit(b, "concat", &call, sizeof call, in, n_in, out, err);
}

/* ---- slice ---- */

static int32_t check_slice(const cvr_slice_attrs *s, const cvr_type *x, cvr_error *err) {
    int64_t last;
    const int fits = s->dim >= 0 && s->dim < (int64_t)x->rank && s->start >= 0 && s->step >= 1 && s->length >= 0 &&
                     !__builtin_mul_overflow(s->length > 0 ? s->length - 1 : 0, s->step, &last) &&
                     !__builtin_add_overflow(last, s->start, &last) && (s->length == 0 || last < s->size);
    return fits ? CVR_OK : cvr_fail(err, CVR_ERR_INVALID, "slice: it reaches out of the axis");
}

static int32_t slice_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_slice_attrs *s = a->attrs;
    CVR_TRY(check_slice(s, a->inputs[0], err));
    if (s->length < 1) return cvr_fail(err, CVR_ERR_INVALID, "slice: nothing of the axis is in it");
    if (a->inputs[0]->shape[s->dim] != s->size)
        return cvr_fail(err, CVR_ERR_INVALID, "slice: `size` is not the axis's");
    *a->outputs[0] = *a->inputs[0];
    a->outputs[0]->shape[s->dim] = s->length;
    return CVR_OK;
}

static int32_t slice_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_slice_attrs *s = a->attrs;
    CVR_TRY(check_slice(s, a->inputs[0], err));
    if (a->inputs[0]->shape[s->dim] != s->length)
        return cvr_fail(err, CVR_ERR_INVALID, "slice_backward: `length` is not the axis's");
    *a->outputs[0] = *a->inputs[0];
    a->outputs[0]->shape[s->dim] = s->size;
    return CVR_OK;
}

static int32_t slice_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit(b, "slice_backward", a->attrs, sizeof(cvr_slice_attrs), &a->grad_outputs[0], 1, &a->grad_inputs[0],
                    err);
}

static int32_t slice_backward_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit(b, "slice", a->attrs, sizeof(cvr_slice_attrs), &a->grad_outputs[0], 1, &a->grad_inputs[0], err);
}

static int32_t slice_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    copy_part(a->outputs[0], a->inputs[0], a->attrs, 0);
    return CVR_OK;
}

static int32_t slice_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_tensor *dx = a->outputs[0];
    memset(dx->data, 0, (size_t)cvr_numel(dx->rank, dx->shape) * cvr_dtype_size(dx->dtype));
    copy_part(a->inputs[0], dx, a->attrs, 1);
    return CVR_OK;
}

static int64_t clamp_index(int64_t i, int64_t size) {
    if (i < 0) i += size;
    return i < 0 ? 0 : i > size ? size : i;
}

static int32_t build_slice(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                           cvr_error *err) {
    (void)n_in;
    const slice_layer *layer = attrs;
    const cvr_type *x = b->type(b, in[0]);
    cvr_slice_attrs s = {.step = layer->step};
    CVR_TRY(shape_axis(layer->dim, x->rank, &s.dim, err));
    s.size = x->shape[s.dim];
    s.start = clamp_index(layer->start, s.size);
    const int64_t end = clamp_index(layer->end, s.size);
    s.length = end > s.start ? (end - s.start - 1) / s.step + 1 : 0;
    return cvr_emit(b, "slice", &s, sizeof s, in, 1, out, err);
}

/* As torch.chunk: pieces of one size, the last one perhaps smaller, and perhaps fewer than asked for. */
static int32_t build_chunk(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                           cvr_error *err) {
    (void)n_in;
    const chunk_layer *layer = attrs;
    const cvr_type *x = b->type(b, in[0]);
    cvr_slice_attrs s = {.step = 1};
    CVR_TRY(shape_axis(layer->dim, x->rank, &s.dim, err));
    s.size = x->shape[s.dim];
    const int64_t each = s.size ? (s.size + layer->chunks - 1) / layer->chunks : 1;
    for (uint32_t i = 0; s.start < s.size; i++, s.start += each) {
        s.length = each < s.size - s.start ? each : s.size - s.start;
        CVR_TRY(cvr_emit(b, "slice", &s, sizeof s, in, 1, &out[i], err));
    }
    return CVR_OK;
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "concat",
            .version = 1,
            .trait = shape_concat_traits,
            .min_inputs = 1,
            .max_inputs = CVR_MAX_IO,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = concat_attrs,
            .infer = concat_infer,
            .grad = concat_grad,
            .doc = "joins the inputs along dim"},
     .reference = {sizeof(cvr_cpu_fn), concat_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "slice",
            .version = 1,
            .trait = shape_slice_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 5,
            .attrs = slice_attrs,
            .infer = slice_infer,
            .grad = slice_grad,
            .doc = "y[i] = x[start + i * step] on axis dim"},
     .reference = {sizeof(cvr_cpu_fn), slice_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "slice_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 5,
            .attrs = slice_attrs,
            .infer = slice_backward_infer,
            .grad = slice_backward_grad,
            .doc = "dx[start + i * step] = grad[i] on axis dim, zero elsewhere"},
     .reference = {sizeof(cvr_cpu_fn), slice_backward_run}},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "concat",
     .doc = "joins 1 to 64 inputs along dim (torch.cat)",
     .n_attrs = 1,
     .min_inputs = 1,
     .max_inputs = CVR_MAX_IO,
     .n_outputs = 1,
     .attrs = concat_attrs,
     .build = build_concat},
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "slice",
     .doc = "x[start:end:step] on axis dim",
     .n_attrs = 4,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = slice_layer_attrs,
     .build = build_slice},
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "chunk",
     .doc = "pieces of an axis, as many outputs: `left, right = chunk 2 dim=1`",
     .n_attrs = 2,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = CVR_MAX_IO,
     .attrs = chunk_layer_attrs,
     .build = build_chunk},
};

const shape_family shape_pieces = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
