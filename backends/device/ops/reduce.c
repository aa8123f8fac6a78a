/*
 * Broadcasting and its transpose: repetition by copy.k, sums, means and largest ones over any axes by reduce.k, or by
 * columns.k where what is kept lies innermost.
 */
#include "device_ops.h"

#include <cvr/plugin/ops/arith.h>

/* ---- sums ---- */

/* What is reduced: x's axes whose bit is set. */
typedef struct reduction {
    uint32_t what, axes;
    const cvr_tensor *x, *b, *y, *z;
    const cvr_tensor *like; /* has an element for each that is kept, in its own order */
    double factor;
    uint32_t rank;                     /* of x */
    uint32_t like_steps[CVR_MAX_RANK]; /* of x's axes in `like` */
} reduction;

/* Steps of x's axes in a tensor that has those that are kept, and the others with size 1 or not at all. */
static void place_kept(reduction *d) {
    uint32_t own[CVR_MAX_RANK];
    device_steps(d->like->rank, d->like->shape, own);
    const uint32_t missing = d->x->rank - d->like->rank;
    uint32_t next = 0;
    for (uint32_t i = 0; i < d->x->rank; i++) {
        const int gone = missing && (d->axes >> i & 1);
        d->like_steps[i] = gone || (d->axes >> i & 1) ? 0 : own[next];
        next += !gone;
    }
}

static device_walk walk_axes(const reduction *d, int reduced) {
    int64_t shape[CVR_MAX_RANK];
    uint32_t steps[CVR_MAX_RANK];
    device_steps(d->x->rank, d->x->shape, steps);
    for (uint32_t i = 0; i < d->x->rank; i++) shape[i] = (int)(d->axes >> i & 1) == reduced ? d->x->shape[i] : 1;
    return device_walk_of(d->x->rank, shape, reduced ? steps : d->like_steps, steps);
}

static uint32_t count_of(const device_walk *w) {
    uint32_t n = 1;
    for (uint32_t i = 0; i < w->n; i++) n *= w->size[i];
    return n;
}

/* As columns: one axis is kept, innermost and in the order of the results, and one is reduced around it. */
static int is_columns(const reduction *d, const device_walk *outer, const device_walk *inner) {
    if (d->what > REDUCE_PRODUCT || inner->n != 1 || outer->n > 1) return 0;
    return outer->n == 0 ? inner->from[0] == 1
                         : outer->from[0] == 1 && outer->to[0] == 1 && inner->from[0] == outer->size[0];
}

static uint64_t reduction_workspace(const reduction *d) {
    const device_walk outer = walk_axes(d, 0), inner = walk_axes(d, 1);
    return is_columns(d, &outer, &inner) ? device_columns_workspace(count_of(&inner), count_of(&outer)) : 0;
}

static int32_t run_columns(const reduction *d, uint32_t rows, uint32_t columns, void *workspace, const cvr_recorder *r,
                           cvr_error *err) {
    device_columns c = {.what = d->what == REDUCE_PRODUCT ? COLUMNS_PRODUCT : COLUMNS_SUM,
                        .type_x = d->x->dtype,
                        .type_b = d->b ? d->b->dtype : 0,
                        .type_out = d->y->dtype,
                        .p = {.x = device_address(d->x->data), .rows = rows, .columns = columns},
                        .finish = {.out0 = device_address(d->y->data), .factor = (float)d->factor}};
    if (d->b) c.p.b = device_address(d->b->data);
    return device_columns_run(&c, r, workspace, err);
}

static int32_t run_reduction(const reduction *d, void *workspace, const cvr_recorder *r, cvr_error *err) {
    reduce_params p = {.x = device_address(d->x->data),
                       .b = d->b ? device_address(d->b->data) : 0,
                       .y = device_address(d->y->data),
                       .z = d->z ? device_address(d->z->data) : 0,
                       .outer = walk_axes(d, 0),
                       .inner = walk_axes(d, 1),
                       .factor = (float)d->factor};
    p.outputs = count_of(&p.outer);
    p.terms = count_of(&p.inner);
    if (is_columns(d, &p.outer, &p.inner)) return run_columns(d, p.terms, p.outputs, workspace, r, err);
    const uint32_t width = device_width(&p.inner, p.outputs, p.terms);
    const uint32_t constants[] = {d->what, width, d->x->dtype, d->b ? d->b->dtype : 0, d->y->dtype};
    return DEVICE_LAUNCH(r, reduce, &p, constants, device_groups_for((uint64_t)p.outputs * width), err);
}

static reduction summed_axes(const cvr_tensor *x, const cvr_tensor *y, uint32_t axes) {
    reduction d = {.what = REDUCE_SUM, .axes = axes, .x = x, .y = y, .like = y, .factor = 1};
    place_kept(&d);
    return d;
}

