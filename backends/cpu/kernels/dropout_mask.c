/* Dropout on the CPU (see <cvr/plugin/ops/dropout.h>): LANES counters of Philox side by side. */
#include "cpu_loops.h"

#include <cvr/plugin/ops/dropout.h>

#define LANES 16 /* counters at once: four elements each */

typedef struct dropout_job {
    const float *x;
    float *y;
    int64_t n;
    uint64_t key, step, threshold;
    float scale;
} dropout_job;

/* The words of cvr_philox(key, step, counter + k) for k < LANES, four arrays of LANES. */
static void philox_lanes(uint64_t key, uint64_t step, uint64_t counter, uint32_t c[4][LANES]) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (uint64_t k = 0; k < LANES; k++) {
        c[0][k] = (uint32_t)(counter + k);
        c[1][k] = (uint32_t)((counter + k) >> 32);
        c[2][k] = (uint32_t)step;
        c[3][k] = (uint32_t)(step >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (int k = 0; k < LANES; k++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * c[0][k], p1 = (uint64_t)0xCD9E8D57u * c[2][k];
            const uint32_t d0 = (uint32_t)(p1 >> 32) ^ c[1][k] ^ k0, d2 = (uint32_t)(p0 >> 32) ^ c[3][k] ^ k1;
            c[0][k] = d0;
            c[1][k] = (uint32_t)p1;
            c[2][k] = d2;
            c[3][k] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static void dropout_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const dropout_job *job = ctx;
    const int64_t first = (int64_t)task * CPU_SPAN, end = cpu_min(first + CPU_SPAN, job->n);
    for (int64_t i = first; i < end; i += 4 * LANES) {
        uint32_t words[4][LANES];
        float factor[4 * LANES];
        const int64_t n = cpu_min(4 * LANES, end - i);
        philox_lanes(job->key, job->step, (uint64_t)i / 4, words);
        for (int64_t k = 0; k < LANES; k++)
            for (int w = 0; w < 4; w++) factor[4 * k + w] = words[w][k] < job->threshold ? 0 : job->scale;
        const float *x = job->x + i;
        float *y = job->y + i;
        CPU_INDEPENDENT
        for (int64_t k = 0; k < n; k++) {
            const float kept = x[k] * factor[k];
            y[k] = factor[k] == 0 ? 0 : kept;
        }
    }
}

static int32_t dropout_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_dropout_attrs *attrs = a->attrs;
    int64_t seed;
    dropout_job job = {.x = a->inputs[0]->data, .y = a->outputs[0]->data, .n = cpu_numel(a->inputs[0])};
    memcpy(&seed, a->inputs[1]->data, sizeof seed);
    memcpy(&job.step, a->inputs[2]->data, sizeof job.step);
    job.key = cvr_rng_mix((uint64_t)seed, (uint64_t)attrs->key);
    job.threshold = (uint64_t)(attrs->p * 4294967296.0);
    job.scale = attrs->p < 1 ? (float)(1 / (1 - attrs->p)) : 0;
    cpu_run(a->pool, cpu_spans(job.n), dropout_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"dropout", dropout_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, 1},
};
const cpu_kernel_table cpu_dropout_kernels = {kernels, sizeof kernels / sizeof *kernels};
