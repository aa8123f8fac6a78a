/*
 * Darknet's layers of boxes on the CPU, with the reference's bits (see <cvr/plugin/ops/yolo.h>). x is NHWC, so that
 * the 5 + K numbers of a row lie side by side, and rows one behind the other. yolo_boxes: a task is a block of rows,
 * whose numbers are read and written once. yolo_loss and its gradient: a task is a picture, row by row and within it
 * object by object (match), then row by row and within it class by class; its three sums go to the workspace, (N, 3) in
 * double, and are added in the order of the pictures.
 */
#include "cpu_loops.h"

#include <cvr/plugin/ops/yolo_math.h>

typedef struct yolo_job {
    const cvr_kernel_args *a;
    cvr_yolo_map map;
    int64_t rows, block; /* of all pictures; of a task */
    double *sums;        /* (N, 3) */
    double factor[3];
} yolo_job;

static void boxes_task(void *ctx, uint64_t task, uint32_t worker) {
    const yolo_job *j = ctx;
    const cvr_yolo_map *m = &j->map;
    const cvr_yolo_attrs *attrs = j->a->attrs;
    float *box = j->a->outputs[0]->data, *score = j->a->outputs[1]->data;
    const int64_t first = (int64_t)task * j->block, end = cpu_min(first + j->block, j->rows);
    (void)worker;
    for (int64_t i = first; i < end; i++) {
        cvr_yolo_box(m, i % m->rows, m->x + i * m->columns, &attrs->anchors[2 * (i % m->each)], box + 4 * i);
        cvr_yolo_scores(m, m->x + i * m->columns, attrs->softmax, score + i * (m->columns - 5));
    }
}

static int32_t boxes_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_yolo_attrs *attrs = a->attrs;
    yolo_job j = {.a = a};
    (void)err;
    j.map = cvr_yolo_map_of(a->inputs[0], attrs->size, attrs->n_anchors / 2, attrs->scale_x_y, attrs->new_coords);
    j.rows = a->inputs[0]->shape[0] * j.map.rows;
    j.block = cpu_max(CPU_SPAN / j.map.columns, 1);
    cpu_run(a->pool, cpu_ceil_div(j.rows, j.block), boxes_task, &j);
    return CVR_OK;
}

static void loss_task(void *ctx, uint64_t task, uint32_t worker) {
    const yolo_job *j = ctx;
    const int64_t n = (int64_t)task;
    const cvr_yolo_objects o = cvr_yolo_objects_of(j->a, n);
    const float *x = j->map.x + n * j->map.rows * j->map.columns;
    int32_t *match = (int32_t *)j->a->outputs[3]->data + n * j->map.rows;
    (void)worker;
    cvr_yolo_match(j->a->attrs, &j->map, x, &o, match);
    cvr_yolo_losses(j->a->attrs, &j->map, x, &o, match, j->sums + 3 * n);
}

static int32_t loss_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->inputs[0]->shape[0];
    yolo_job j = {.a = a, .map = cvr_yolo_loss_map(a), .sums = a->workspace};
    double sum[3] = {0, 0, 0};
    CVR_TRY(cvr_yolo_check("yolo_loss", a, &j.map, err));
    cpu_run(a->pool, pictures, loss_task, &j);
    for (int64_t i = 0; i < 3 * pictures; i++) sum[i % 3] += j.sums[i];
    for (int i = 0; i < 3; i++) *(float *)a->outputs[i]->data = (float)(sum[i] / (double)pictures);
    return CVR_OK;
}

static void backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const yolo_job *j = ctx;
    const cvr_kernel_args *a = j->a;
    const int64_t n = (int64_t)task, at = n * j->map.rows * j->map.columns;
    const cvr_yolo_objects o = cvr_yolo_objects_of(a, n);
    (void)worker;
    cvr_yolo_gradient(a->attrs, &j->map, j->map.x + at, &o, (const int32_t *)a->inputs[4]->data + n * j->map.rows,
                      j->factor, (float *)a->outputs[0]->data + at);
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->inputs[0]->shape[0];
    yolo_job j = {.a = a, .map = cvr_yolo_loss_map(a)};
    CVR_TRY(cvr_yolo_check("yolo_loss_backward", a, &j.map, err));
    CVR_TRY(cvr_detect_check_matches("yolo_loss_backward", a->inputs[4], a->inputs[1]->shape[1], err));
    for (uint32_t i = 0; i < 3; i++) j.factor[i] = cpu_floats(a, 5 + i) ? *cpu_floats(a, 5 + i) / (double)pictures : 0;
    cpu_run(a->pool, pictures, backward_task, &j);
    return CVR_OK;
}

static uint64_t sums_workspace(const cvr_signature *sig) {
    return (uint64_t)sig->inputs[0]->shape[0] * 3 * sizeof(double);
}

static const cpu_kernel kernels[] = {
    {"yolo_boxes", boxes_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"yolo_loss", loss_run, sums_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"yolo_loss_backward", backward_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_yolo_kernels = {kernels, sizeof kernels / sizeof *kernels};
