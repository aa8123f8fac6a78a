/* Dropout on the CPU (see <cvr/plugin/ops/dropout.h>): LANES counters of Philox side by side. */
#include "cpu_rows.h"

#include <cvr/plugin/ops/dropout.h>

#define LANES 128 /* counters at once: four elements each */

typedef struct dropout_job {
    const void *x;
    void *y;
    int64_t n;
    int bf16;
    uint64_t key, step, threshold;
    float scale;
} dropout_job;

/* Words 0 to 3 of LANES counters. */
typedef struct philox_words {
    uint32_t c[4][LANES];
} philox_words;

/* One round of all lanes. */
static void philox_round(uint32_t *restrict c0, uint32_t *restrict c1, uint32_t *restrict c2, uint32_t *restrict c3,
                         uint32_t k0, uint32_t k1) {
    for (int k = 0; k < LANES; k++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0[k], p1 = (uint64_t)0xCD9E8D57u * c2[k];
        const uint32_t d0 = (uint32_t)(p1 >> 32) ^ c1[k] ^ k0, d2 = (uint32_t)(p0 >> 32) ^ c3[k] ^ k1;
        c0[k] = d0;
        c1[k] = (uint32_t)p1;
        c2[k] = d2;
        c3[k] = (uint32_t)p0;
    }
}

/* The words of cvr_philox(key, step, counter + k) for k < LANES. */
static void philox_lanes(uint64_t key, uint64_t step, uint64_t counter, philox_words *w) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (uint64_t k = 0; k < LANES; k++) {
        w->c[0][k] = (uint32_t)(counter + k);
        w->c[1][k] = (uint32_t)((counter + k) >> 32);
        w->c[2][k] = (uint32_t)step;
        w->c[3][k] = (uint32_t)(step >> 32);
    }
    for (int round = 0; round < 10; round++) {
        philox_round(w->c[0], w->c[1], w->c[2], w->c[3], k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* 0 or the scale, for 4 * LANES elements. `threshold` < 2^32. */
static void factors(const philox_words *w, uint32_t threshold, float scale, float *restrict factor) {
    for (int64_t k = 0; k < LANES; k++) {
        factor[4 * k] = w->c[0][k] < threshold ? 0 : scale;
        factor[4 * k + 1] = w->c[1][k] < threshold ? 0 : scale;
        factor[4 * k + 2] = w->c[2][k] < threshold ? 0 : scale;
        factor[4 * k + 3] = w->c[3][k] < threshold ? 0 : scale;
    }
}

static void dropout_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const dropout_job *job = ctx;
    const int64_t first = (int64_t)task * CPU_SPAN, end = cpu_min(first + CPU_SPAN, job->n);
    if (job->threshold > UINT32_MAX) { /* p = 1 */
        const size_t size = job->bf16 ? sizeof(uint16_t) : sizeof(float);
        memset((char *)job->y + (size_t)first * size, 0, (size_t)(end - first) * size);
        return;
    }
    for (int64_t i = first; i < end; i += 4 * LANES) {
        philox_words words;
        float factor[4 * LANES], buffers[2][4 * LANES];
        const int64_t n = cpu_min(4 * LANES, end - i);
        const float *x = cpu_row_read(job->x, job->bf16, i, n, buffers[0]);
        float *y = cpu_row_space(job->y, job->bf16, i, buffers[1]);
        philox_lanes(job->key, job->step, (uint64_t)i / 4, &words);
        factors(&words, (uint32_t)job->threshold, job->scale, factor);
        CPU_INDEPENDENT
        for (int64_t k = 0; k < n; k++) {
            const float kept = x[k] * factor[k];
            y[k] = factor[k] == 0 ? 0 : kept;
        }
        cpu_row_store(job->y, job->bf16, i, n, y);
    }
}

static int32_t dropout_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_dropout_attrs *attrs = a->attrs;
    int64_t seed;
    dropout_job job = {.x = a->inputs[0]->data, .y = a->outputs[0]->data, .n = cpu_numel(a->inputs[0])};
    job.bf16 = a->inputs[0]->dtype == CVR_BF16;
    memcpy(&seed, a->inputs[1]->data, sizeof seed);
    memcpy(&job.step, a->inputs[2]->data, sizeof job.step);
    job.key = cvr_rng_mix((uint64_t)seed, (uint64_t)attrs->key);
    job.threshold = (uint64_t)(attrs->p * 4294967296.0);
    job.scale = attrs->p < 1 ? (float)(1 / (1 - attrs->p)) : 0;
    cpu_run(a->pool, cpu_spans(job.n), dropout_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"dropout", dropout_run, NULL, NULL, 1, CPU_KERNEL_FLAGS | CVR_KERNEL_BF16, NULL},
};
const cpu_kernel_table cpu_dropout_kernels = {kernels, sizeof kernels / sizeof *kernels};
