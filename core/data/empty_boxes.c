/*
 * Boxes without width or height, as annotations have them and crops leave them. A detector can do nothing with one: its
 * logarithms are not finite, and torchvision's refuse the whole batch. So no batch has any. They are dropped with their
 * labels and masks at two places: as the data set gave the sample, where the user is told of the file, and after the
 * last transform of the sample, where crops have left them and that is what crops do.
 */
#include "sample.h"

#define MOST_TOLD 5 /* files that are named */

static bool is_boxes(const cvr_field *f) {
    return cvr_field_is(f, CVR_FIELD_BOXES) && f->dtype == CVR_F32 && f->rank == 2 && f->shape[1] == 4;
}

/* Not a number is neither more nor less than anything: it makes a box empty, too. */
static bool is_empty(const float *b) {
    return !(b[2] > b[0] && b[3] > b[1]);
}

static int64_t count_empty(const cvr_field *f) {
    int64_t n = 0;
    for (int64_t i = 0; i < f->shape[0]; i++) n += is_empty((const float *)f->data + 4 * i);
    return n;
}

static int32_t drop(arena_sample *s, const cvr_field *f, cvr_error *err) {
    const int64_t n = f->shape[0];
    uint8_t *keep = s->sample.alloc(&s->sample, (uint64_t)n);
    if (!keep) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the objects of a picture");
    for (int64_t i = 0; i < n; i++) keep[i] = !is_empty((const float *)f->data + 4 * i);
    return s->sample.filter(&s->sample, pipeline_kind(s->pipeline, f->kind)->axis, keep, n, err);
}

int32_t sample_drop_empty_boxes(arena_sample *s, int64_t *dropped, cvr_error *err) {
    *dropped = 0;
    for (uint32_t i = 0; i < s->sample.n_fields; i++) {
        const cvr_field *f = s->sample.fields[i];
        const int64_t n = is_boxes(f) ? count_empty(f) : 0;
        if (n) CVR_TRY(drop(s, f, err));
        *dropped += n;
    }
    return CVR_OK;
}

void sample_tell_empty_boxes(pipeline *p, int64_t index, int64_t n) {
    char name[512] = "";
    if (!p->warned || (atomic_fetch_or(&p->warned[index], 4) & 4)) return;
    const int64_t told = atomic_fetch_add(&p->told_empty, 1);
    if (told > MOST_TOLD) return;
    CVR_CALL_VOID(p->o.dataset, describe, NULL, p->o.self, index, name, sizeof name);
    if (told < MOST_TOLD)
        cvr_log(CVR_LOG_WARNING, "%s: %lld box%s without width or height %s left out", name, (long long)n,
                n == 1 ? "" : "es", n == 1 ? "is" : "are");
    else
        cvr_log(CVR_LOG_WARNING,
                "more pictures have boxes without width or height; they are left out, too, and not named");
}
