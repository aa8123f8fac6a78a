/*
 * How long each launch of a recording takes, on the device's clock, for bench and traces: events between the launches,
 * which a graph could not have. See cuda_recording.h.
 */
#include "cuda_recording.h"

static int32_t make_stamps(cuda_recording *r, cvr_error *err) {
    cuda_device *d = r->d;
    const uint64_t n = r->n_launches + 1;
    if (r->stamps) return CVR_OK;
    CUevent *stamps = (CUevent *)d->host->alloc(d->host, n * sizeof *stamps, 16);
    if (!stamps) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(stamps, 0, n * sizeof *stamps);
    r->stamps = stamps; /* cuda_times_discard destroys those that there are */
    for (uint64_t i = 0; i < n; i++)
        CVR_TRY(cuda_result(d, d->cu->EventCreate(&stamps[i], CU_EVENT_DEFAULT), "cuEventCreate", err));
    return CVR_OK;
}

void cuda_times_discard(cuda_recording *r) {
    if (!r->stamps) return;
    for (uint64_t i = 0; i <= r->n_launches; i++)
        if (r->stamps[i]) (void)r->d->cu->EventDestroy(r->stamps[i]);
    r->d->host->free(r->d->host, r->stamps);
    r->stamps = NULL;
}

static int32_t stamp(const cuda_recording *r, uint64_t i, cvr_error *err) {
    return cuda_result(r->d, r->d->cu->EventRecord(r->stamps[i], r->d->lanes[CUDA_MAIN].stream), "cuEventRecord", err);
}

static int32_t issue_stamped(const cuda_recording *r, cvr_error *err) {
    uint64_t next = 0;
    for (uint64_t i = 0; i < r->n_launches; i++) {
        CVR_TRY(stamp(r, i, err));
        for (; next < r->n && r->commands[next].launch == i; next++)
            CVR_TRY(cuda_issue(r, &r->commands[next], r->d->lanes[CUDA_MAIN].stream, err));
    }
    return stamp(r, r->n_launches, err);
}

/* Seconds between two events. The driver gives milliseconds as a float, so only events that are near each other are
 * compared. */
static int32_t between(cuda_device *d, CUevent from, CUevent to, double *out, cvr_error *err) {
    float ms = 0;
    CVR_TRY(cuda_result(d, d->cu->EventElapsedTime(&ms, from, to), "cuEventElapsedTime", err));
    *out = 1e-3 * (double)ms;
    return CVR_OK;
}

/* When the first stamp was, on a clock that goes on from replay to replay; the last one is kept to go on from. */
static int32_t read_clock(cuda_recording *r, double *begin, cvr_error *err) {
    cuda_device *d = r->d;
    double since = 0, lasted = 0;
    if (d->clock) CVR_TRY(between(d, d->clock, r->stamps[0], &since, err));
    CVR_TRY(between(d, r->stamps[0], r->stamps[r->n_launches], &lasted, err));
    *begin = d->clock_seconds + since;
    d->clock_seconds = *begin + lasted;
    return CVR_OK;
}

static int32_t tell_times(cuda_recording *r, cvr_error *err) {
    double begin;
    CVR_TRY(read_clock(r, &begin, err));
    for (uint64_t i = 0, c = 0; i < r->n_launches; i++) {
        double took;
        CVR_TRY(between(r->d, r->stamps[i], r->stamps[i + 1], &took, err));
        const int32_t runs = c < r->n && r->commands[c].launch == i;
        if (runs) r->profiler->spent(r->profiler, r->id, r->launches[i]->index, begin, begin + took);
        while (c < r->n && r->commands[c].launch == i) c++;
        begin += took;
    }
    const CUevent last = r->stamps[r->n_launches];
    r->stamps[r->n_launches] = r->d->clock;
    r->d->clock = last;
    if (r->stamps[r->n_launches]) return CVR_OK;
    return cuda_result(r->d, r->d->cu->EventCreate(&r->stamps[r->n_launches], CU_EVENT_DEFAULT), "cuEventCreate", err);
}

int32_t cuda_replay_timed(cuda_recording *r, uint64_t after, uint64_t *ticket, cvr_error *err) {
    cuda_device *d = r->d;
    CVR_TRY(make_stamps(r, err));
    CVR_TRY(cuda_lane_begin(d, CUDA_MAIN, cuda_nodes(r), after, err));
    CVR_TRY(issue_stamped(r, err));
    CVR_TRY(cuda_lane_end(d, CUDA_MAIN, ticket, err));
    CVR_TRY(cuda_wait(d, *ticket, err));
    return tell_times(r, err);
}
