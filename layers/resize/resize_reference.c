/* Upsampling as its formulas say it (<cvr/plugin/ops/resize.h>); coordinates in single precision, as PyTorch's are. */
#include "resize_family.h"

static int64_t place(const cvr_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w) {
    return ((n * t->shape[2] + h) * t->shape[3] + w) * t->shape[1] + c;
}

/* Where the four pixels of `small` lie that make (n,c,p,q) of `large`, and their weights. */
static void corners(const cvr_upsample_attrs *a, const cvr_tensor *small, const cvr_tensor *large,
                    const int64_t ncpq[4], int64_t at[4], double weight[4]) {
    const cvr_upsample_source h = cvr_upsample_source_of(a, 0, small->shape[2], large->shape[2], ncpq[2]),
                              w = cvr_upsample_source_of(a, 1, small->shape[3], large->shape[3], ncpq[3]);
    for (int i = 0; i < 4; i++) {
        at[i] = place(small, ncpq[0], ncpq[1], i & 2 ? h.high : h.low, i & 1 ? w.high : w.low);
        weight[i] = (i & 2 ? (double)h.t : 1.0 - (double)h.t) * (i & 1 ? (double)w.t : 1.0 - (double)w.t);
    }
}

/* y = sum of the four weighted pixels; backward: each of the four gets its share of grad. */
static void each_pixel(const cvr_upsample_attrs *a, const cvr_tensor *small, const cvr_tensor *large, int backward) {
    const int64_t *shape = large->shape;
    for (int64_t n = 0; n < shape[0]; n++)
        for (int64_t p = 0; p < shape[2]; p++)
            for (int64_t q = 0; q < shape[3]; q++)
                for (int64_t c = 0; c < shape[1]; c++) {
                    int64_t at[4];
                    double weight[4], sum = 0;
                    float *x = small->data, *y = (float *)large->data + place(large, n, c, p, q);
                    corners(a, small, large, (const int64_t[]){n, c, p, q}, at, weight);
                    for (int i = 0; i < 4; i++) {
                        if (weight[i] == 0) continue;
                        if (backward)
                            x[at[i]] += (float)(weight[i] * (double)*y);
                        else
                            sum += weight[i] * (double)x[at[i]];
                    }
                    if (!backward) *y = (float)sum;
                }
}

int32_t resize_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    each_pixel(a->attrs, a->inputs[0], a->outputs[0], 0);
    return CVR_OK;
}

int32_t resize_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *dx = a->outputs[0];
    (void)err;
    memset(dx->data, 0, (size_t)cvr_numel(4, dx->shape) * sizeof(float));
    each_pixel(a->attrs, dx, a->inputs[0], 1);
    return CVR_OK;
}
