/* upsample_int8: a row of the output a task, channels innermost. */
#include "int8.h"

typedef struct resizing {
    const cvr_upsample_attrs *attrs;
    const cvr_tensor *x, *y;
} resizing;

static void between(const uint8_t *const x[4], int32_t down, int32_t right, uint8_t *y, int64_t channels) {
    CPU_INDEPENDENT
    for (int64_t c = 0; c < channels; c++) {
        const uint8_t four[4] = {x[0][c], x[1][c], x[2][c], x[3][c]};
        y[c] = cvr_upsample_int8_one(four, down, right);
    }
}

static void resize_row(void *ctx, uint64_t task, uint32_t worker) {
    const resizing *r = ctx;
    const int64_t rows = r->y->shape[2], columns = r->y->shape[3], channels = r->x->shape[1], height = r->x->shape[2],
                  width = r->x->shape[3], n = (int64_t)task / rows;
    const cvr_upsample_source h = cvr_upsample_source_of(r->attrs, 0, height, rows, (int64_t)task % rows);
    const uint8_t *picture = (const uint8_t *)r->x->data + n * height * width * channels,
                  *upper = picture + h.low * width * channels, *lower = picture + h.high * width * channels;
    uint8_t *y = (uint8_t *)r->y->data + (int64_t)task * columns * channels;
    const int32_t down = cvr_upsample_int8_share(h.t);
    (void)worker;
    for (int64_t q = 0; q < columns; q++, y += channels) {
        const cvr_upsample_source w = cvr_upsample_source_of(r->attrs, 1, width, columns, q);
        const int32_t right = cvr_upsample_int8_share(w.t);
        const int64_t low = w.low * channels, high = w.high * channels;
        if (down == 0 && right == 0)
            memcpy(y, upper + low, (size_t)channels);
        else
            between((const uint8_t *const[4]){upper + low, upper + high, lower + low, lower + high}, down, right, y,
                    channels);
    }
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    resizing r = {&((const cvr_upsample_int8_attrs *)a->attrs)->upsample, a->inputs[0], a->outputs[0]};
    (void)err;
    cpu_run(a->pool, r.y->shape[0] * r.y->shape[2], resize_row, &r);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"upsample_int8", run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_int8_resize_kernels = {kernels, sizeof kernels / sizeof *kernels};
