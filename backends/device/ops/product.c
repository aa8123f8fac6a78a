/*
 * Convolutions, their gradients, dense layers and matrix products as dispatches of product.k: what is a pixel, a tap
 * and a column of each. The weight of a convolution, (O,I,R,S), lies in memory as (O,R,S,I).
 */
#include "device_ops.h"

#include <cvr/plugin/ops/conv.h>
#include <cvr/plugin/ops/linear.h>
#include <cvr/plugin/ops/norm.h>

#define ENOUGH_GROUPS 512u /* below that a long sum is split */
#define LEAST_DEPTH 256u   /* of a part */

/* What an op is given: of a signature or of arguments. */
typedef struct product_io {
    const void *attrs;
    const cvr_tensor *const *in;
    const cvr_tensor *out;
    uint32_t n_in;
    uint32_t reserved;
} product_io;

static const cvr_tensor *input(const product_io *io, uint32_t i) {
    return i < io->n_in ? io->in[i] : NULL;
}

static uint64_t data_of(const cvr_tensor *t) {
    return t ? device_address(t->data) : 0;
}

/* ---- running ---- */

/* By the shape alone: sums have the same bits on every device. */
void device_product_plan(device_product *d) {
    product_params *p = &d->p;
    p->row_tiles = (uint32_t)device_groups(p->rows, PRODUCT_TILE);
    p->column_tiles = (uint32_t)device_groups(p->columns, PRODUCT_TILE);
    const uint64_t groups = (uint64_t)p->row_tiles * p->column_tiles * p->zs * p->batches;
    uint64_t splits = device_groups(ENOUGH_GROUPS, groups), most = p->depth / LEAST_DEPTH;
    if (splits > most) splits = most;
    if (splits < 1 || p->scale || p->residual || d->activation) splits = 1;
    p->split_depth = (uint32_t)device_groups(device_groups(p->depth, splits), PRODUCT_DEPTH) * PRODUCT_DEPTH;
    p->splits = (uint32_t)device_groups(p->depth, p->split_depth);
    p->split_stride = d->n_results;
}

uint64_t device_product_workspace(const device_product *d) {
    return d->p.splits > 1 ? UINT64_C(4) * d->p.splits * d->n_results : 0;
}

static int32_t add_splits(const device_product *d, uint64_t sums, uint64_t to, const cvr_recorder *r, cvr_error *err) {
    const uint32_t lanes = 64, ends[] = {COLUMNS_SUM, lanes, d->type_c, FINISH_NONE};
    const columns_finish_params p = {.partials = sums,
                                     .out0 = to,
                                     .rows = d->p.splits,
                                     .columns = d->n_results,
                                     .chunk_rows = 1,
                                     .chunks = d->p.splits,
                                     .factor = 1,
                                     .stride = d->n_results};
    return DEVICE_LAUNCH(r, columns_finish, &p, ends, device_groups(p.columns, lanes), err);
}

int32_t device_product_run(device_product *d, const cvr_recorder *r, void *workspace, cvr_error *err) {
    const uint32_t constants[] = {
        d->shape,         d->turned,        d->type_a | d->type_b << 4 | d->type_c << 8 | d->type_shift << 12,
        d->a_along_depth, d->b_along_depth, d->activation};
    const uint64_t to = d->p.c;
    if (d->p.splits > 1) d->p.c = device_address(workspace);
    CVR_TRY(DEVICE_LAUNCH(r, product, &d->p, constants,
                          (uint64_t)d->p.row_tiles * d->p.column_tiles * d->p.splits * d->p.zs * d->p.batches, err));
    return d->p.splits > 1 ? add_splits(d, d->p.c, to, r, err) : CVR_OK;
}

/* ---- convolutions ---- */

device_product device_product_of(const cvr_tensor *a, const cvr_tensor *b, const cvr_tensor *c) {
    return (device_product){.p = {.a = device_address(a->data),
                                  .b = device_address(b->data),
                                  .c = device_address(c->data),
                                  .zs = 1,
                                  .batches = 1,
                                  .factor = 1,
                                  .a_channel = 1,
                                  .b_column = 1,
                                  .c_row = 1,
                                  .c_column = 1},
                            .type_a = a->dtype,
                            .type_b = b->dtype,
                            .type_c = c->dtype,
                            .n_results = device_numel(c)};
}

