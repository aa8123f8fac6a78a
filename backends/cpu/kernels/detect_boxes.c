/*
 * The coders of boxes, clipping and IoU on the CPU (see <cvr/plugin/ops/detect.h>). All rows of all pictures lie one
 * behind the other, four numbers a box, and a task is a span of them: row by row, then box by box of a row; for IoU the
 * boxes of the second list are the inner loop, which write a row of the result. No workspace.
 */
#include "detect_keys.h"

#include <cvr/plugin/ops/detect_math.h>

#define SPAN 1024 /* rows */

typedef struct boxes_job {
    const cvr_kernel_args *a;
    int64_t rows, columns; /* of a picture; numbers of a row */
    int64_t total;         /* rows of all pictures */
} boxes_job;

static boxes_job boxes_open(const cvr_kernel_args *a) {
    const int64_t *shape = a->outputs[0]->shape;
    return (boxes_job){a, shape[1], shape[2], shape[0] * shape[1]};
}

static void boxes_run(const boxes_job *job, cvr_task_fn task) {
    boxes_job copy = *job;
    cpu_run(job->a->pool, cpu_ceil_div(job->total, SPAN), task, &copy);
}

static const float *anchor_of(const boxes_job *job, int64_t i) {
    return detect_picture(job->a->inputs[1], i / job->rows) + 4 * (i % job->rows);
}

static void encode_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const boxes_job *job = ctx;
    const float *boxes = job->a->inputs[0]->data;
    const int64_t first = (int64_t)task * SPAN, end = cpu_min(first + SPAN, job->total);
    for (int64_t i = first; i < end; i++)
        cvr_box_encode(job->a->attrs, boxes + 4 * i, anchor_of(job, i), (float *)job->a->outputs[0]->data + 4 * i);
}

static void decode_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const boxes_job *job = ctx;
    const float *deltas = job->a->inputs[0]->data;
    float *boxes = job->a->outputs[0]->data;
    const int64_t first = (int64_t)task * SPAN, end = cpu_min(first + SPAN, job->total);
    for (int64_t i = first; i < end; i++) {
        const float *anchor = anchor_of(job, i);
        for (int64_t k = i * job->columns; k < (i + 1) * job->columns; k += 4)
            cvr_box_decode(job->a->attrs, deltas + k, anchor, boxes + k);
    }
}

static void decode_backward_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const boxes_job *job = ctx;
    const float *deltas = job->a->inputs[0]->data, *grad = job->a->inputs[2]->data;
    float *ddeltas = job->a->outputs[0]->data;
    const int64_t first = (int64_t)task * SPAN, end = cpu_min(first + SPAN, job->total);
    for (int64_t i = first; i < end; i++) {
        const float *anchor = anchor_of(job, i);
        for (int64_t k = i * job->columns; k < (i + 1) * job->columns; k += 4)
            cvr_box_decode_backward(job->a->attrs, deltas + k, anchor, grad + k, ddeltas + k);
    }
}

/* min(max(x, 0), side); NaN stays. */
static void clip_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const boxes_job *job = ctx;
    const float *from = job->a->inputs[0]->data, *size = job->a->inputs[1]->data;
    float *to = job->a->outputs[0]->data;
    const int64_t first = (int64_t)task * SPAN, end = cpu_min(first + SPAN, job->total);
    for (int64_t i = first; i < end; i++) {
        const float *side = size + 2 * (i / job->rows);
        for (int64_t k = i * job->columns; k < (i + 1) * job->columns; k++) {
            const float x = from[k] < 0 ? 0 : from[k], most = side[k % 2 == 0];
            to[k] = x > most ? most : x;
        }
    }
}

static void iou_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const boxes_job *job = ctx;
    const int64_t *counts = detect_optional(job->a, 2);
    const int64_t first = (int64_t)task * SPAN, end = cpu_min(first + SPAN, job->total);
    for (int64_t i = first; i < end; i++) {
        const int64_t n = i / job->rows, count = counts ? counts[n] : job->columns;
        const float *p = detect_picture(job->a->inputs[0], n) + 4 * (i % job->rows), area = cvr_box_area(p);
        const float *q = detect_picture(job->a->inputs[1], n);
        float *out = (float *)job->a->outputs[0]->data + i * job->columns;
        for (int64_t k = 0; k < job->columns; k++, q += 4)
            out[k] = k < count ? cvr_box_iou(p, area, q, cvr_box_area(q)) : 0;
    }
}

static int32_t encode_run(const cvr_kernel_args *a, cvr_error *err) {
    const boxes_job job = boxes_open(a);
    (void)err;
    boxes_run(&job, encode_task);
    return CVR_OK;
}

static int32_t decode_run(const cvr_kernel_args *a, cvr_error *err) {
    const boxes_job job = boxes_open(a);
    (void)err;
    boxes_run(&job, decode_task);
    return CVR_OK;
}

static int32_t decode_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const boxes_job job = boxes_open(a);
    (void)err;
    boxes_run(&job, decode_backward_task);
    return CVR_OK;
}

static int32_t clip_run(const cvr_kernel_args *a, cvr_error *err) {
    const boxes_job job = boxes_open(a);
    (void)err;
    boxes_run(&job, clip_task);
    return CVR_OK;
}

static int32_t iou_run(const cvr_kernel_args *a, cvr_error *err) {
    const boxes_job job = boxes_open(a);
    const int64_t *counts = detect_optional(a, 2);
    for (int64_t n = 0; counts && n < a->outputs[0]->shape[0]; n++)
        CVR_TRY(detect_check_count("box_iou", n, counts[n], job.columns, err));
    boxes_run(&job, iou_task);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"encode_boxes", encode_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"decode_boxes", decode_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"decode_boxes_backward", decode_backward_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"clip_boxes", clip_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
    {"box_iou", iou_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_boxes_kernels = {kernels, sizeof kernels / sizeof *kernels};
