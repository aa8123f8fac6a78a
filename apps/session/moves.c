/*
 * What a run in progress is told to do between two steps: to move to another backend, by --swap-to or by `cvrun ctl`,
 * and what else that asks for. A move stands once a step was done there; until then the run can go back, and does the
 * step where it was.
 */
#include "trainer.h"

/* ---- moving ---- */

static int32_t move(trainer *t, const cvr_place *to, cvr_error *err) {
    t->move_begun = cvr_now();
    CVR_TRY(network_move(&t->s->net, to, &t->departed, err));
    t->moved = true;
    return CVR_OK;
}

/* The answer to order i, counted from 1, which has none yet; where memory is out it stays without. */
static void answer(control *c, size_t i, bool obeyed, const char *format, ...) CVR_PRINTF(4, 5);
static void answer(control *c, size_t i, bool obeyed, const char *format, ...) {
    char line[640];
    va_list args;
    if (!i) return;
    va_start(args, format);
    (void)snprintf(line, sizeof line, obeyed ? "+ " : "- ");
    (void)vsnprintf(line + 2, sizeof line - 2, format, args);
    va_end(args);
    c->answers[i - 1] = cvr_strdup(line);
}

static void tell_moved(trainer *t) {
    const double ms = 1e3 * (cvr_now() - t->move_begun);
    char where[NETWORK_WHERE];
    (void)network_where(&t->s->net, where);
    cvr_log(CVR_LOG_INFO, "moved to backend %s after step %lld in %.0f ms, the next step included", where,
            (long long)t->state.step, ms);
    answer(&t->control, t->control.moving, true, "moved to backend %s after step %lld", where,
           (long long)t->state.step);
    t->control.moving = 0;
}

static void tell_not_moved(trainer *t, const char *backend, const cvr_error *why) {
    cvr_log(CVR_LOG_WARNING, "cannot go on on backend %s: %s; the run stays on %s", backend, why->message,
            t->s->net.backend);
    answer(&t->control, t->control.moving, false, "backend %s: %s; the run stays on %s", backend, why->message,
           t->s->net.backend);
    t->control.moving = 0;
}

static void try_move(trainer *t, const cvr_place *to) {
    cvr_error why = CVR_ERROR_INIT;
    if (move(t, to, &why) != CVR_OK) tell_not_moved(t, to->backend, &why);
}

int32_t moves_step(trainer *t, const cvr_batch *b, const net_scalars *at, cvr_error *err) {
    char backend[sizeof t->s->net.backend];
    const int32_t status = session_train_step(t->s, b, at, err);
    if (!t->moved) return status;
    t->moved = false;
    if (status == CVR_OK) {
        network_keep(&t->s->net, &t->departed);
        tell_moved(t);
        return CVR_OK;
    }
    (void)snprintf(backend, sizeof backend, "%s", t->s->net.backend);
    network_return(&t->s->net, &t->departed);
    tell_not_moved(t, backend, err);
    cvr_error_init(err);
    return session_train_step(t->s, b, at, err);
}

/* ---- orders ---- */

static void obey(trainer *t, const char *text) {
    control *c = &t->control;
    control_order o;
    char where[NETWORK_WHERE];
    cvr_error err = CVR_ERROR_INIT;
    const size_t i = ++c->n;
    if (control_parse(text, &o, &err) != CVR_OK) {
        answer(c, i, false, "%s", err.message);
    } else if (o.kind == CONTROL_LR) {
        t->s->set.lr = t->state.lr = o.lr;
        cvr_log(CVR_LOG_INFO, "optim.lr = %g after step %lld", o.lr, (long long)t->state.step);
        answer(c, i, true, "optim.lr = %g after step %lld", o.lr, (long long)t->state.step);
    } else if (o.kind == CONTROL_BACKEND && t->moved) {
        answer(c, i, false, "backend %s: one move at a time", o.place.backend);
    } else if (o.kind == CONTROL_BACKEND && network_is_at(&t->s->net, &o.place)) {
        answer(c, i, true, "the run is on backend %s", network_where(&t->s->net, where));
    } else if (o.kind == CONTROL_BACKEND) {
        c->moving = i;
        try_move(t, &o.place);
    } else {
        *(o.kind == CONTROL_STOP ? &c->stopping : &c->saving) = i;
    }
}

/* Nothing that somebody puts into a run's folder ends the run. */
static void take_orders(trainer *t) {
    char *orders, *save = NULL;
    cvr_error err = CVR_ERROR_INIT;
    if (t->control.deaf) return;
    if (control_take(&t->control.paths, &t->control.id, &orders, &err) != CVR_OK) {
        cvr_log(CVR_LOG_WARNING, "%s: %s", err.file, err.message);
        t->control.deaf = cvr_fs_exists(t->control.paths.ask);
    }
    for (char *line = orders ? strtok_r(orders, "\n", &save) : NULL; line && t->control.n < CVR_CONTROL_MOST;
         line = strtok_r(NULL, "\n", &save))
        obey(t, line);
    cvr_free(orders);
}

/* One that --swap-to names. */
static void swap(trainer *t, const cvr_swap *s) {
    cvr_place to;
    cvr_error why = CVR_ERROR_INIT;
    if (cvr_place_parse(&to, s->backend, &why) == CVR_OK)
        try_move(t, &to);
    else
        tell_not_moved(t, s->backend, &why);
}

void moves_begin_step(trainer *t) {
    for (size_t i = 0; i < t->o->n_swaps && !t->moved; i++)
        if (t->o->swaps[i].step == t->state.step) swap(t, &t->o->swaps[i]);
    take_orders(t);
}

bool moves_stop(const trainer *t) {
    return t->control.stopping || (t->o->stop && *t->o->stop);
}

bool moves_save(const trainer *t) {
    return t->control.n != 0;
}

int32_t moves_answer(trainer *t, cvr_error *err) {
    control *c = &t->control;
    if (!c->n) return CVR_OK;
    answer(c, c->saving, true, "saved after step %lld", (long long)t->state.step);
    answer(c, c->stopping, true, "stopped after step %lld; go on with: cvrun train --resume %s",
           (long long)t->state.step, t->o->folder);
    for (size_t i = 0; i < c->n; i++)
        if (!c->answers[i]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = control_say(&c->paths, c->id, (const char *const *)c->answers, c->n, err);
    for (size_t i = 0; i < c->n; i++) cvr_free(c->answers[i]);
    *c = (control){.paths = c->paths};
    return status;
}

int32_t moves_open(trainer *t, cvr_error *err) {
    CVR_TRY(control_paths_open(&t->control.paths, t->o->folder, err));
    control_clear(&t->control.paths);
    return CVR_OK;
}

void moves_close(trainer *t) {
    control *c = &t->control;
    if (t->moved) network_return(&t->s->net, &t->departed);
    for (size_t i = 0; i < c->n; i++) cvr_free(c->answers[i]);
    control_paths_free(&c->paths);
    *c = (control){0};
}