int32_t device_sum_axes(const cvr_recorder *r, const cvr_tensor *x, const cvr_tensor *y, uint32_t axes, void *workspace,
                        cvr_error *err) {
    const reduction d = summed_axes(x, y, axes);
    return run_reduction(&d, workspace, r, err);
}

int32_t device_squares_axes(const cvr_recorder *r, const cvr_tensor *x, const cvr_tensor *y, uint32_t axes,
                            cvr_error *err) {
    reduction d = summed_axes(x, y, axes);
    d.what = REDUCE_SQUARES;
    return run_reduction(&d, NULL, r, err);
}

uint64_t device_sum_axes_workspace(const cvr_tensor *x, const cvr_tensor *y, uint32_t axes) {
    const reduction d = summed_axes(x, y, axes);
    return reduction_workspace(&d);
}

/* ---- sum, mean, amax ---- */

static uint32_t axes_of(const cvr_reduce_attrs *attrs, const cvr_tensor *x) {
    uint32_t axes = 0;
    for (int64_t i = 0; i < attrs->n_dim; i++) axes |= UINT32_C(1) << attrs->dim[i];
    return attrs->n_dim ? axes : (UINT32_C(1) << x->rank) - 1;
}

static reduction over_axes(uint32_t what, const void *attrs, const cvr_tensor *x, const cvr_tensor *y, int mean) {
    reduction d = {
        .what = what, .axes = axes_of((const cvr_reduce_attrs *)attrs, x), .x = x, .y = y, .like = y, .factor = 1};
    double terms = 1;
    for (uint32_t i = 0; i < x->rank; i++)
        if (d.axes >> i & 1) terms *= (double)x->shape[i];
    if (mean) d.factor = 1 / terms;
    place_kept(&d);
    return d;
}

static uint64_t axes_workspace(const cvr_signature *sig) {
    const reduction d = over_axes(REDUCE_SUM, sig->attrs, sig->inputs[0], sig->outputs[0], 0);
    return reduction_workspace(&d);
}

static int32_t record_sum(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const reduction d = over_axes(REDUCE_SUM, a->attrs, a->inputs[0], a->outputs[0], 0);
    return run_reduction(&d, a->workspace, r, err);
}

static int32_t record_mean(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const reduction d = over_axes(REDUCE_SUM, a->attrs, a->inputs[0], a->outputs[0], 1);
    return run_reduction(&d, a->workspace, r, err);
}

static int32_t record_amax(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const reduction d = over_axes(REDUCE_LARGEST, a->attrs, a->inputs[0], a->outputs[0], 0);
    return run_reduction(&d, NULL, r, err);
}

/* x, y, grad -> dx */
static int32_t record_amax_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    reduction d = over_axes(REDUCE_SHARES, a->attrs, a->inputs[0], a->inputs[1], 0);
    d.y = a->outputs[0];
    d.z = a->inputs[1];
    d.b = a->inputs[2];
    return run_reduction(&d, NULL, r, err);
}

/* ---- sum_to ---- */

static reduction summed_to(const cvr_tensor *x, const cvr_tensor *b, const cvr_tensor *y) {
    reduction d = {.what = b ? REDUCE_PRODUCT : REDUCE_SUM, .x = x, .b = b, .y = y, .like = y, .factor = 1};
    uint32_t own[CVR_MAX_RANK];
    const uint32_t missing = x->rank - y->rank;
    device_steps(y->rank, y->shape, own);
    for (uint32_t i = 0; i < x->rank; i++) {
        const int repeats = i < missing || (y->shape[i - missing] == 1 && x->shape[i] != 1);
        d.axes |= (uint32_t)repeats << i;
        d.like_steps[i] = repeats ? 0 : own[i - missing];
    }
    return d;
}

static uint64_t sum_to_workspace(const cvr_signature *sig) {
    const reduction d = summed_to(sig->inputs[0], sig->n_inputs > 1 ? sig->inputs[1] : NULL, sig->outputs[0]);
    return reduction_workspace(&d);
}

static int32_t record_sum_to(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const reduction d = summed_to(a->inputs[0], device_in(a, 1), a->outputs[0]);
    return run_reduction(&d, a->workspace, r, err);
}

/* ---- repetition ---- */

/* y = x repeated; `steps` are x's, along y's axes. */
static int32_t repeat(const cvr_recorder *r, const cvr_tensor *y, const cvr_tensor *x, const uint32_t *steps,
                      cvr_error *err) {
    uint32_t to[CVR_MAX_RANK];
    device_steps(y->rank, y->shape, to);
    const device_walk w = device_walk_of(y->rank, y->shape, to, steps);
    return device_copy(r, y->data, x->data, (uint32_t)cvr_dtype_size(x->dtype), &w, err);
}

