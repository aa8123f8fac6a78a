/*
 * model.unfreeze: what is frozen at first and trained later, `5:backbone.layer4, 8:all`. The run has phases, 0 and one
 * for each epoch that is named, and programs for each of them, all planned before the first step.
 */
#include "run_settings.h"
#include <stdlib.h>

static int32_t misread(const char *text, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_USAGE,
                    "model.unfreeze = %s: write EPOCH:PATTERN with epochs from 1 that rise, up to %d of them, such as "
                    "5:backbone.layer4, 8:all",
                    text, MOST_PHASES);
}

/* One more pattern for an epoch, which is that of the last phase or comes after it. */
static int32_t add_pattern(phases *p, int64_t epoch, const char *pattern, size_t n, cvr_error *err) {
    const bool same = p->n && p->epochs[p->n - 1] == epoch;
    cvr_text t = {0};
    if (same) cvr_text_add(&t, "%s,", p->patterns[p->n - 1]);
    if (n == 3 && memcmp(pattern, "all", 3) == 0)
        cvr_text_add(&t, "*");
    else
        cvr_text_add(&t, "%.*s", (int)n, pattern);
    if (t.failed) {
        cvr_text_clear(&t);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    if (same) cvr_free(p->patterns[--p->n]);
    p->epochs[p->n] = epoch;
    p->patterns[p->n++] = t.s;
    return CVR_OK;
}

int32_t phases_parse(phases *p, const char *text, cvr_error *err) {
    for (const char *at = text + strspn(text, ", \t"); *at; at += strspn(at, ", \t")) {
        char *colon;
        const long long epoch = strtoll(at, &colon, 10);
        const char *pattern = colon + 1;
        if (colon == at || *colon != ':' || epoch < 1 || (p->n && epoch < p->epochs[p->n - 1]))
            return misread(text, err);
        const size_t n = strcspn(pattern, ", \t");
        const bool full = p->n == MOST_PHASES && epoch != p->epochs[p->n - 1];
        if (n == 0 || full) return misread(text, err);
        CVR_TRY(add_pattern(p, epoch, pattern, n, err));
        at = pattern + n;
    }
    return CVR_OK;
}

int32_t phases_of_stages(phases *p, const cvr_compressor_desc *method, const void *attrs, int64_t epochs,
                         cvr_error *err) {
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        uint32_t stage;
        CVR_CALL_TO(stage, method, finetune->stage, NULL, attrs, epoch);
        if (epoch && stage == p->stages[p->n]) continue;
        if (epoch && p->n == MOST_PHASES - 1)
            return cvr_call_blame(method, "finetune->stage", NULL, err, "tells more stages than there can be");
        if (epoch) p->epochs[p->n++] = epoch + 1;
        p->stages[p->n] = stage;
    }
    return CVR_OK;
}

void phases_clear(phases *p) {
    while (p->n) cvr_free(p->patterns[--p->n]);
}

size_t phases_at(const phases *p, int64_t epoch) {
    size_t phase = 0;
    while (phase < p->n && p->epochs[phase] <= epoch + 1) phase++;
    return phase;
}

const char *phases_what(const phases *p, size_t phase) {
    return strcmp(p->patterns[phase], "*") == 0 ? "everything" : p->patterns[phase];
}
