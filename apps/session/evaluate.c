/* Evaluation over the validation split: the task's metrics, and the losses where there are targets. */
#include "session_parts.h"
#include <math.h>

/* ---- metrics, as many as there are ---- */

/* Room for one more element in the array whose address is given. */
static bool widen(void *address, size_t n, size_t size) {
    void *old, *more = cvr_calloc(n + 1, size);
    if (!more) return false;
    memcpy(&old, address, sizeof old);
    if (n) memcpy(more, old, n * size);
    cvr_free(old);
    memcpy(address, &more, sizeof more);
    return true;
}

int32_t metrics_add(cvr_metrics *m, const char *name, double value) {
    char *copy = cvr_strdup(name);
    if (!copy || !widen(&m->names, m->n, sizeof *m->names) || !widen(&m->values, m->n, sizeof *m->values)) {
        cvr_free(copy);
        return CVR_ERR_NOMEM;
    }
    m->names[m->n] = copy;
    m->values[m->n++] = isnan(value) ? NAN : value; /* whose sign says nothing, and would be printed */
    return CVR_OK;
}

/* One column more, of values that do not exist yet. */
static int32_t add_column(cvr_metrics *m, const char *name) {
    const size_t n = m->n_columns;
    double *cells = cvr_calloc((n + 1) * (size_t)m->n_classes + 1, sizeof *cells);
    char *copy = cvr_strdup(name);
    if (!cells || !copy || !widen(&m->columns, n, sizeof *m->columns)) {
        cvr_free(cells);
        cvr_free(copy);
        return CVR_ERR_NOMEM;
    }
    for (size_t i = 0; i < (size_t)m->n_classes; i++)
        for (size_t k = 0; k <= n; k++) cells[i * (n + 1) + k] = k < n ? m->per_class[i * n + k] : NAN;
    cvr_free(m->per_class);
    m->columns[m->n_columns++] = copy;
    m->per_class = cells;
    return CVR_OK;
}

void cvr_metrics_clear(cvr_metrics *m) {
    for (size_t i = 0; i < m->n; i++) cvr_free((void *)(uintptr_t)m->names[i]);
    for (size_t i = 0; i < m->n_columns; i++) cvr_free((void *)(uintptr_t)m->columns[i]);
    cvr_free(m->names);
    cvr_free(m->values);
    cvr_free(m->columns);
    cvr_free(m->per_class);
    memset(m, 0, sizeof *m);
}

/* What the task tells, one call a number. */
typedef struct collector {
    cvr_metrics *to;
    int32_t status;
    const char *task; /* for errors, as `err` */
    cvr_error *err;
} collector;

/* A name that is there twice would be two columns that nobody can tell apart. */
static bool is_new(const cvr_metrics *m, const char *name) {
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->names[i], name) == 0) return false;
    return true;
}

static int32_t refuse(const collector *c, const char *name, const char *why) {
    return cvr_fail(c->err, CVR_ERR_PLUGIN, "task %s: its metric `%.200s` %s", c->task, name ? name : "", why);
}

static int32_t collected(const collector *c) {
    return c->status == CVR_ERR_NOMEM ? cvr_fail(c->err, CVR_ERR_NOMEM, "out of memory for metrics") : c->status;
}

static void on_metric(void *ctx, const char *name, double value) {
    collector *c = ctx;
    if (c->status != CVR_OK) return;
    c->status = !name                  ? refuse(c, name, "has no name")
                : !is_new(c->to, name) ? refuse(c, name, "is told twice")
                                       : metrics_add(c->to, name, value);
}

static void on_class_metric(void *ctx, int64_t klass, const char *name, double value) {
    collector *c = ctx;
    cvr_metrics *m = c->to;
    size_t k = 0;
    if (c->status != CVR_OK) return;
    if (!name || klass < 0 || klass >= m->n_classes) {
        c->status = refuse(c, name, !name ? "of a class has no name" : "is told of a class that there is not");
        return;
    }
    while (k < m->n_columns && strcmp(m->columns[k], name) != 0) k++;
    if (k == m->n_columns) c->status = add_column(m, name);
    if (c->status == CVR_OK) m->per_class[(size_t)klass * m->n_columns + k] = value;
}

