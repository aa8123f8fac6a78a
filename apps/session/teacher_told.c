/* How good the teacher is on the validation data, before the first step: nobody learns more than it knows. */
#include "teacher.h"
#include "trainer.h"

static void tell(const cvr_session *s, const cvr_metrics *m) {
    const char *path = s->set.distill->teacher, *slash = strrchr(path, '/');
    cvr_text t = {0};
    for (size_t i = 0; i < m->n; i++) cvr_text_add(&t, "%s%s %.4f", i ? ", " : "", m->names[i], m->values[i]);
    cvr_log(CVR_LOG_INFO, "teacher %s: %s on the validation data", slash && slash[1] ? slash + 1 : path,
            t.s && t.n ? t.s : "nothing can be measured");
    cvr_text_clear(&t);
}

int32_t tell_teacher(trainer *t, cvr_error *err) {
    cvr_session *s = t->s;
    const evaluate_options o = {.teacher = true, .progress = t->o->on_validate, .progress_ctx = t->o->ctx};
    evaluation e;
    if (!s->teacher || t->state.step > 0 || !s->data.splits[CVR_SPLIT_VAL].batches || s->set.protocol.views)
        return CVR_OK;
    const int32_t status = evaluation_run(s, &o, &e, err);
    if (status == CVR_OK) tell(s, &e.metrics);
    evaluation_end(s, &e);
    return status;
}
