/*
 * Which pictures an epoch has, where it is not each of them once: classes drawn equally often (torch's
 * WeightedRandomSampler with weights 1 / pictures of the class), and pictures repeated in a row, each with random
 * numbers of its own (repeated augmentation: Berman et al., "MultiGrain", 2019; Hoffer et al., "Augment your batch",
 * 2020). And what a class weighs in the loss.
 */
#include "run_data.h"

#include <stdlib.h>

/* Class of the i-th picture that is used. */
static int64_t class_of(const run_data *d, int64_t n, int64_t i) {
    const split *train = &d->splits[CVR_SPLIT_TRAIN];
    int64_t count, label = -1;
    CVR_CALL_TO(count, train->desc, count, NULL, train->self);
    const double step = (double)count / (double)n; /* evenly spread, as data.limit takes them */
    if (train->desc->label) CVR_CALL_TO(label, train->desc, label, NULL, train->self, (int64_t)((double)i * step));
    return label;
}

static int32_t blame(const settings *s, const char *key, cvr_error *err) {
    return settings_blame(s, cvr_config_blame(s->config, "train", key, CVR_ERR_USAGE, err), err);
}

/* Counts pictures by class, and writes where each class begins: first (n_classes + 1). `key` is for the message. */
static int32_t count_classes(run_data *d, const settings *s, const char *key, int64_t *first, cvr_error *err) {
    const int64_t n = d->sampler.n, classes = d->task.n_classes;
    memset(first, 0, (size_t)(classes + 1) * sizeof *first);
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = class_of(d, n, i);
        if (k < 0 || k >= classes) {
            cvr_fail(err, CVR_ERR_USAGE,
                     "train.%s = balanced: data of the format %s does not say the class of a picture%s", key,
                     s->dataset->name,
                     strcmp(key, "class_weights") == 0 ? "; give a number for each class, a,b,c, or leave it out" : "");
            return blame(s, key, err);
        }
        first[k + 1]++;
    }
    for (int64_t k = 0; k < classes; k++) first[k + 1] += first[k];
    return CVR_OK;
}

/* by_class: pictures of class 0, of class 1, ...; by[first[k]] is the first of class k */
static int32_t sort_by_class(run_data *d, const settings *s, cvr_error *err) {
    sampler *p = &d->sampler;
    p->by_class = cvr_calloc((size_t)p->n, sizeof *p->by_class);
    p->first = cvr_calloc((size_t)d->task.n_classes + 1, sizeof *p->first);
    int64_t *next = cvr_calloc((size_t)d->task.n_classes + 1, sizeof *next);
    int32_t status;
    if (!p->by_class || !p->first || !next) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(count_classes(d, s, "sampler", p->first, err));
    memcpy(next, p->first, (size_t)d->task.n_classes * sizeof *next);
    for (int64_t i = 0; i < p->n; i++) p->by_class[next[class_of(d, p->n, i)]++] = i;
    /* Classes without pictures are never drawn: the others move up. */
    for (int64_t k = 0; k < d->task.n_classes; k++)
        if (p->first[k + 1] > p->first[k]) p->first[p->n_classes++] = p->first[k];
    p->first[p->n_classes] = p->n;
out:
    cvr_free(next);
    return status;
}

/* The class first, then one of its pictures: both evenly, with replacement. */
static void draw_balanced(const sampler *p, int64_t epoch, int64_t n, int64_t *order) {
    cvr_rng r;
    cvr_rng_start(&r, cvr_rng_mix(cvr_rng_mix(p->seed, 0x62616c61ull), (uint64_t)epoch), 0);
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = (int64_t)cvr_rng_below(&r, (uint64_t)p->n_classes), at = p->first[k];
        order[i] = p->by_class[at + (int64_t)cvr_rng_below(&r, (uint64_t)(p->first[k + 1] - at))];
    }
}

