/*
 * sample_rows on the CPU (see <cvr/plugin/ops/detect.h>): the rows with the smallest random numbers are selected rather
 * than sorted, and the two lists, each in rising order of row, are merged. A picture is a task; each worker's workspace
 * holds a key for each row of one picture.
 */
#include "detect_keys.h"

#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/rng.h>

typedef struct sample_job {
    const cvr_kernel_args *a;
    const cvr_sample_rows_attrs *attrs;
    int64_t rows;
    uint64_t key, step;
} sample_job;

/* Keys of the rows with an object in rising order of row from the front, of background in falling order from the end.
 */
typedef struct sample_lists {
    uint64_t *keys;
    int64_t objects, background;
} sample_lists;

static sample_lists list_rows(const sample_job *job, int64_t picture, uint64_t *keys) {
    const int32_t *match = (const int32_t *)job->a->inputs[0]->data + picture * job->rows;
    sample_lists l = {keys, 0, 0};
    uint64_t counter = UINT64_MAX;
    uint32_t words[4] = {0};
    for (int64_t i = 0; i < job->rows; i++) {
        const uint64_t at = (uint64_t)(picture * job->rows + i);
        if (job->attrs->draw == CVR_DRAW_RANDOM && at / 4 != counter)
            cvr_philox(job->key, job->step, counter = at / 4, words);
        const uint64_t key = (uint64_t)words[at % 4] << 32 | (uint64_t)i;
        if (match[i] >= 0)
            keys[l.objects++] = key;
        else if (match[i] == CVR_MATCH_BACKGROUND)
            keys[job->rows - ++l.background] = key;
    }
    return l;
}

static void turn_round(uint64_t *keys, int64_t n) {
    for (int64_t i = 0; i < n / 2; i++) {
        const uint64_t key = keys[i];
        keys[i] = keys[n - 1 - i];
        keys[n - 1 - i] = key;
    }
}

static void sample_task(void *ctx, uint64_t task, uint32_t worker) {
    const sample_job *job = ctx;
    const int64_t picture = (int64_t)task, most = job->attrs->rows;
    const sample_lists l = list_rows(job, picture, (uint64_t *)job->a->workspace + worker * job->rows);
    uint64_t *objects = l.keys, *background = l.keys + job->rows - l.background;
    int32_t *index = (int32_t *)job->a->outputs[0]->data + picture * most;
    int64_t n = 0, o = 0, b = 0;
    turn_round(background, l.background);
    const int64_t taken = cpu_keys_select(objects, l.objects, (int64_t)((double)most * job->attrs->positive_fraction));
    const int64_t rest = cpu_keys_select(background, l.background, most - taken);
    while (o < taken || b < rest) {
        const uint32_t row = o < taken ? (uint32_t)objects[o] : UINT32_MAX;
        const uint32_t other = b < rest ? (uint32_t)background[b] : UINT32_MAX;
        index[n++] = (int32_t)(row < other ? row : other);
        o += row < other;
        b += row > other;
    }
    for (int64_t i = n; i < most; i++) index[i] = n ? index[i - n] : 0;
    ((int32_t *)job->a->outputs[1]->data)[picture] = (int32_t)n;
}

static int32_t sample_run(const cvr_kernel_args *a, cvr_error *err) {
    sample_job job = {.a = a, .attrs = a->attrs, .rows = a->inputs[0]->shape[1]};
    int64_t seed;
    (void)err;
    memcpy(&seed, a->inputs[1]->data, sizeof seed);
    memcpy(&job.step, a->inputs[2]->data, sizeof job.step);
    job.key = cvr_rng_mix((uint64_t)seed, (uint64_t)job.attrs->key);
    cpu_run(a->pool, a->inputs[0]->shape[0], sample_task, &job);
    return CVR_OK;
}

static uint64_t sample_workspace(const cvr_signature *sig) {
    return sig->n_workers * (uint64_t)sig->inputs[0]->shape[1] * sizeof(uint64_t);
}

static const cpu_kernel kernels[] = {
    {"sample_rows", sample_run, sample_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_sample_kernels = {kernels, sizeof kernels / sizeof *kernels};
