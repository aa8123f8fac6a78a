/*
 * Pictures of like aspect ratios share a batch, so that little of it is padding (GroupedBatchSampler of torchvision's
 * references). There some pictures are repeated at the end of an epoch and others left out; here each comes once: what
 * is left of the groups makes batches of neighbouring groups, and the pictures after the last whole batch stay where
 * they are.
 */
#include "run_data.h"
#include <math.h>
#include <pthread.h>

#define USUAL 3 /* of torchvision's references */
#define MOST 16
#define MOST_GROUPS (2 * MOST + 2)

/* Several batches may be arranged at once, by threads of their own. */
static pthread_mutex_t scratch_lock = PTHREAD_MUTEX_INITIALIZER;

/* Bins are 2^(-1 + i / k), i from 0 to 2k; a picture's is the number of them that height / width reaches. */
static uint8_t group_of(double height, double width, int64_t k) {
    uint8_t group = 0;
    for (int64_t i = 0; i <= 2 * k; i++) group += height / width >= exp2((double)(i - k) / (double)k);
    return group;
}

/* Batches are padded only where pictures may differ in size. */
static int64_t wanted(const settings *s) {
    const bool square = s->data->img_size > 0 && !s->data->img_size_long;
    if (s->data->aspect_groups >= 0) return s->data->aspect_groups;
    return settings_with_boxes(s) && s->task->pads && !square && s->data->shuffle ? USUAL : 0;
}

static int32_t measure(const run_data *d, const settings *s, int64_t i, int64_t k, uint8_t *group, cvr_error *err) {
    const split *train = &d->splits[CVR_SPLIT_TRAIN];
    int64_t count, height = 1, width = 1;
    CVR_CALL_TO(count, train->desc, count, NULL, train->self);
    const int64_t index = (int64_t)((double)i * ((double)count / (double)d->sampler.n)); /* as data.limit takes them */
    const int32_t status = CVR_CALL(train->desc, size, NULL, err, train->self, index, &height, &width);
    const bool bad = status != CVR_OK && s->data->on_error == 1;
    *group = bad || height < 1 || width < 1 ? 0 : group_of((double)height, (double)width, k);
    if (bad && err) cvr_error_init(err);
    return bad ? CVR_OK : status;
}

int32_t aspect_groups_open(run_data *d, const settings *s, cvr_error *err) {
    const split *train = &d->splits[CVR_SPLIT_TRAIN];
    const int64_t k = wanted(s);
    sampler *p = &d->sampler;
    if (k == 0 || p->n < 1 || (!train->desc->size && s->data->aspect_groups < 0)) return CVR_OK;
    if (!train->desc->size || !s->task->pads) {
        cvr_fail(err, CVR_ERR_USAGE, "data.aspect_groups: %s; leave it out",
                 s->task->pads ? "this data does not say how large a picture is before it is decoded"
                               : "this task takes pictures of one size");
        return settings_blame(s, cvr_config_blame(s->config, "data", "aspect_groups", CVR_ERR_USAGE, err), err);
    }
    p->group = cvr_calloc((size_t)p->n, sizeof *p->group);
    p->scratch = cvr_calloc((size_t)p->n, sizeof *p->scratch);
    if (!p->group || !p->scratch) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < p->n; i++) CVR_TRY(measure(d, s, i, k, &p->group[i], err));
    p->n_groups = 2 * k + 2;
    return CVR_OK;
}

/* Group by group in scratch, each in the order in which its pictures come; a batch is put down once it is full. Places
 * that are written were read before. */
static int64_t put_whole_batches(const sampler *p, int64_t n, int64_t batch, int64_t *order, int64_t *first,
                                 int64_t *next) {
    int64_t put[MOST_GROUPS], out = 0;
    memcpy(put, first, (size_t)p->n_groups * sizeof *put);
    for (int64_t i = 0; i < n; i++) {
        const uint8_t g = p->group[order[i]];
        p->scratch[next[g]++] = order[i];
        if (next[g] - put[g] < batch) continue;
        memcpy(order + out, p->scratch + put[g], (size_t)batch * sizeof *order);
        put[g] += batch;
        out += batch;
    }
    memcpy(first, put, (size_t)p->n_groups * sizeof *put);
    return out;
}

void aspect_groups_arrange(const sampler *p, int64_t n, int64_t batch, int64_t *order) {
    const int64_t whole = n - n % batch;
    int64_t first[MOST_GROUPS] = {0}, next[MOST_GROUPS], count[MOST_GROUPS] = {0};
    for (int64_t i = 0; i < whole; i++) count[p->group[order[i]]]++;
    for (int64_t g = 1; g < p->n_groups; g++) first[g] = first[g - 1] + count[g - 1];
    memcpy(next, first, sizeof next);
    pthread_mutex_lock(&scratch_lock);
    int64_t out = put_whole_batches(p, whole, batch, order, first, next);
    for (int64_t g = 0; g < p->n_groups; g++) {
        memcpy(order + out, p->scratch + first[g], (size_t)(next[g] - first[g]) * sizeof *order);
        out += next[g] - first[g];
    }
    pthread_mutex_unlock(&scratch_lock);
}

void aspect_groups_close(sampler *p) {
    cvr_free(p->group);
    cvr_free(p->scratch);
}
