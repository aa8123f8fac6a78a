/*
 * Two lanes: uploads, and all else. Each is a stream, and an event is recorded after each thing that is issued to it; a
 * ticket says which. See cuda_device.h.
 */
#include "cuda_device.h"

/* ---- life ---- */

static int32_t lane_open(const cuda_device *d, cuda_lane *l, cvr_error *err) {
    CVR_TRY(cuda_check(d->cu->StreamCreate(&l->stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate", err));
    for (uint32_t i = 0; i < CUDA_EVENTS; i++) /* who waits leaves the processor to the workers that load pictures */
        CVR_TRY(cuda_check(d->cu->EventCreate(&l->events[i], CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING),
                           "cuEventCreate", err));
    return CVR_OK;
}

int32_t cuda_lanes_open(cuda_device *d, cvr_error *err) {
    for (uint32_t i = 0; i < CUDA_LANES; i++) CVR_TRY(lane_open(d, &d->lanes[i], err));
    return CVR_OK;
}

void cuda_lanes_close(cuda_device *d) {
    for (uint32_t i = 0; i < CUDA_LANES; i++) {
        cuda_lane *l = &d->lanes[i];
        if (l->stream) (void)d->cu->StreamSynchronize(l->stream);
        for (uint32_t k = 0; k < CUDA_EVENTS; k++)
            if (l->events[k]) (void)d->cu->EventDestroy(l->events[k]);
        if (l->staging) (void)d->cu->MemFreeHost(l->staging);
        if (l->stream) (void)d->cu->StreamDestroy(l->stream);
    }
}

/* ---- a device that is lost ---- */

/* What a lane has not done, in words: the driver does not tell which of it failed. Kernels fail rather than copies, so
 * copies are named where no nodes are under way. 1: nodes are. */
static int32_t where(const cuda_lane *l, char *out, size_t size) {
    const cuda_note *first = NULL, *last = NULL;
    int32_t nodes = 0;
    for (uint64_t number = l->done + 1; number <= l->issued + l->begun; number++) {
        const cuda_note *n = &l->notes[number % CUDA_EVENTS];
        const int32_t is_nodes = n->last != NULL;
        if (is_nodes < nodes) continue;
        if (!first || is_nodes > nodes) first = n;
        nodes = is_nodes;
        last = n;
    }
    const char *from = first ? first->first : "nothing that was under way";
    const char *to = !last ? from : last->last ? last->last : last->first;
    if (strcmp(from, to) == 0)
        (void)snprintf(out, size, "%.120s", from);
    else
        (void)snprintf(out, size, "%.120s to %.120s", from, to);
    return nodes;
}

/* The main lane is looked at where it has work, as it runs the kernels. */
int32_t cuda_result(cuda_device *d, CUresult r, const char *call, cvr_error *err) {
    char at[256];
    if (cuda_status(r) != CVR_ERR_DEVICE) return cuda_check(r, call, err);
    if (!d->lost) {
        const cuda_lane *main = &d->lanes[CUDA_MAIN];
        const int32_t nodes =
            where(main->done < main->issued + main->begun ? main : &d->lanes[CUDA_UPLOADS], at, sizeof at);
        cvr_error_init(&d->why);
        (void)cvr_fail(&d->why, CVR_ERR_DEVICE, "cuda: %s: the device is lost (%s of %s), in %s%s", d->physical.name,
                       cuda_result_name(r), call, at,
                       nodes ? "; backend.cuda_replay=each tells which node it was" : "");
        d->lost = 1;
    }
    if (err) *err = d->why;
    return CVR_ERR_DEVICE;
}

/* ---- issuing and waiting ---- */

static CUevent event_of(const cuda_lane *l, uint64_t number) {
    return l->events[number % CUDA_EVENTS];
}

int32_t cuda_lane_begin(cuda_device *d, uint32_t lane, cuda_note what, uint64_t after, cvr_error *err) {
    cuda_lane *l = &d->lanes[lane];
    const cuda_lane *other = &d->lanes[after % CUDA_LANES];
    CVR_TRY(cuda_enter(d, err));
    if (after && (after % CUDA_LANES == lane || after / CUDA_LANES > other->issued))
        return cvr_fail(err, CVR_ERR_INVALID, "cuda: `after` is %llu, no ticket of the other lane",
                        (unsigned long long)after);
    if (l->issued + 1 - l->done > CUDA_EVENTS) /* its event is that of something older, which has to be done */
        CVR_TRY(cuda_wait(d, (l->issued + 1 - CUDA_EVENTS) * CUDA_LANES + lane, err));
    l->notes[(l->issued + 1) % CUDA_EVENTS] = what;
    l->begun = 1;
    if (after / CUDA_LANES <= other->done) return CVR_OK;
    return cuda_result(d, d->cu->StreamWaitEvent(l->stream, event_of(other, after / CUDA_LANES), 0),
                       "cuStreamWaitEvent", err);
}

int32_t cuda_lane_end(cuda_device *d, uint32_t lane, uint64_t *ticket, cvr_error *err) {
    cuda_lane *l = &d->lanes[lane];
    const uint64_t number = l->issued + 1;
    CVR_TRY(cuda_result(d, d->cu->EventRecord(event_of(l, number), l->stream), "cuEventRecord", err));
    l->issued = number;
    l->begun = 0;
    *ticket = number * CUDA_LANES + lane;
    return CVR_OK;
}

int32_t cuda_is_done(cuda_device *d, uint64_t ticket) {
    cuda_lane *l = &d->lanes[ticket % CUDA_LANES];
    const uint64_t number = ticket / CUDA_LANES;
    if (l->done >= number) return 1;
    if (d->lost || d->cu->EventQuery(event_of(l, number)) != CUDA_SUCCESS) return 0;
    l->done = number;
    return 1;
}

int32_t cuda_wait(cuda_device *d, uint64_t ticket, cvr_error *err) {
    cuda_lane *l = &d->lanes[ticket % CUDA_LANES];
    const uint64_t number = ticket / CUDA_LANES;
    CVR_TRY(cuda_enter(d, err));
    if (number > l->issued)
        return cvr_fail(err, CVR_ERR_INVALID, "cuda: nobody has been given the ticket %llu",
                        (unsigned long long)ticket);
    if (l->done < number) {
        CVR_TRY(cuda_result(d, d->cu->EventSynchronize(event_of(l, number)), "cuEventSynchronize", err));
        l->done = number;
    }
    cuda_downloads_finish(d);
    return CVR_OK;
}