/* Pixels of `grid` look at pictures like `a`, through a window like that of `weight`, of `channels` a group. */
static void set_window(device_product *d, const cvr_conv2d_attrs *attrs, const cvr_tensor *a, const cvr_tensor *grid,
                       const cvr_tensor *weight, uint32_t channels) {
    product_params *p = &d->p;
    p->height = (uint32_t)a->shape[2];
    p->width = (uint32_t)a->shape[3];
    p->out_height = (uint32_t)grid->shape[2];
    p->out_width = (uint32_t)grid->shape[3];
    p->channels = channels;
    p->taps_wide = (uint32_t)weight->shape[3];
    const device_divisor by_height = device_divisor_of(p->out_height), by_width = device_divisor_of(p->out_width);
    const device_divisor by_channels = device_divisor_of(channels), by_taps = device_divisor_of(p->taps_wide);
    p->out_height_magic = by_height.magic, p->out_height_shift = by_height.shift;
    p->out_width_magic = by_width.magic, p->out_width_shift = by_width.shift;
    p->channels_magic = by_channels.magic, p->channels_shift = by_channels.shift;
    p->taps_wide_magic = by_taps.magic, p->taps_wide_shift = by_taps.shift;
    for (int i = 0; i < 2; i++) {
        const device_divisor by_stride = device_divisor_of((uint32_t)attrs->stride[i]);
        p->stride[i] = (uint32_t)attrs->stride[i];
        p->padding[i] = (uint32_t)attrs->padding[i];
        p->dilation[i] = (uint32_t)attrs->dilation[i];
        p->stride_magic[i] = by_stride.magic, p->stride_shift[i] = by_stride.shift;
    }
}

static void set_bias(device_product *d, const cvr_tensor *bias, uint32_t of_group) {
    d->p.shift = data_of(bias);
    d->type_shift = bias ? bias->dtype : 0;
    d->p.shift_z = of_group;
}

/* y[pixel, k] = sum over (r,s,c) of x[pixel moved by (r,s), c] * weight[k,r,s,c]; also the gradient of conv_transpose2d
 * for its input, where weight is (C,K,R,S). */
static device_product gathering(const product_io *io, const cvr_conv2d_attrs *attrs) {
    const cvr_tensor *x = io->in[0], *weight = io->in[1], *y = io->out;
    const uint32_t groups = (uint32_t)attrs->groups, of_group = (uint32_t)y->shape[1] / groups;
    const uint32_t channels = (uint32_t)weight->shape[1], filter = device_numel(weight) / (uint32_t)weight->shape[0];
    device_product d = device_product_of(x, weight, y);
    product_params *p = &d.p;
    d.shape = PRODUCT_GATHER;
    d.a_along_depth = d.b_along_depth = 1;
    set_window(&d, attrs, x, y, weight, channels);
    p->zs = groups;
    p->rows = device_numel(y) / (uint32_t)y->shape[1];
    p->columns = of_group;
    p->depth = filter;
    p->a_pixel = (uint32_t)x->shape[1], p->a_z = channels;
    p->b_column = filter, p->b_channel = 1, p->b_tap = channels, p->b_z = of_group * filter;
    p->c_row = (uint32_t)y->shape[1], p->c_z = of_group;
    return d;
}

/* dx[pixel, c] = sum over (r,s,k) of grad[where (r,s) took it to, k] * weight[k,r,s,c]; also conv_transpose2d. */
static device_product spreading(const product_io *io, const cvr_conv2d_attrs *attrs) {
    const cvr_tensor *grad = io->in[0], *weight = io->in[1], *dx = io->out;
    const uint32_t groups = (uint32_t)attrs->groups, of_group = (uint32_t)weight->shape[1];
    const uint32_t channels = (uint32_t)weight->shape[0] / groups;
    const uint32_t filter = device_numel(weight) / (uint32_t)weight->shape[0];
    device_product d = device_product_of(grad, weight, dx);
    product_params *p = &d.p;
    d.shape = PRODUCT_TRANSPOSED;
    d.a_along_depth = 1;
    set_window(&d, attrs, grad, dx, weight, channels);
    p->zs = groups;
    p->rows = device_numel(dx) / (uint32_t)dx->shape[1];
    p->columns = of_group;
    p->depth = channels * (filter / of_group);
    p->a_pixel = (uint32_t)grad->shape[1], p->a_z = channels;
    p->b_channel = filter, p->b_tap = of_group, p->b_z = channels * filter;
    p->c_row = (uint32_t)dx->shape[1], p->c_z = of_group;
    return d;
}

static device_product conv2d(const product_io *io) {
    device_product d = gathering(io, (const cvr_conv2d_attrs *)io->attrs);
    set_bias(&d, input(io, 2), d.p.columns);
    return d;
}

static device_product conv2d_backward_input(const product_io *io) {
    return spreading(io, &((const cvr_conv2d_backward_input_attrs *)io->attrs)->conv);
}

static device_product conv_transpose2d(const product_io *io) {
    device_product d = spreading(io, &((const cvr_conv_transpose2d_attrs *)io->attrs)->conv);
    set_bias(&d, input(io, 2), d.p.columns);
    return d;
}

