/*
 * The ops that device kernels compute: for each a host function that records its dispatches (<cvr/plugin/device.h>).
 * This folder is compiled into every backend that runs them, each with its own code of the kernels.
 */
#ifndef DEVICE_OPS_H
#define DEVICE_OPS_H

#include <cvr/device/params.h>
#include <cvr/plugin/device.h>
#include <cvr/plugin/ops/conv.h>
#include <cvr/plugin/ops/elementwise.h>
#include <cvr/plugin/ops/resize.h>
#include <cvr/plugin/plugin.h>

#include "../kernels/detect_params.h"
#include "../kernels/device_params.h"
#include "../kernels/loss_params.h"

/* One op; the fields are those of cvr_kernel_desc. */
typedef struct device_op {
    const char *op;
    cvr_device_fn fn;
    uint64_t inplace;
    int32_t (*supports)(const cvr_signature *sig, cvr_error *reason);
    uint64_t (*workspace)(const cvr_signature *sig);
} device_op;

#define DEVICE_OP(name_, record_, ...)                                                                                 \
    { .op = name_, .fn = {sizeof(cvr_device_fn), record_}, __VA_ARGS__ }

/* A family's ops, which end with one that has no name. */
extern const device_op device_elementwise_ops[], device_norm_ops[], device_sum_ops[], device_product_ops[],
    device_shape_ops[], device_arith_ops[], device_pool_ops[], device_rows_ops[], device_mask_ops[],
    device_update_ops[], device_attention_ops[], device_picture_ops[], device_loss_ops[], device_clip_ops[],
    device_class_loss_ops[], device_box_ops[], device_index_ops[], device_rank_ops[], device_row_loss_ops[],
    device_roi_ops[], device_yolo_ops[], device_region_loss_ops[], device_int8_ops[], device_guard_ops[];

/* Registers all of them as kernels of a backend. */
int32_t device_add_kernels(const cvr_registrar *r, const char *backend, const char *payload_kind, cvr_error *err);

/* The op of this name, or NULL. */
const device_op *device_find(const char *name);

extern const cvr_code device_code_elementwise, device_code_columns, device_code_columns_finish, device_code_product,
    device_code_copy, device_code_reduce, device_code_pool_max, device_code_pool_average, device_code_rows_softmax,
    device_code_rows_norm, device_code_rows_entropy, device_code_mask, device_code_update, device_code_resize,
    device_code_gather, device_code_peak, device_code_depthwise, device_code_depthwise_weight, device_code_rows_focal,
    device_code_anchors, device_code_boxes, device_code_match_boxes, device_code_index_rows, device_code_sort,
    device_code_top_k, device_code_sample_rows, device_code_nms, device_code_sim_ota, device_code_scores,
    device_code_row_counts, device_code_row_loss, device_code_box_loss, device_code_hard_rows, device_code_overlap,
    device_code_lovasz, device_code_hard_targets, device_code_yolo, device_code_yolo_loss, device_code_roi,
    device_code_int8, device_code_guard;

/* RESIZE_* of an upsample: pictures.c */
uint32_t device_resize_mode(const cvr_upsample_attrs *attrs);

/* ---- what `supports` says ---- */

/* Every tensor has fewer than 2^31 elements, as indices in kernels have 32 bits, and floats are f32, f16 or bf16. */
int32_t device_supports(const cvr_signature *sig, cvr_error *reason);
/* Besides, the inputs from `first` on to `last` are f32 where they are there: weights and statistics. */
int32_t device_supports_f32(const cvr_signature *sig, uint32_t first, uint32_t last, cvr_error *reason);

/* Besides, all floats are f32, but for inputs whose bit in `any` is set, and output 0 with `follows`. */
int32_t device_supports_floats(const cvr_signature *sig, uint64_t any, int follows, cvr_error *reason);
int32_t device_supports_all_f32(const cvr_signature *sig, cvr_error *reason);
int32_t device_supports_but_input(const cvr_signature *sig, cvr_error *reason); /* all but input 0 */
int32_t device_supports_but_both(const cvr_signature *sig, cvr_error *reason);  /* all but input 0 and output 0 */

/* ---- recording ---- */

/* The code of a kernel, which each backend has in its own form, and its entry. */
typedef struct device_kernel {
    const cvr_code *code;
    const char *entry;
} device_kernel;

/* So many groups, in any shape of grid: the kernel counts them by group_number() and has to leave those beyond. */
int32_t device_dispatch(const cvr_recorder *r, const device_kernel *kernel, const void *params, uint64_t params_size,
                        const uint32_t *constants, uint32_t n_constants, uint64_t groups, cvr_error *err);