static void arrange(const void *self, int64_t epoch, int64_t n, int64_t batch, int64_t *order) {
    const sampler *p = self;
    if (p->by_class) draw_balanced(p, epoch, n, order);
    /* From the end, so that nothing is overwritten before it is read. */
    for (int64_t i = n - 1; i >= 0 && p->repeat > 1; i--) order[i] = order[i / p->repeat];
    if (p->n_groups) aspect_groups_arrange(p, n, batch, order);
}

int32_t sampler_open(run_data *d, const settings *s, cvr_error *err) {
    const split *train = &d->splits[CVR_SPLIT_TRAIN];
    const int64_t limit = s->data->limit;
    int64_t count;
    CVR_CALL_TO(count, train->desc, count, NULL, train->self);
    d->sampler = (sampler){
        .seed = (uint64_t)s->run->seed, .repeat = s->train->repeat, .n = limit > 0 && limit < count ? limit : count};
    if (s->train->sampler && !s->data->shuffle) {
        cvr_fail(err, CVR_ERR_USAGE, "train.sampler = balanced draws pictures at random; data.shuffle = no cannot be");
        return blame(s, "sampler", err);
    }
    CVR_TRY(aspect_groups_open(d, s, err));
    return s->train->sampler && d->sampler.n > 0 ? sort_by_class(d, s, err) : CVR_OK;
}

void sampler_options(const run_data *d, const settings *s, cvr_batches_options *o) {
    if (!s->train->sampler && s->train->repeat == 1 && !d->sampler.n_groups) return;
    o->arrange = arrange;
    o->sampler = &d->sampler;
}

void sampler_close(run_data *d) {
    cvr_free(d->sampler.by_class);
    cvr_free(d->sampler.first);
    aspect_groups_close(&d->sampler);
    cvr_free(d->class_weights);
    memset(&d->sampler, 0, sizeof d->sampler);
    d->class_weights = NULL;
}

/* ---- weights of classes ---- */

/* "1,2,0.5" */
static int32_t parse_weights(const char *text, float *out, int64_t n, cvr_error *err) {
    const char *at = text;
    int64_t i = 0;
    double sum = 0;
    for (; i < n; i++) {
        char *end;
        const double w = strtod(at, &end);
        if (end == at || !(w >= 0 && w < 1e30)) break;
        out[i] = (float)w;
        sum += w;
        at = end + strspn(end, " ");
        if (i + 1 < n && *at++ != ',') break;
    }
    return i == n && *at == '\0' && sum > 0 ? CVR_OK
                                            : cvr_fail(err, CVR_ERR_USAGE,
                                                       "train.class_weights = %.60s; give `balanced`, or %lld numbers "
                                                       "from 0 on, one for each class, not all of them 0",
                                                       text, (long long)n);
}

/* pictures / (classes * pictures of the class), as scikit-learn has it; 0 for a class without any */
static int32_t balance_weights(run_data *d, const settings *s, cvr_error *err) {
    const int64_t classes = d->task.n_classes;
    int64_t *first = cvr_calloc((size_t)classes + 1, sizeof *first);
    if (!first) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = count_classes(d, s, "class_weights", first, err);
    for (int64_t k = 0; k < classes && status == CVR_OK; k++) {
        const int64_t n = first[k + 1] - first[k];
        d->class_weights[k] = n ? (float)((double)d->sampler.n / ((double)classes * (double)n)) : 0;
    }
    cvr_free(first);
    return status;
}

int32_t sampler_class_weights(run_data *d, const settings *s, cvr_error *err) {
    const char *text = s->train->class_weights;
    if (!*text) return CVR_OK;
    d->class_weights = cvr_calloc((size_t)d->task.n_classes, sizeof *d->class_weights);
    if (!d->class_weights) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    d->task.class_weights = d->class_weights;
    if (strcmp(text, "balanced") == 0) return balance_weights(d, s, err);
    return parse_weights(text, d->class_weights, d->task.n_classes, err) == CVR_OK ? CVR_OK
                                                                                   : blame(s, "class_weights", err);
}
