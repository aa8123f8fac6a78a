/*
 * Windows of a picture as sequences, and back (Liu et al., "Swin Transformer: Hierarchical Vision Transformer using
 * Shifted Windows", 2021). Each of the two ops is the gradient of the other: what was filled up has no gradient.
 */
#include "shape_family.h"
#include <cvr/plugin/ops/check.h>

#define LARGEST_WINDOW 32768.0

static const cvr_attr_desc window_attr = CVR_ATTR_INIT(INT, "window", NULL, "size of a window: both, or height,width",
                                                       .count = 2, CVR_ATTR_PLACE_BETWEEN(1, LARGEST_WINDOW));
static const cvr_attr_desc shift_attr =
    CVR_ATTR_INIT(INT, "shift", "0", "rolled by so many pixels up and to the left, less than the window", .count = 2,
                  CVR_ATTR_BETWEEN(0, LARGEST_WINDOW));
static const cvr_attr_desc size_attr =
    CVR_ATTR_INIT(INT, "size", NULL, "height,width of the picture", .count = 2, CVR_ATTR_BETWEEN(1, 1073741824.0));
static const cvr_attr_desc *const partition_attrs[] = {&window_attr, &shift_attr};
static const cvr_attr_desc *const merge_attrs[] = {&window_attr, &shift_attr, &size_attr};

/* count[0] * count[1] windows for a picture of `size` */
static int32_t count_windows(const cvr_window_attrs *a, const int64_t size[2], int64_t count[2], cvr_error *err) {
    for (int i = 0; i < 2; i++) {
        if (a->window[i] < 1 || a->shift[i] < 0 || a->shift[i] >= a->window[i])
            return cvr_fail(err, CVR_ERR_INVALID, "shift=%lld must be less than window=%lld", (long long)a->shift[i],
                            (long long)a->window[i]);
        count[i] = size[i] / a->window[i] + (size[i] % a->window[i] != 0);
    }
    return CVR_OK;
}

/* (N,C,H,W) -> (N*Y*X,h*w,C) */
static int32_t partition_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_window_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    int64_t count[2], shape[3] = {0, attrs->window[0] * attrs->window[1], x->shape[1]};
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "windows are taken of (N,C,H,W); this input is %s", cvr_shape_of(x).text);
    CVR_TRY(count_windows(attrs, &x->shape[2], count, err));
    if (__builtin_mul_overflow(x->shape[0] * count[0], count[1], &shape[0]))
        return cvr_fail(err, CVR_ERR_INVALID, "too many windows");
    cvr_type_set(a->outputs[0], x->dtype, 3, shape);
    return CVR_OK;
}

/* (N*Y*X,h*w,C) -> (N,C,H,W) */
static int32_t merge_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_window_merge_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    const int64_t *window = attrs->window.window;
    int64_t count[2], windows;
    CVR_TRY(count_windows(&attrs->window, attrs->size, count, err));
    if (x->rank != 3 || __builtin_mul_overflow(count[0], count[1], &windows) || windows < 1 ||
        x->shape[0] % windows != 0 || x->shape[1] != window[0] * window[1])
        return cvr_fail(err, CVR_ERR_INVALID,
                        "windows of %lldx%lld that make a picture of %lldx%lld are (N * %lld * %lld, %lld, C); this "
                        "input is %s",
                        (long long)window[0], (long long)window[1], (long long)attrs->size[0],
                        (long long)attrs->size[1], (long long)count[0], (long long)count[1],
                        (long long)(window[0] * window[1]), cvr_shape_of(x).text);
    const int64_t shape[4] = {x->shape[0] / windows, x->shape[2], attrs->size[0], attrs->size[1]};
    cvr_type_set(a->outputs[0], x->dtype, 4, shape);
    return CVR_OK;
}

static int32_t partition_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_type *x = b->type(b, a->inputs[0]);
    const cvr_window_merge_attrs attrs = {*(const cvr_window_attrs *)a->attrs, {x->shape[2], x->shape[3]}};
    return cvr_emit(b, "window_merge", &attrs, sizeof attrs, &a->grad_outputs[0], 1, &a->grad_inputs[0], err);
}

static int32_t merge_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_window_merge_attrs *attrs = a->attrs;
    return cvr_emit(b, "window_partition", &attrs->window, sizeof attrs->window, &a->grad_outputs[0], 1,
                    &a->grad_inputs[0], err);
}

/* For every pixel of every window, between `tokens` (N*Y*X,h*w,C) and `picture` (N,H,W,C in memory). */
static void move(const cvr_window_attrs *a, const cvr_tensor *tokens, const cvr_tensor *picture, int into_picture) {
    const int64_t height = picture->shape[2], width = picture->shape[3], h = a->window[0], w = a->window[1];
    const int64_t rows = (height + h - 1) / h, columns = (width + w - 1) / w;
    const size_t bytes = (size_t)picture->shape[1] * cvr_dtype_size(picture->dtype);
    for (int64_t t = 0; t < tokens->shape[0] * h * w; t++) {
        const int64_t window = t / (h * w), n = window / (rows * columns);
        const int64_t i = window / columns % rows, j = window % columns;
        const int64_t y = (i * h + t / w % h + a->shift[0]) % (rows * h),
                      x = (j * w + t % w + a->shift[1]) % (columns * w);
        char *token = (char *)tokens->data + (size_t)t * bytes;
        char *pixel = (char *)picture->data + (size_t)((n * height + y) * width + x) * bytes;
        const int inside = y < height && x < width;
        if (inside && into_picture)
            memcpy(pixel, token, bytes);
        else if (inside)
            memcpy(token, pixel, bytes);
        else if (!into_picture)
            memset(token, 0, bytes);
    }
}

static int32_t partition_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    move(a->attrs, a->outputs[0], a->inputs[0], 0);
    return CVR_OK;
}

static int32_t merge_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    move(&((const cvr_window_merge_attrs *)a->attrs)->window, a->inputs[0], a->outputs[0], 1);
    return CVR_OK;
}

static int32_t build_partition(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                               cvr_value *out, cvr_error *err) {
    (void)n_in;
    return cvr_emit(b, "window_partition", attrs, sizeof(cvr_window_attrs), in, 1, out, err);
}

static int32_t build_merge(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                           cvr_error *err) {
    (void)n_in;
    return cvr_emit(b, "window_merge", attrs, sizeof(cvr_window_merge_attrs), in, 1, out, err);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "window_partition",
            .version = 1,
            .trait = shape_partition_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = partition_attrs,
            .infer = partition_infer,
            .grad = partition_grad,
            .doc = "windows of a picture, filled up and rolled, as sequences"},
     .reference = {sizeof(cvr_cpu_fn), partition_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "window_merge",
            .version = 1,
            .trait = shape_merge_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 3,
            .attrs = merge_attrs,
            .infer = merge_infer,
            .grad = merge_grad,
            .doc = "a picture of the windows that window_partition made of it"},
     .reference = {sizeof(cvr_cpu_fn), merge_run}},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "window_partition",
     .doc = "windows of a picture as sequences: (N,C,H,W) -> (N*windows,pixels,C)",
     .n_attrs = 2,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = partition_attrs,
     .build = build_partition},
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "window_merge",
     .doc = "the picture of such windows: (N*windows,pixels,C) -> (N,C,H,W)",
     .n_attrs = 3,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = merge_attrs,
     .build = build_merge},
};

const shape_family shape_window = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
