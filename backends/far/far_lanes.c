/*
 * Two lanes in which nothing is done before somebody waits for it, so that what relies on more than its tickets sees
 * old bytes. Copies run on a thread of their own; launches run on the thread that waits, which has the host's pool.
 */
#include "far_device.h"

/* ---- the thread that copies ---- */

static void *copier_main(void *of) {
    far_copier *c = (far_copier *)of;
    pthread_mutex_lock(&c->lock);
    while (!c->ends) {
        if (c->job) {
            memcpy(c->job->to, c->job->from, c->job->bytes);
            c->job = NULL;
            pthread_cond_broadcast(&c->changed);
        }
        if (!c->ends && !c->job) pthread_cond_wait(&c->changed, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void copy_there(far_copier *c, const far_work *w) {
    pthread_mutex_lock(&c->lock);
    c->job = w;
    pthread_cond_broadcast(&c->changed);
    while (c->job) pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

int32_t far_lanes_open(far_device *d, cvr_error *err) {
    far_copier *c = &d->copier;
    for (uint32_t i = 0; i < FAR_LANES; i++) {
        d->lanes[i].issued = d->lanes[i].done = i;
        cvr_error_init(&d->lanes[i].why);
    }
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->runs = pthread_create(&c->thread, NULL, copier_main, c) == 0;
    return c->runs ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "far: no thread for its copies");
}

void far_lanes_close(far_device *d) {
    far_copier *c = &d->copier;
    pthread_mutex_lock(&c->lock);
    c->ends = 1;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (c->runs) pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    for (uint32_t i = 0; i < FAR_LANES; i++) d->host->free(d->host, d->lanes[i].work);
}

/* ---- lanes ---- */

int32_t far_issue(far_device *d, uint32_t lane, const far_work *w, uint64_t *ticket, cvr_error *err) {
    far_lane *l = &d->lanes[lane];
    if (w->after && (w->after % FAR_LANES == lane || w->after > d->lanes[w->after % FAR_LANES].issued))
        return cvr_fail(err, CVR_ERR_INVALID, "far: `after` is %llu, no ticket of the other lane",
                        (unsigned long long)w->after);
    far_work *more = (far_work *)host_grow(d->host, l->work, l->n, &l->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    l->work = more;
    more[l->n++] = *w;
    *ticket = l->issued += FAR_LANES;
    return CVR_OK;
}

static int32_t run_until(far_device *d, uint64_t ticket);

/* What fails takes with it all that is in its lane by now. */
static void fail_lane(far_lane *l, const cvr_error *why) {
    l->failed_first = l->done + FAR_LANES;
    l->failed_last = l->done = l->issued;
    l->why = *why;
    l->n = 0;
}

void far_lanes_drop(far_device *d, const cvr_error *why) {
    for (uint32_t i = 0; i < FAR_LANES; i++)
        if (d->lanes[i].n) fail_lane(&d->lanes[i], why);
}

static void run_next(far_device *d, far_lane *l) {
    cvr_error why = CVR_ERROR_INIT;
    const far_work w = l->work[0];
    int32_t status = w.after ? run_until(d, w.after) : CVR_OK;
    if (status != CVR_OK) {
        fail_lane(l, &d->lanes[w.after % FAR_LANES].why);
        return;
    }
    if (w.recording)
        status = far_run(w.recording, &why);
    else
        copy_there(&d->copier, &w);
    if (status != CVR_OK) {
        if (!why.code) why.code = status;
        fail_lane(l, &why);
        return;
    }
    memmove(l->work, l->work + 1, --l->n * sizeof *l->work);
    l->done += FAR_LANES;
}

/* The status of that ticket. */
static int32_t run_until(far_device *d, uint64_t ticket) {
    far_lane *l = &d->lanes[ticket % FAR_LANES];
    while (l->done < ticket) run_next(d, l);
    return ticket >= l->failed_first && ticket <= l->failed_last ? l->why.code : CVR_OK;
}

int32_t far_wait(far_device *d, uint64_t ticket, cvr_error *err) {
    const far_lane *l = &d->lanes[ticket % FAR_LANES];
    if (ticket > l->issued)
        return cvr_fail(err, CVR_ERR_INVALID, "far: nobody has been given the ticket %llu", (unsigned long long)ticket);
    const int32_t status = run_until(d, ticket);
    if (status != CVR_OK && err) *err = l->why;
    return status;
}
