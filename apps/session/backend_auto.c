/*
 * backend.name = auto. Candidates are the backends that are not there for tests and have a device which is none of
 * software. One is taken as it is; of several the one whose products are fastest, measured in less than a second by the
 * op that exists for that (cvr/plugin/ops/peak.h). The choice is kept, so that a run which goes on makes it again.
 */
#include "session_parts.h"
#include <cvr/peaks.h>
#include <cvr/plugin/words.h>

#define MOST_CANDIDATES 16
#define SECONDS 0.3 /* for all of them together */

typedef struct candidates {
    char names[MOST_CANDIDATES][64];
    size_t n;
    char key[1000]; /* of the choice: the candidates' names */
} candidates;

static bool is_candidate(const cvr_session *s, const cvr_backend_desc *b) {
    cvr_device_info info;
    int64_t device;
    if (b->flags & CVR_BACKEND_TEST) return false;
    if (cvr_backend_find_device(s->plugins, b, s->set.backend->device, &device, NULL) != CVR_OK) return false;
    if (cvr_backend_device_info(s->plugins, b, device, &info, NULL) != CVR_OK) return false;
    return !cvr_has_word(info.features, "software", strlen("software"));
}

/* In byte order of names. */
static int32_t find_candidates(const cvr_session *s, candidates *c, cvr_error *err) {
    const char *name;
    (void)snprintf(c->key, sizeof c->key, "core/backend");
    for (size_t i = 0; c->n < MOST_CANDIDATES && (name = cvr_plugins_name(s->plugins, CVR_KIND_BACKEND, i)); i++) {
        char *own = c->names[c->n];
        const void *desc;
        if (snprintf(own, sizeof c->names[0], "%s", name) >= (int)sizeof c->names[0]) continue;
        const int32_t status = cvr_plugins_find(s->plugins, CVR_KIND_BACKEND, own, &desc, NULL);
        if (status == CVR_ERR_NOMEM) return cvr_fail(err, status, "out of memory");
        if (status != CVR_OK || !is_candidate(s, desc)) continue;
        const size_t n = strlen(c->key);
        (void)snprintf(c->key + n, sizeof c->key - n, "/%s", own);
        c->n++;
    }
    if (c->n) return CVR_OK;
    if (strcmp(s->set.backend->device, "0") != 0)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "backend.name=auto: no backend has a device that backend.device=%.100s may be; `cvrun plugins "
                        "-v` lists all",
                        s->set.backend->device);
    return cvr_fail(err, CVR_ERR_NOTFOUND,
                    "no backend for this machine is installed, or out of memory; set backend.name");
}

/* f32 products a second; 0 where the backend cannot be had, or has no kernel for them. */
static double speed_of(cvr_session *s, const char *name, double seconds) {
    const cvr_device_choice which = {.backend = name, .device = s->set.backend->device};
    cvr_peaks peaks = {0};
    cvr_device *d = NULL;
    if (cvr_device_open(&d, s->plugins, &which, s->pool, NULL) != CVR_OK) return 0;
    const cvr_peak_request r = {s->plugins, d, s->pool, CVR_PEAK_F32, seconds};
    const int32_t status = cvr_measure_peaks(&r, &peaks, NULL);
    cvr_device_close(&d);
    return status == CVR_OK ? peaks.f32 : 0;
}

static size_t find_fastest(cvr_session *s, const candidates *c) {
    double best = 0;
    size_t at = 0;
    for (size_t i = 0; i < c->n; i++) {
        const double speed = speed_of(s, c->names[i], SECONDS / (double)c->n);
        cvr_log(CVR_LOG_INFO, "backend.name=auto: %s makes %.4g GFLOP/s in f32", c->names[i], 1e-9 * speed);
        if (speed > best) at = i;
        if (speed > best) best = speed;
    }
    return at;
}

/* The candidate that was chosen before, or c->n. */
static size_t find_kept(const cvr_session *s, const candidates *c) {
    const char *kept = s->tuning.service.get(&s->tuning.service, c->key);
    size_t i = 0;
    while (i < c->n && (!kept || strcmp(c->names[i], kept) != 0)) i++;
    return i;
}

int32_t backend_auto(cvr_session *s, char *to, size_t size, cvr_error *err) {
    candidates c = {.n = 0};
    CVR_TRY(find_candidates(s, &c, err));
    size_t at = c.n > 1 ? find_kept(s, &c) : 0;
    if (at == c.n) {
        at = find_fastest(s, &c);
        CVR_TRY(s->tuning.service.put(&s->tuning.service, c.key, c.names[at], err));
    }
    (void)snprintf(to, size, "%s", c.names[at]);
    return CVR_OK;
}
