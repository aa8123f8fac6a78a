/* Tells every reporter that there is. The first that fails stops the telling: a full disk should be heard of at once.
 */
#include "reporters.h"

int32_t reporters_open(reporters *r, cvr_session *s, const cvr_run_info *info, cvr_error *err) {
    const char *name;
    memset(r, 0, sizeof *r);
    for (size_t i = 0; r->n < 16 && (name = cvr_plugins_name(s->plugins, CVR_KIND_REPORTER, i)); i++) {
        char copy[128];
        const void *desc;
        (void)snprintf(copy, sizeof copy, "%s", name);
        int32_t status = cvr_plugins_find(s->plugins, CVR_KIND_REPORTER, copy, &desc, err);
        if (status != CVR_OK) return status;
        r->desc[r->n] = desc;
        status = r->desc[r->n]->open(info, &r->self[r->n], err);
        if (status != CVR_OK) return status;
        r->n++;
    }
    return CVR_OK;
}

int32_t reporters_step(reporters *r, const cvr_step_event *e, cvr_error *err) {
    for (size_t i = 0; i < r->n; i++) {
        const int32_t status = r->desc[i]->step ? r->desc[i]->step(r->self[i], e, err) : CVR_OK;
        if (status != CVR_OK) return status;
    }
    return CVR_OK;
}

int32_t reporters_epoch(reporters *r, const cvr_epoch_event *e, cvr_error *err) {
    for (size_t i = 0; i < r->n; i++) {
        const int32_t status = r->desc[i]->epoch ? r->desc[i]->epoch(r->self[i], e, err) : CVR_OK;
        if (status != CVR_OK) return status;
    }
    return CVR_OK;
}

int32_t reporters_batch(reporters *r, const cvr_batch_event *e, cvr_error *err) {
    for (size_t i = 0; i < r->n; i++) {
        const int32_t status = r->desc[i]->batch ? r->desc[i]->batch(r->self[i], e, err) : CVR_OK;
        if (status != CVR_OK) return status;
    }
    return CVR_OK;
}

int32_t reporters_flush(reporters *r, cvr_error *err) {
    for (size_t i = 0; i < r->n; i++) {
        const int32_t status = r->desc[i]->flush ? r->desc[i]->flush(r->self[i], err) : CVR_OK;
        if (status != CVR_OK) return status;
    }
    return CVR_OK;
}

int32_t reporters_end(reporters *r, const cvr_end_event *e, cvr_error *err) {
    for (size_t i = 0; i < r->n; i++) {
        const int32_t status = r->desc[i]->end ? r->desc[i]->end(r->self[i], e, err) : CVR_OK;
        if (status != CVR_OK) return status;
    }
    return CVR_OK;
}

void reporters_close(reporters *r) {
    for (size_t i = 0; i < r->n; i++) r->desc[i]->close(r->self[i]);
    r->n = 0;
}