static device_product conv_transpose2d_backward_input(const product_io *io) {
    return gathering(io, &((const cvr_conv2d_backward_input_attrs *)io->attrs)->conv);
}

/* dweight[k, (r,s,c)] = sum over pixels of x[pixel moved by (r,s), c] * grad[pixel, k] */
static device_product conv2d_backward_weight(const product_io *io) {
    const cvr_conv2d_attrs *attrs = &((const cvr_conv2d_backward_weight_attrs *)io->attrs)->conv;
    const cvr_tensor *x = io->in[0], *grad = io->in[1], *dweight = io->out;
    const uint32_t of_group = (uint32_t)grad->shape[1] / (uint32_t)attrs->groups,
                   channels = (uint32_t)dweight->shape[1];
    device_product d = device_product_of(x, grad, dweight);
    product_params *p = &d.p;
    d.shape = PRODUCT_GATHER;
    d.turned = 1;
    set_window(&d, attrs, x, grad, dweight, channels);
    p->zs = (uint32_t)attrs->groups;
    p->rows = device_numel(dweight) / (uint32_t)dweight->shape[0];
    p->columns = of_group;
    p->depth = device_numel(grad) / (uint32_t)grad->shape[1];
    p->a_pixel = (uint32_t)x->shape[1], p->a_z = channels;
    p->b_channel = (uint32_t)grad->shape[1], p->b_z = of_group;
    p->c_column = p->rows, p->c_z = of_group * p->rows;
    return d;
}

/* ---- dense ---- */

/* x (rows,I) times weight (O,I) turned over, or weight (I,O) as it is. */
static device_product dense(const cvr_tensor *x, const cvr_tensor *weight, const cvr_tensor *y,
                            uint32_t weight_turned) {
    const uint32_t depth = (uint32_t)weight->shape[weight_turned ? 1 : 0];
    device_product d = device_product_of(x, weight, y);
    product_params *p = &d.p;
    d.a_along_depth = 1;
    d.b_along_depth = weight_turned;
    p->rows = device_numel(x) / depth;
    p->columns = device_numel(weight) / depth;
    p->depth = p->a_pixel = depth;
    p->b_column = weight_turned ? depth : 1;
    p->b_channel = weight_turned ? 1 : p->columns;
    p->c_row = p->columns;
    return d;
}

static device_product linear(const product_io *io) {
    device_product d = dense(io->in[0], io->in[1], io->out, 1);
    set_bias(&d, input(io, 2), 0);
    return d;
}

static device_product linear_backward_input(const product_io *io) {
    return dense(io->in[0], io->in[1], io->out, 0);
}

static device_product linear_backward_weight(const product_io *io) {
    const cvr_tensor *x = io->in[0], *grad = io->in[1], *dweight = io->out;
    device_product d = device_product_of(x, grad, dweight);
    product_params *p = &d.p;
    d.turned = 1;
    p->rows = (uint32_t)dweight->shape[1];
    p->columns = (uint32_t)dweight->shape[0];
    p->depth = device_numel(grad) / p->columns;
    p->a_pixel = p->c_column = p->rows;
    p->b_channel = p->columns;
    return d;
}

static device_product matmul(const product_io *io) {
    const cvr_matmul_attrs *attrs = (const cvr_matmul_attrs *)io->attrs;
    const cvr_tensor *a = io->in[0], *b = io->in[1], *c = io->out;
    device_product d = device_product_of(a, b, c);
    product_params *p = &d.p;
    d.a_along_depth = !attrs->transpose_a;
    d.b_along_depth = attrs->transpose_b != 0;
    p->rows = (uint32_t)c->shape[c->rank - 2];
    p->columns = (uint32_t)c->shape[c->rank - 1];
    p->depth = (uint32_t)a->shape[attrs->transpose_a ? a->rank - 2 : a->rank - 1];
    p->zs = d.n_results / (p->rows * p->columns);
    p->a_pixel = attrs->transpose_a ? 1 : p->depth;
    p->a_channel = attrs->transpose_a ? p->rows : 1;
    p->b_column = attrs->transpose_b ? p->depth : 1;
    p->b_channel = attrs->transpose_b ? 1 : p->columns;
    p->c_row = p->columns;
    p->a_z = p->rows * p->depth;
    p->b_z = p->columns * p->depth;
    p->c_z = p->rows * p->columns;
    return d;
}

/* ---- where a group has one channel ---- */

/* Whether product.k would waste its tiles: DEPTHWISE_* says what is made instead. */
enum { DEPTHWISE_NOT, DEPTHWISE_FORWARD, DEPTHWISE_BACKWARD, DEPTHWISE_WEIGHT };

typedef struct depthwise {
    int made;
    device_window window;
    const cvr_tensor *bias;
} depthwise;

