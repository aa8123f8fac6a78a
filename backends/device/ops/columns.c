/* Sums over columns: how the matrix is cut into chunks, and the ops that are nothing else. */
#include "device_ops.h"

#define ENOUGH_GROUPS 2048u /* to fill any device */
#define LEAST_ROWS 4u       /* of a thread */

device_columns_plan device_columns_plan_of(uint64_t rows, uint64_t columns) {
    device_columns_plan p = {.lanes = 1};
    while (p.lanes < 32 && p.lanes < columns) p.lanes *= 2;
    const uint64_t at_once = DEVICE_GROUP / p.lanes;
    p.tiles = (uint32_t)device_groups(columns, p.lanes);
    uint64_t of_each = device_groups(rows * p.tiles, ENOUGH_GROUPS * at_once);
    if (of_each < LEAST_ROWS) of_each = LEAST_ROWS;
    p.chunk_rows = (uint32_t)(of_each * at_once < rows ? of_each * at_once : rows);
    p.chunks = (uint32_t)device_groups(rows, p.chunk_rows);
    return p;
}

uint64_t device_columns_workspace(uint64_t rows, uint64_t columns) {
    return UINT64_C(2) * sizeof(float) * device_columns_plan_of(rows, columns).chunks * columns;
}

int32_t device_columns_run(device_columns *c, const cvr_recorder *r, void *workspace, cvr_error *err) {
    const device_columns_plan plan = device_columns_plan_of(c->p.rows, c->p.columns);
    const uint32_t few = c->p.columns < 4 ? plan.lanes : 4; /* many chunks at a time */
    const uint32_t sums[] = {c->what, plan.lanes, c->type_x, c->type_b, c->activation};
    const uint32_t ends[] = {c->what, few, c->type_out ? c->type_out : CVR_F32, c->second};
    c->p.partials = c->finish.partials = device_address(workspace);
    c->p.tiles = plan.tiles;
    c->p.chunk_rows = c->finish.chunk_rows = plan.chunk_rows;
    c->p.chunks = c->finish.chunks = plan.chunks;
    c->finish.rows = c->p.rows;
    c->finish.columns = c->p.columns;
    c->finish.stride = 2 * c->p.columns;
    CVR_TRY(DEVICE_LAUNCH(r, columns, &c->p, sums, (uint64_t)plan.chunks * plan.tiles, err));
    return DEVICE_LAUNCH(r, columns_finish, &c->finish, ends, device_groups(c->p.columns, few), err);
}

uint64_t device_bias_workspace(const cvr_tensor *x, const cvr_tensor *sums) {
    const uint64_t n = device_numel(sums);
    return device_columns_workspace(device_numel(x) / n, n);
}

int32_t device_bias_sum(const cvr_recorder *r, const cvr_tensor *x, const cvr_tensor *sums, void *workspace,
                        cvr_error *err) {
    const uint32_t n = device_numel(sums);
    device_columns c = {.what = COLUMNS_SUM,
                        .type_x = x->dtype,
                        .type_out = sums->dtype,
                        .p = {.x = device_address(x->data), .rows = device_numel(x) / n, .columns = n},
                        .finish = {.out0 = device_address(sums->data), .factor = 1}};
    return device_columns_run(&c, r, workspace, err);
}

int32_t device_total(const cvr_recorder *r, uint64_t from, uint32_t type, uint32_t n, int squares, double factor,
                     uint64_t to, void *workspace, cvr_error *err) {
    device_columns c = {.what = squares ? COLUMNS_PRODUCT : COLUMNS_SUM,
                        .type_x = type,
                        .type_b = type,
                        .p = {.x = from, .b = from, .rows = n, .columns = 1},
                        .finish = {.out0 = to, .factor = (float)factor}};
    return device_columns_run(&c, r, workspace, err);
}

static int32_t record_bias(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return device_bias_sum(r, a->inputs[0], a->outputs[0], a->workspace, err);
}

static uint64_t bias_workspace(const cvr_signature *sig) {
    return device_bias_workspace(sig->inputs[0], sig->outputs[0]);
}

const device_op device_sum_ops[] = {DEVICE_OP("conv2d_backward_bias", record_bias, .workspace = bias_workspace),
                                    DEVICE_OP("linear_backward_bias", record_bias, .workspace = bias_workspace),
                                    {.op = NULL}};