/* ---- the split ---- */

typedef struct loss_sums {
    double total, *each;
    const char *const *names;
    size_t n;
    int64_t samples;
    bool targets, any; /* whether there are targets; and a loss for them */
} loss_sums;

static int32_t add_losses(loss_sums *l, const net_program *p, double loss, int64_t samples, cvr_error *err) {
    if (!l->each) l->each = cvr_calloc(p->n_losses + 1, sizeof *l->each);
    if (!l->each) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    l->any = p->total >= 0;
    l->n = p->n_losses;
    l->names = p->loss_names;
    if (samples == 0) return CVR_OK;
    l->samples += samples;
    l->total += loss * (double)samples;
    for (size_t i = 0; i < l->n; i++) l->each[i] += net_program_loss(p, i) * (double)samples;
    return CVR_OK;
}

/* Whether anything of a picture counts: the task's score of it is a number. */
static int32_t counts(const cvr_session *s, const cvr_batch *b, const cvr_batch_view *outputs, bool *out,
                      cvr_error *err) {
    const cvr_task_desc *task = s->set.task;
    const cvr_task_batch with = {sizeof with, outputs, &b->view};
    double score = 0;
    if (task->scores && b->view.n_fields > 1) CVR_TRY(CVR_CALL(task, scores, NULL, err, &s->data.task, &with, &score));
    *out = !isnan(score);
    return CVR_OK;
}

/* `seen` is what the task gets to see: the batch, or what stands for it where it is looked at in views, which have no
 * loss. */
static int32_t run_batch(cvr_session *s, const evaluate_options *o, loss_sums *l, const cvr_batch *b, cvr_batch *seen,
                         cvr_batch_view *outputs, cvr_error *err) {
    net_program *p;
    double loss;
    *seen = *b;
    l->targets = cvr_batches_have_targets(s->data.splits[CVR_SPLIT_VAL].batches);
    if (o->tile) return evaluate_tiles(s, b, outputs, err);
    if (s->set.protocol.views) return evaluate_views(s, b, seen, outputs, err);
    CVR_TRY(session_eval_step(s, o->teacher ? PROGRAM_TEACHER : PROGRAM_EVAL, b, &p, &loss, err));
    CVR_TRY(net_program_results(p, &b->view, outputs, err));
    /* A mean over nothing is no number, as in PyTorch; where that is one picture, the others' mean goes without it. */
    bool counted = true;
    if (isnan(loss) && b->view.n == 1) CVR_TRY(counts(s, b, outputs, &counted, err));
    return add_losses(l, p, loss, counted ? b->view.n : 0, err);
}

/* Tells of a batch, with the task's word on each of its pictures. */
static int32_t tell(const cvr_session *s, const evaluate_options *o, const cvr_batch *b, const cvr_task_batch *with,
                    cvr_error *err) {
    const cvr_task_desc *task = s->set.task;
    double *scores = NULL;
    int32_t status;
    if (task->scores && task->score_name && with->targets->n_fields > 1) {
        scores = cvr_calloc((size_t)b->view.n + 1, sizeof *scores);
        if (!scores) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        CVR_TRY_OUT(CVR_CALL(task, scores, NULL, err, &s->data.task, with, scores));
    }
    CVR_TRY_OUT(o->on_batch(o->ctx, b, with->outputs, scores, err));
out:
    cvr_free(scores);
    return status;
}

static int32_t evaluate_batch(cvr_session *s, const evaluate_options *o, evaluation *e, loss_sums *l,
                              const cvr_batch *b, cvr_error *err) {
    cvr_batch_view outputs;
    cvr_batch seen;
    CVR_TRY(run_batch(s, o, l, b, &seen, &outputs, err));
    const cvr_task_batch batch = {sizeof batch, &outputs, &seen.view};
    CVR_TRY(CVR_CALL(s->set.task, metrics_update, NULL, err, e->self, &batch));
    if (o->on_batch) CVR_TRY(tell(s, o, &seen, &batch, err));
    if (o->saved) CVR_TRY(saved_batch(o->saved, &s->data.task, &batch, err));
    e->metrics.samples += seen.view.n;
    return CVR_OK;
}

