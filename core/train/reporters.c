/* Tells every reporter that there is. The first that fails stops the telling: a full disk should be heard of at once.
 */
#include "reporters.h"

static int32_t open_one(reporters *r, cvr_plugins *p, const char *name, const cvr_run_info *info, cvr_error *err) {
    const void *desc;
    open_reporter *more = cvr_grow(r->all, r->n, &r->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    r->all = more;
    CVR_TRY(cvr_plugins_find(p, CVR_KIND_REPORTER, name, &desc, err));
    more[r->n].desc = desc;
    CVR_TRY(more[r->n].desc->open(info, &more[r->n].self, err));
    r->n++;
    return CVR_OK;
}

int32_t reporters_open(reporters *r, cvr_plugins *p, const cvr_run_info *info, cvr_error *err) {
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_REPORTER, i)); i++) {
        char *copy = cvr_strdup(name); /* the answer lasts until the next question */
        const int32_t status = copy ? open_one(r, p, copy, info, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        cvr_free(copy);
        CVR_TRY(status);
    }
    return CVR_OK;
}

/* For each reporter that has the callback. */
#define TELL(callback_, ...)                                                                                           \
    for (size_t i = 0; i < r->n; i++)                                                                                  \
        if (r->all[i].desc->callback_) CVR_TRY(r->all[i].desc->callback_(r->all[i].self, __VA_ARGS__));                \
    return CVR_OK

int32_t reporters_step(const reporters *r, const cvr_step_event *e, cvr_error *err) {
    TELL(step, e, err);
}

int32_t reporters_epoch(const reporters *r, const cvr_epoch_event *e, cvr_error *err) {
    TELL(epoch, e, err);
}

int32_t reporters_batch(const reporters *r, const cvr_batch_event *e, cvr_error *err) {
    TELL(batch, e, err);
}

int32_t reporters_flush(const reporters *r, cvr_error *err) {
    TELL(flush, err);
}

int32_t reporters_end(const reporters *r, const cvr_end_event *e, cvr_error *err) {
    TELL(end, e, err);
}

void reporters_close(reporters *r) {
    for (size_t i = 0; i < r->n; i++) r->all[i].desc->close(r->all[i].self);
    cvr_free(r->all);
    memset(r, 0, sizeof *r);
}