static void set_shape_of(cvr_tensor *view, const cvr_tensor *y) {
    view->rank = y->rank;
    memcpy(view->shape, y->shape, sizeof view->shape);
}

/* scale * x: evenly repeated as a program, else by a copy and a program. */
static int32_t record_expand(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_expand_attrs *attrs = (const cvr_expand_attrs *)a->attrs;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    uint32_t own[CVR_MAX_RANK], steps[CVR_MAX_RANK], natural[CVR_MAX_RANK], lacks = 0, next = 0;
    int64_t inner, size;
    cvr_tensor view = *x;
    for (int64_t i = 0; i < attrs->n_dim && x->rank < y->rank; i++) lacks |= UINT32_C(1) << attrs->dim[i];
    device_steps(x->rank, x->shape, own);
    set_shape_of(&view, y);
    for (uint32_t i = 0; i < y->rank; i++) {
        const int there = !(lacks >> i & 1);
        view.shape[i] = there ? x->shape[next] : 1;
        steps[i] = view.shape[i] == 1 ? 0 : own[next];
        next += (uint32_t)there;
    }
    device_steps(view.rank, view.shape, natural);
    int even = cvr_elementwise_repeat(y->rank, y->shape, view.rank, view.shape, &inner, &size);
    for (uint32_t i = 0; i < y->rank; i++) even = even && (steps[i] == 0 || steps[i] == natural[i]);
    if (!even) CVR_TRY(repeat(r, y, x, steps, err));
    if (!even && attrs->scale == 1) return CVR_OK;
    device_program p = device_program_begin();
    const uint32_t v = device_input(&p, even ? &view : y);
    (void)cvr_step2(&p.steps, CVR_STEP_MUL, v, cvr_constant(&p.steps, (float)attrs->scale));
    return device_program_run(&p, r, y, err);
}

/* ---- a + b, a * b ---- */

static int is_even(const cvr_tensor *y, const cvr_tensor *x) {
    int64_t inner, size;
    return cvr_elementwise_repeat(y->rank, y->shape, x->rank, x->shape, &inner, &size);
}

/* Room for both operands as large as the result, as far as they do not repeat evenly. */
static uint64_t broadcast_workspace(const cvr_signature *sig) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < 2; i++)
        if (!is_even(sig->outputs[0], sig->inputs[i]))
            bytes += device_padded(device_numel(sig->outputs[0]) * cvr_dtype_size(sig->inputs[i]->dtype));
    return bytes;
}

static int32_t broadcast(const cvr_kernel_args *a, uint32_t code, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *y = a->outputs[0];
    device_program p = device_program_begin();
    char *room = (char *)a->workspace;
    for (uint32_t i = 0; i < 2; i++) {
        const cvr_tensor *x = a->inputs[i];
        cvr_tensor full = *y;
        uint32_t own[CVR_MAX_RANK], steps[CVR_MAX_RANK] = {0};
        if (is_even(y, x)) {
            (void)device_input(&p, x);
            continue;
        }
        full.dtype = x->dtype;
        full.data = room;
        room += device_padded(device_numel(y) * cvr_dtype_size(x->dtype));
        device_steps(x->rank, x->shape, own);
        for (uint32_t k = 0; k < x->rank; k++) steps[k + y->rank - x->rank] = x->shape[k] == 1 ? 0 : own[k];
        CVR_TRY(repeat(r, &full, x, steps, err));
        (void)device_input(&p, &full);
    }
    (void)cvr_step2(&p.steps, code, 0, 1);
    return device_program_run(&p, r, y, err);
}

static int32_t record_add_broadcast(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return broadcast(a, CVR_STEP_ADD, r, err);
}

static int32_t record_mul_broadcast(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return broadcast(a, CVR_STEP_MUL, r, err);
}

const device_op device_arith_ops[] = {
    DEVICE_OP("sum", record_sum, .workspace = axes_workspace),
    DEVICE_OP("mean", record_mean, .workspace = axes_workspace),
    DEVICE_OP("amax", record_amax),
    DEVICE_OP("amax_backward", record_amax_backward),
    DEVICE_OP("sum_to", record_sum_to, .workspace = sum_to_workspace),
    DEVICE_OP("expand", record_expand),
    DEVICE_OP("add_broadcast", record_add_broadcast, .workspace = broadcast_workspace),
    DEVICE_OP("mul_broadcast", record_mul_broadcast, .workspace = broadcast_workspace),
    {.op = NULL}};