static depthwise not_depthwise(const product_io *io) {
    (void)io;
    return (depthwise){.made = DEPTHWISE_NOT};
}

static depthwise window_of(int made, const cvr_conv2d_attrs *attrs, const cvr_tensor *x, const cvr_tensor *weight,
                           const cvr_tensor *y, const cvr_tensor *bias) {
    const int is = attrs->groups > 1 && attrs->groups == x->shape[1] && weight->shape[1] == 1;
    return (depthwise){.made = is ? made : DEPTHWISE_NOT, .window = {attrs, x, weight, y}, .bias = bias};
}

static depthwise conv2d_depthwise(const product_io *io) {
    return window_of(DEPTHWISE_FORWARD, (const cvr_conv2d_attrs *)io->attrs, io->in[0], io->in[1], io->out,
                     input(io, 2));
}

static depthwise conv2d_backward_input_depthwise(const product_io *io) {
    return window_of(DEPTHWISE_BACKWARD, &((const cvr_conv2d_backward_input_attrs *)io->attrs)->conv, io->out,
                     io->in[1], io->in[0], NULL);
}

static depthwise conv2d_backward_weight_depthwise(const product_io *io) {
    return window_of(DEPTHWISE_WEIGHT, &((const cvr_conv2d_backward_weight_attrs *)io->attrs)->conv, io->in[0], io->out,
                     io->in[1], NULL);
}

static depthwise conv_transpose2d_depthwise(const product_io *io) {
    return window_of(DEPTHWISE_BACKWARD, &((const cvr_conv_transpose2d_attrs *)io->attrs)->conv, io->out, io->in[1],
                     io->in[0], input(io, 2));
}

static depthwise conv_transpose2d_backward_input_depthwise(const product_io *io) {
    return window_of(DEPTHWISE_FORWARD, &((const cvr_conv2d_backward_input_attrs *)io->attrs)->conv, io->in[0],
                     io->in[1], io->out, NULL);
}

#define linear_depthwise not_depthwise
#define linear_backward_input_depthwise not_depthwise
#define linear_backward_weight_depthwise not_depthwise
#define matmul_depthwise not_depthwise

static int32_t run_depthwise(const depthwise *d, const cvr_recorder *r, void *workspace, cvr_error *err) {
    if (d->made == DEPTHWISE_WEIGHT) return device_depthwise_weight(&d->window, r, workspace, err);
    return device_depthwise(&d->window, d->bias, d->made == DEPTHWISE_BACKWARD, r, err);
}

static uint64_t depthwise_workspace(const depthwise *d) {
    return d->made == DEPTHWISE_WEIGHT ? device_depthwise_workspace(&d->window) : 0;
}

/* ---- the ops ---- */

#define PRODUCT(name_)                                                                                                 \
    static uint64_t name_##_workspace(const cvr_signature *sig) {                                                      \
        const product_io io = {sig->attrs, sig->inputs, sig->outputs[0], sig->n_inputs, 0};                            \
        const depthwise w = name_##_depthwise(&io);                                                                    \
        if (w.made) return depthwise_workspace(&w);                                                                    \
        device_product d = name_(&io);                                                                                 \
        device_product_plan(&d);                                                                                       \
        return device_product_workspace(&d);                                                                           \
    }                                                                                                                  \
    static int32_t name_##_record(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {                   \
        const product_io io = {a->attrs, a->inputs, a->outputs[0], a->n_inputs, 0};                                    \
        const depthwise w = name_##_depthwise(&io);                                                                    \
        if (w.made) return run_depthwise(&w, r, a->workspace, err);                                                    \
        device_product d = name_(&io);                                                                                 \
        device_product_plan(&d);                                                                                       \
        return device_product_run(&d, r, a->workspace, err);                                                           \
    }
#define PRODUCT_OP(name_) DEVICE_OP(#name_, name_##_record, .workspace = name_##_workspace)

PRODUCT(conv2d)
PRODUCT(conv2d_backward_input)
PRODUCT(conv2d_backward_weight)
PRODUCT(conv_transpose2d)
PRODUCT(conv_transpose2d_backward_input)
PRODUCT(linear)
PRODUCT(linear_backward_input)
PRODUCT(linear_backward_weight)
PRODUCT(matmul)

const device_op device_product_ops[] = {PRODUCT_OP(conv2d),
                                        PRODUCT_OP(conv2d_backward_input),
                                        PRODUCT_OP(conv2d_backward_weight),
                                        PRODUCT_OP(conv_transpose2d),
                                        PRODUCT_OP(conv_transpose2d_backward_input),
                                        PRODUCT_OP(linear),
                                        PRODUCT_OP(linear_backward_input),
                                        PRODUCT_OP(linear_backward_weight),
                                        PRODUCT_OP(matmul),
                                        {.op = NULL}};
