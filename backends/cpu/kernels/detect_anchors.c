/* Anchors and default boxes on the CPU (see <cvr/plugin/ops/detect.h>): a task is a row of the map, cell by cell, and
 * in each the boxes of a cell, which are computed once and lie on the stack. */
#include "detect_keys.h"

#include <cvr/plugin/ops/detect_math.h>

typedef struct anchors_job {
    const void *attrs;
    const int64_t *image, *map; /* shapes */
    float *out;
    const float *cell; /* of grid_anchors: (per_cell, 4) */
    float (*side)[2];  /* of default_boxes: (per_cell, 2) */
    int64_t per_cell;
} anchors_job;

static void grid_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const anchors_job *job = ctx;
    const int64_t y = (int64_t)task, down = job->image[2] / job->map[2], right = job->image[3] / job->map[3];
    float *out = job->out + y * job->map[3] * job->per_cell * 4;
    for (int64_t x = 0; x < job->map[3]; x++)
        for (int64_t k = 0; k < job->per_cell; k++, out += 4) {
            out[0] = (float)(x * right) + job->cell[4 * k];
            out[1] = (float)(y * down) + job->cell[4 * k + 1];
            out[2] = (float)(x * right) + job->cell[4 * k + 2];
            out[3] = (float)(y * down) + job->cell[4 * k + 3];
        }
}

static int32_t grid_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_grid_anchors_attrs *attrs = a->attrs;
    float cell[CVR_ANCHOR_MOST * CVR_ANCHOR_MOST * 4];
    anchors_job job = {.image = a->inputs[0]->shape,
                       .map = a->inputs[1]->shape,
                       .out = a->outputs[0]->data,
                       .cell = cell,
                       .per_cell = attrs->n_sizes * attrs->n_ratios};
    (void)err;
    cvr_cell_anchors(attrs, cell);
    cpu_run(a->pool, job.map[2], grid_task, &job);
    return CVR_OK;
}

static void default_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const anchors_job *job = ctx;
    const int64_t step = ((const cvr_default_boxes_attrs *)job->attrs)->step;
    const float height = (float)job->image[2], width = (float)job->image[3];
    const float y = ((float)task + 0.5f) / cvr_default_cells(step, job->image[2], job->map[2]);
    const float across = cvr_default_cells(step, job->image[3], job->map[3]);
    float *out = job->out + (int64_t)task * job->map[3] * job->per_cell * 4;
    for (int64_t i = 0; i < job->map[3]; i++) {
        const float x = ((float)i + 0.5f) / across;
        for (int64_t k = 0; k < job->per_cell; k++, out += 4) {
            out[0] = (x - 0.5f * job->side[k][0]) * width;
            out[1] = (y - 0.5f * job->side[k][1]) * height;
            out[2] = (x + 0.5f * job->side[k][0]) * width;
            out[3] = (y + 0.5f * job->side[k][1]) * height;
        }
    }
}

static int32_t default_run(const cvr_kernel_args *a, cvr_error *err) {
    float side[CVR_DEFAULT_MOST][2];
    anchors_job job = {.attrs = a->attrs,
                       .image = a->inputs[0]->shape,
                       .map = a->inputs[1]->shape,
                       .out = a->outputs[0]->data,
                       .side = side};
    (void)err;
    job.per_cell = cvr_default_sides(a->attrs, side);
    cpu_run(a->pool, job.map[2], default_task, &job);
    return CVR_OK;
}

/* Only shapes are read, so the elements may be of any type. */
static const cpu_kernel kernels[] = {
    {"grid_anchors", grid_run, NULL, NULL, 0, CPU_KERNEL_FLAGS | CVR_KERNEL_BF16, NULL},
    {"default_boxes", default_run, NULL, NULL, 0, CPU_KERNEL_FLAGS | CVR_KERNEL_BF16, NULL},
};
const cpu_kernel_table cpu_detect_anchors_kernels = {kernels, sizeof kernels / sizeof *kernels};