/* "loss", then "loss_NAME" where it has several parts, then what the task counts; nothing where there are no targets.
 */
static int32_t finish(cvr_session *s, evaluation *e, const loss_sums *l, cvr_error *err) {
    const cvr_task_desc *task = s->set.task;
    cvr_metrics *m = &e->metrics;
    collector c = {m, CVR_OK, task->name, err};
    const double n = l->samples ? (double)l->samples : NAN;
    char name[128];
    if (l->any) on_metric(&c, "loss", l->total / n);
    for (size_t i = 0; l->n > 1 && i < l->n; i++) {
        (void)snprintf(name, sizeof name, "loss_%s", l->names[i]);
        on_metric(&c, name, l->each[i] / n);
    }
    m->n_classes = s->data.task.n_classes;
    if (l->targets) CVR_CALL_VOID(task, metrics_result, NULL, e->self, on_metric, &c);
    if (l->targets && task->metrics_per_class)
        CVR_CALL_VOID(task, metrics_per_class, NULL, e->self, on_class_metric, &c);
    if (l->targets && task->metrics_matrix) CVR_CALL_TO(e->matrix, task, metrics_matrix, NULL, e->self);
    if (l->targets && task->metrics_curves) CVR_CALL_TO(e->n_curves, task, metrics_curves, NULL, e->self, &e->curves);
    return collected(&c);
}

static int32_t evaluate_split(cvr_session *s, const evaluate_options *o, evaluation *e, loss_sums *l, cvr_error *err) {
    split *val = &s->data.splits[CVR_SPLIT_VAL];
    const int64_t all = split_samples(val);
    const double start = cvr_now();
    cvr_batch b;
    CVR_TRY(CVR_CALL(s->set.task, metrics_open, NULL, err, &s->data.task, &e->self));
    if (o->tile) {
        CVR_TRY(evaluate_tiles_open(s, o->tile, o->overlap, err));
    } else {
        CVR_TRY(split_begin(val, 0, 0, err));
        if (s->data.untouched) CVR_TRY(cvr_batches_begin(s->data.untouched, 0, 0, err));
    }
    for (;;) {
        const int32_t next = o->tile ? cvr_batches_next(s->data.untouched, &b, err) : split_next(val, &b, err);
        CVR_TRY(data_suggest_skip(&s->set, next, err));
        if (b.view.n == 0) break;
        CVR_TRY(evaluate_batch(s, o, e, l, &b, err));
        if (o->progress) o->progress(o->progress_ctx, e->metrics.samples, all);
    }
    e->metrics.skipped = o->tile ? cvr_batches_skipped(s->data.untouched) : split_skipped(val);
    if (e->metrics.samples == 0)
        return cvr_fail(err, CVR_ERR_FORMAT, "not one of %lld pictures to validate can be used; cvrun check names them",
                        (long long)all);
    CVR_TRY(finish(s, e, l, err));
    e->metrics.seconds = cvr_now() - start;
    return CVR_OK;
}

/* Once a session: a run that diverges says so in every row of its table. */
static void warn_of_losses(cvr_session *s, const loss_sums *l) {
    cvr_text parts = {0};
    if (!l->any || !l->samples || isfinite(l->total) || s->warned_of_losses) return;
    s->warned_of_losses = true;
    for (size_t i = 0; l->n > 1 && i < l->n; i++)
        if (!isfinite(l->each[i])) cvr_text_add(&parts, "%s%s", parts.n ? ", " : " in ", l->names[i]);
    cvr_log(CVR_LOG_WARNING,
            "validation: the loss is %s%s, as what the network says is too large or no number; where this does not "
            "pass, lower optim.lr, or set train.clip_grad_norm",
            isnan(l->total) ? "not a number (nan)" : "infinite", parts.s ? parts.s : "");
    cvr_text_clear(&parts);
}

