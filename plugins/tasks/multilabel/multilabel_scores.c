/*
 * Average precision of each class: sum over the distinct scores, from the highest down, of (R_i - R_(i-1)) * P_i, the
 * precision and recall of what has that score or a higher one; equal scores count at once. That is scikit-learn's
 * average_precision_score, without the interpolation of Pascal VOC.
 */
#include "multilabel_scores.h"
#include <math.h>
#include <stdlib.h>

double multilabel_logit(double p) {
    return log(p) - log1p(-p); /* 0: minus infinity, 1: infinity */
}

static int32_t out_of_memory(const multilabel_scores *s, uint64_t n, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the scores of %llu pictures of %lld classes",
                    (unsigned long long)n, (long long)s->n_classes);
}

void multilabel_scores_close(multilabel_scores *s) {
    const cvr_host *const host = s->host;
    void *const all[] = {s->logits, s->truths, s->order, s->ranked, s->each};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i]) host->free(host, all[i]);
    }
    host->free(host, s);
}

int32_t multilabel_scores_open(const cvr_host *host, int64_t n_classes, double threshold, multilabel_scores **out,
                               cvr_error *err) {
    multilabel_scores *const s = host->alloc(host, sizeof *s, 16);
    if (!s) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *s = (multilabel_scores){.host = host, .n_classes = n_classes, .threshold = (float)multilabel_logit(threshold)};
    s->ranked = host->alloc(host, sizeof *s->ranked, 16);
    s->each = host->alloc(host, (uint64_t)n_classes * sizeof *s->each, 16);
    if (!s->ranked || !s->each) {
        multilabel_scores_close(s);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for %lld classes", (long long)n_classes);
    }
    *s->ranked = UINT64_MAX;
    *out = s;
    return CVR_OK;
}

/* The old bytes in new memory of `size`; NULL, and the old stay, when memory is out. */
static void *larger(const cvr_host *host, void *old, uint64_t used, uint64_t size) {
    void *const more = host->alloc(host, size, 64);
    if (!more || !old) return more;
    memcpy(more, old, used);
    host->free(host, old);
    return more;
}

/* Room for `n` pictures more: half as much again, so that a split is not copied often. */
static int32_t make_room(multilabel_scores *s, uint64_t n, cvr_error *err) {
    const uint64_t classes = (uint64_t)s->n_classes, least = s->n + n;
    if (least <= s->room) return CVR_OK;
    const uint64_t room = least + s->room / 2;
    uint64_t numbers;
    if (__builtin_mul_overflow(room, classes, &numbers) || numbers > UINT64_C(1) << 40)
        return out_of_memory(s, room, err);
    float *const logits = larger(s->host, s->logits, s->n * classes * sizeof *logits, numbers * sizeof *logits);
    if (!logits) return out_of_memory(s, room, err);
    s->logits = logits;
    uint8_t *const truths = larger(s->host, s->truths, s->n * classes, numbers);
    if (!truths) return out_of_memory(s, room, err);
    s->truths = truths;
    uint64_t *const order = larger(s->host, s->order, 0, room * sizeof *order);
    if (!order) return out_of_memory(s, room, err);
    s->order = order;
    s->room = room;
    return CVR_OK;
}

int32_t multilabel_scores_add(multilabel_scores *s, const float *logits, const float *shares, int64_t n,
                              cvr_error *err) {
    const uint64_t numbers = (uint64_t)n * (uint64_t)s->n_classes, at = s->n * (uint64_t)s->n_classes;
    CVR_TRY(make_room(s, (uint64_t)n, err));
    memcpy(s->logits + at, logits, numbers * sizeof *logits);
    for (uint64_t i = 0; i < numbers; i++) s->truths[at + i] = shares[i] > 0.5f;
    s->n += (uint64_t)n;
    return CVR_OK;
}

/*
 * A number that is smaller the higher the logit is, its lowest bit the truth. The bits of a float that is not negative
 * rise with it, those of a negative one fall; what is not a number comes last.
 */
static uint64_t sort_key(float logit, uint8_t truth) {
    uint32_t bits = 0;
    const float plain = logit + 0.0f; /* -0 is 0 */
    if (isnan(logit)) return UINT64_C(0xffffffff) << 1 | truth;
    memcpy(&bits, &plain, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | UINT32_C(0x80000000);
    return (uint64_t)~bits << 1 | truth;
}

static int by_key(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* order: (n) keys, sorted */
static double average_precision(const uint64_t *order, uint64_t n, uint64_t positives) {
    uint64_t right = 0, counted = 0; /* positives so far; those of them up to the last score */
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        right += order[i] & 1;
        if (i + 1 < n && order[i + 1] >> 1 == order[i] >> 1) continue;
        sum += (double)(right - counted) * ((double)right / (double)(i + 1));
        counted = right;
    }
    return positives ? sum / (double)positives : NAN;
}

static multilabel_class rank_class(const multilabel_scores *s, uint64_t k) {
    multilabel_class c = {0, 0, 0, NAN};
    for (uint64_t i = 0; i < s->n; i++) {
        const uint64_t at = i * (uint64_t)s->n_classes + k;
        const uint32_t said = s->logits[at] >= s->threshold;
        s->order[i] = sort_key(s->logits[at], s->truths[at]);
        c.positives += s->truths[at];
        c.predicted += said;
        c.right += said & s->truths[at];
    }
    if (s->n) qsort(s->order, s->n, sizeof *s->order, by_key);
    c.ap = average_precision(s->order, s->n, c.positives);
    return c;
}

const multilabel_class *multilabel_scores_rank(const multilabel_scores *s) {
    if (*s->ranked == s->n) return s->each;
    for (int64_t k = 0; k < s->n_classes; k++) s->each[k] = rank_class(s, (uint64_t)k);
    *s->ranked = s->n;
    return s->each;
}