/* DEVICE_LAUNCH(r, NAME, &parameters, array of constants, groups, err): a dispatch of kernels/NAME.k */
#define DEVICE_LAUNCH(r, name_, params_, constants_, groups_, err_)                                                    \
    device_dispatch(r, &(const device_kernel){&device_code_##name_, #name_}, 1 ? (params_) : (name_##_params *)NULL,   \
                    sizeof(name_##_params), constants_, sizeof(constants_) / sizeof *(constants_), groups_, err_)

#define DEVICE_GROUP 256u

static inline uint64_t device_groups(uint64_t n, uint64_t of_each) {
    return (n + of_each - 1) / of_each;
}
/* Groups that have n threads. */
static inline uint64_t device_groups_for(uint64_t n) {
    return device_groups(n, DEVICE_GROUP);
}
static inline uint64_t device_address(const void *p) {
    return (uint64_t)(uintptr_t)p;
}
/* Input i, or NULL where it is absent; and its address, or 0. */
static inline const cvr_tensor *device_in(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs ? a->inputs[i] : NULL;
}
static inline uint64_t device_at(const cvr_kernel_args *a, uint32_t i) {
    const cvr_tensor *t = device_in(a, i);
    return t ? device_address(t->data) : 0;
}
static inline uint32_t device_numel(const cvr_tensor *t) {
    return (uint32_t)cvr_numel(t->rank, t->shape);
}

/* Parts of a workspace begin at multiples of 64 bytes. */
static inline uint64_t device_padded(uint64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* i / d by one multiplication, for i < 2^31 and d >= 1: `divide` of cvr/device/scalar.h. */
typedef struct device_divisor {
    uint32_t magic, shift;
} device_divisor;

device_divisor device_divisor_of(uint32_t d);

/* t = 0 */
int32_t device_zero(const cvr_recorder *r, const cvr_tensor *t, cvr_error *err);

/* ---- axes (walk.c) ---- */

/* How far elements lie apart along each logical axis. */
void device_steps(uint32_t rank, const int64_t *shape, uint32_t steps[CVR_MAX_RANK]);
/* Over all elements of `shape`, counted as they lie in `to`. */
device_walk device_walk_of(uint32_t rank, const int64_t *shape, const uint32_t *to, const uint32_t *from);
/* to[walk] = from[walk], elements of so many bytes. */
int32_t device_copy(const cvr_recorder *r, void *to, const void *from, uint32_t element, const device_walk *w,
                    cvr_error *err);

/* Threads for one of `outputs` that are made of `terms` each: as many as have a few terms, fewer where neighbouring
 * terms lie apart and there are outputs enough. */
uint32_t device_width(const device_walk *inner, uint32_t outputs, uint32_t terms);

/* ---- sums over axes (reduce.c) ---- */

/* y = sum of x over the axes whose bit is set, which y does not have, or with size 1. */
int32_t device_sum_axes(const cvr_recorder *r, const cvr_tensor *x, const cvr_tensor *y, uint32_t axes, void *workspace,
                        cvr_error *err);
/* Of squares; it needs no workspace. */
int32_t device_squares_axes(const cvr_recorder *r, const cvr_tensor *x, const cvr_tensor *y, uint32_t axes,
                            cvr_error *err);
/* to = factor * (sum of the n numbers at `from`, or of their squares); the workspace is that of n columns of 1. */
int32_t device_total(const cvr_recorder *r, uint64_t from, uint32_t type, uint32_t n, int squares, double factor,
                     uint64_t to, void *workspace, cvr_error *err);
uint64_t device_sum_axes_workspace(const cvr_tensor *x, const cvr_tensor *y, uint32_t axes);

/* ---- products (product.c) ---- */

/* c = a b on its way to the kernel: what the constants are made of, and the parameters. */
typedef struct device_product {
    product_params p;
    uint32_t shape, turned, a_along_depth, b_along_depth, activation;
    uint32_t type_a, type_b, type_c, type_shift;
    uint32_t n_results;
} device_product;

/* Of dense matrices, with all strides of 1 or 0; rows, columns, depth and strides are still to be set. */
device_product device_product_of(const cvr_tensor *a, const cvr_tensor *b, const cvr_tensor *c);
/* Then: tiles, and into how many parts sums are split. */
void device_product_plan(device_product *d);
/* Bytes of the parts' sums, once it is planned. */
uint64_t device_product_workspace(const device_product *d);
int32_t device_product_run(device_product *d, const cvr_recorder *r, void *workspace, cvr_error *err);

/* ---- convolutions with one input channel a group (depthwise.c) ---- */

/* x (N,C,H,W), weight (K,1,R,S), y (N,K,P,Q), K a multiple of C: three tensors, of which one is made of the others. */
typedef struct device_window {
    const cvr_conv2d_attrs *attrs;
    const cvr_tensor *x, *weight, *y;
} device_window;

/* y, or backward x, which is y's gradient where it came from. `bias` NULL: none. */
int32_t device_depthwise(const device_window *w, const cvr_tensor *bias, int backward, const cvr_recorder *r,
                         cvr_error *err);
int32_t device_depthwise_weight(const device_window *w, const cvr_recorder *r, void *workspace, cvr_error *err);
uint64_t device_depthwise_workspace(const device_window *w);

/* ---- rows (rows.c) ---- */

/* Rows over the axes of x whose bit is set. They are numbered row-major by the logical axes that are left. */
rows_params device_rows_of(const cvr_tensor *x, uint32_t axes);
/* Groups for all rows, `width` threads each (device_width). */
uint64_t device_rows_groups(const rows_params *p, uint32_t width);

/* ROWS_SOFTMAX and so on, along the last axis. y may be x or b. `lse`: where the logarithms of the sums go, or NULL. */
int32_t device_softmax_run(const cvr_recorder *r, const cvr_tensor *x, const cvr_tensor *b, const cvr_tensor *y,
                           uint32_t what, const cvr_tensor *lse, cvr_error *err);

/* ---- keys in order (sort.c) ---- */

/* Segments of n keys (u32), in a workspace. */
typedef struct device_sort {
    uint64_t keys;   /* (segments,n): to be filled before, and sorted after */
    uint64_t values; /* (segments,n): then, for each key, which of its segment it was */
    uint64_t spare_keys, spare_values, counts;
    uint32_t segments, n, chunks, reserved;
} device_sort;

/* Where its parts lie, from `at` on, and how many bytes they are. `at` may be 0 to learn that. */
device_sort device_sort_of(uint32_t segments, uint32_t n, uint64_t at);
uint64_t device_sort_bytes(uint32_t segments, uint32_t n);
/* Rising order; equal keys stay in theirs. */
int32_t device_sort_run(const device_sort *s, const cvr_recorder *r, cvr_error *err);

/* ---- programs (elementwise.c) ---- */

/* An elementwise program with its inputs: steps are added by cvr_step1 and so on to `steps`. */
typedef struct device_program {
    cvr_steps steps;
    cvr_tensor inputs[CVR_ELEMENTWISE_INPUTS];
    uint32_t n;
    uint32_t reserved;
} device_program;

device_program device_program_begin(void);
/* The operand that input `t` is; it broadcasts evenly to the result (cvr_elementwise_repeat). */
uint32_t device_input(device_program *p, const cvr_tensor *t);
/* The same of a number for each channel of a rank-4 result. */
uint32_t device_input_channels(device_program *p, const cvr_tensor *t);
/* The activation (CVR_ACTIVATION_* of ops/norm.h) of an operand. */
uint32_t device_activation(device_program *p, int64_t activation, uint32_t of);
/* y = the last step's result. */
int32_t device_program_run(const device_program *p, const cvr_recorder *r, const cvr_tensor *y, cvr_error *err);

/* ---- sums over columns (columns.c) ---- */

/* A matrix (rows, columns) and what is added up in its columns: COLUMNS_*. All else as in the kernels' parameters. */
typedef struct device_columns {
    uint32_t what;
    uint32_t type_x, type_b, activation;
    uint32_t second;   /* FINISH_* */
    uint32_t type_out; /* of out0; 0: f32 */
    columns_params p;
    columns_finish_params finish;
} device_columns;

/* How a matrix is cut: by its shape alone, so that sums have the same bits on every device. */
typedef struct device_columns_plan {
    uint32_t lanes, tiles, chunk_rows, chunks;
} device_columns_plan;

device_columns_plan device_columns_plan_of(uint64_t rows, uint64_t columns);
/* Bytes of the partial sums. */
uint64_t device_columns_workspace(uint64_t rows, uint64_t columns);
/* Both dispatches. `c` says rows, columns and addresses; plan and partial sums, in `workspace`, are filled in. */
int32_t device_columns_run(device_columns *c, const cvr_recorder *r, void *workspace, cvr_error *err);
/* sums[c] = sum of x over all elements that lie C apart, C being the size of `sums`: a bias's gradient. */
uint64_t device_bias_workspace(const cvr_tensor *x, const cvr_tensor *sums);
int32_t device_bias_sum(const cvr_recorder *r, const cvr_tensor *x, const cvr_tensor *sums, void *workspace,
                        cvr_error *err);

#endif