int32_t evaluation_run(cvr_session *s, const evaluate_options *o, evaluation *out, cvr_error *err) {
    loss_sums losses = {0};
    memset(out, 0, sizeof *out);
    const int32_t status = evaluate_split(s, o, out, &losses, err);
    if (status == CVR_OK) warn_of_losses(s, &losses);
    cvr_free(losses.each);
    return status;
}

void evaluation_end(const cvr_session *s, evaluation *e) {
    if (e->self) CVR_CALL_VOID(s->set.task, metrics_close, NULL, e->self);
    cvr_metrics_clear(&e->metrics);
    memset(e, 0, sizeof *e);
}

int32_t cvr_evaluate(cvr_session *s, const cvr_evaluate_options *how, cvr_metrics *out, cvr_error *err) {
    saved_results saved;
    const evaluate_options o = {.tile = how->tile,
                                .overlap = how->overlap,
                                .progress = how->progress,
                                .progress_ctx = how->ctx,
                                .saved = how->save ? &saved : NULL};
    evaluation e;
    memset(out, 0, sizeof *out);
    if (how->save) CVR_TRY(saved_open(&saved, s->set.task, how->save, err));
    int32_t status = evaluation_run(s, &o, &e, err);
    if (how->save && status == CVR_OK)
        status = saved_commit(&saved, err);
    else if (how->save)
        saved_abandon(&saved);
    *out = e.metrics;
    memset(&e.metrics, 0, sizeof e.metrics);
    evaluation_end(s, &e);
    return status;
}

const char *evaluation_best_metric(const cvr_session *s) {
    return *s->set.val->metric ? s->set.val->metric : s->set.task->best_metric;
}

bool evaluation_lower_is_better(const cvr_session *s) {
    const cvr_task_desc *task = s->set.task;
    const char *best = evaluation_best_metric(s);
    return strncmp(best, "loss", 4) == 0 || (task->lower_is_better && strcmp(best, task->best_metric) == 0);
}

/* The names are those of an evaluation of nothing. A loss by name is known only when the network is built:
 * evaluation_check_loss. */
int32_t evaluation_check_metric(cvr_session *s, const char *name, cvr_error *err) {
    evaluation e = {0};
    const loss_sums none = {.targets = true, .any = !s->set.protocol.views};
    cvr_text known = {0};
    int32_t status;
    bool found = none.any && strncmp(name, "loss_", 5) == 0;
    CVR_TRY_OUT(CVR_CALL(s->set.task, metrics_open, NULL, err, &s->data.task, &e.self));
    CVR_TRY_OUT(finish(s, &e, &none, err));
    for (size_t i = 0; i < e.metrics.n; i++) {
        found = found || strcmp(e.metrics.names[i], name) == 0;
        cvr_text_add(&known, "%s%s", i ? ", " : "", e.metrics.names[i]);
    }
    if (!found && !*s->set.val->metric)
        status = cvr_fail(err, CVR_ERR_PLUGIN, "task %s: its best_metric is `%s`, and it gives %s", s->set.task->name,
                          name, known.s ? known.s : "none");
    else if (!found)
        status = cvr_config_blame(s->set.config, "val", "metric",
                                  cvr_fail(err, CVR_ERR_USAGE, "val.metric = %s: task %s has no such metric; it has %s",
                                           name, s->set.task->name, known.s ? known.s : "none"),
                                  err);
out:
    cvr_text_clear(&known);
    evaluation_end(s, &e);
    return status;
}

int32_t evaluation_check_loss(const cvr_session *s, const char *name, cvr_error *err) {
    const net_program *p = network_first(&s->net, PROGRAM_EVAL);
    if (!p || strncmp(name, "loss_", 5) != 0) return CVR_OK;
    for (size_t i = 0; p->n_losses > 1 && i < p->n_losses; i++)
        if (strcmp(p->loss_names[i], name + 5) == 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "val.metric = %s: this network has no loss of that name; results.csv shows which it "
                    "has",
                    name);
}
