/*
 * Replays: a list of commands on the stream, or the graph that was captured from it. Graphs are captured on a stream of
 * their own, in relaxed mode, since a library may call the driver for other things as it launches. See
 * cuda_recording.h.
 */
#include "../host/host_backend.h"
#include "cuda_recording.h"

/* ---- commands ---- */

static CUresult dispatch(const cuda_recording *r, const cuda_command *c, CUstream stream) {
    void *arguments[] = {r->arguments + c->argument};
    return r->d->cu->LaunchKernel(c->function, c->groups[0], c->groups[1], c->groups[2], c->threads[0], c->threads[1],
                                  c->threads[2], c->shared, stream, arguments, NULL);
}

static int32_t issue(const cuda_recording *r, const cuda_command *c, CUstream stream, cvr_error *err) {
    cuda_device *d = r->d;
    switch (c->kind) {
    case CUDA_DISPATCH: return cuda_result(d, dispatch(r, c, stream), "cuLaunchKernel", err);
    case CUDA_FILL:
        return cuda_result(d, d->cu->MemsetD32Async(c->to, c->word, c->bytes / 4, stream), "cuMemsetD32Async", err);
    case CUDA_COPY:
        return cuda_result(d, d->cu->MemcpyDtoDAsync(c->to, c->from, c->bytes, stream), "cuMemcpyDtoDAsync", err);
    case CUDA_CALL: break;
    }
    return c->call->launch(r->launches[c->launch]->args, stream, err);
}

int32_t cuda_issue(const cuda_recording *r, const cuda_command *c, CUstream stream, cvr_error *err) {
    const cvr_launch *l = r->launches[c->launch];
    const cvr_launch **current = r->service ? r->service->current(r->service) : NULL;
    cvr_launch_note(current, l);
    const int32_t status = issue(r, c, stream, err);
    if (status != CVR_OK) return r->d->lost ? status : host_launch_failed(l, "cuda", status, err);
    cvr_launch_note(current, NULL);
    return CVR_OK;
}

static int32_t issue_all(const cuda_recording *r, CUstream stream, cvr_error *err) {
    for (uint64_t i = 0; i < r->n; i++) CVR_TRY(cuda_issue(r, &r->commands[i], stream, err));
    return CVR_OK;
}

/* ---- graphs ---- */

/* What could not be captured is put on the stream for ever, and that is said once. */
static void refuse(cuda_recording *r, const cvr_error *why) {
    char text[512];
    (void)snprintf(text, sizeof text,
                   "cuda: the nodes from %.80s to %.80s are launched one by one, not as a graph: %.240s",
                   r->launches[0]->name, r->launches[r->n_launches - 1]->name, why->message);
    r->d->host->log(r->d->host, CVR_LOG_WARNING, text);
    r->refused = 1;
}

static int32_t end_capture(cuda_recording *r, int32_t status, cvr_error *why) {
    cuda_device *d = r->d;
    CUgraph graph = NULL;
    const CUresult ended = d->cu->StreamEndCapture(d->capture, &graph);
    if (status == CVR_OK) status = cuda_result(d, ended, "cuStreamEndCapture", why);
    if (status == CVR_OK) {
        status = cuda_result(d, d->cu->GraphInstantiateWithFlags(&r->graph, graph, 0), "cuGraphInstantiate", why);
        if (status != CVR_OK) r->graph = NULL;
    }
    if (ended == CUDA_SUCCESS && graph) (void)d->cu->GraphDestroy(graph);
    return status;
}

static int32_t capture(cuda_recording *r, cvr_error *err) {
    cuda_device *d = r->d;
    cvr_error why = CVR_ERROR_INIT;
    int32_t status = cuda_result(d, d->cu->StreamBeginCapture(d->capture, CU_STREAM_CAPTURE_MODE_RELAXED),
                                 "cuStreamBeginCapture", &why);
    if (status == CVR_OK) status = end_capture(r, issue_all(r, d->capture, &why), &why);
    if (status == CVR_OK) return CVR_OK;
    if (status != CVR_ERR_DEVICE) {
        refuse(r, &why);
        return CVR_OK;
    }
    if (err) *err = why;
    return status;
}

/* ---- replays ---- */

cuda_note cuda_nodes(const cuda_recording *r) {
    return (cuda_note){r->launches[0]->name, r->launches[r->n_launches - 1]->name};
}

static int32_t replay_graph(cuda_recording *r, uint64_t after, uint64_t *ticket, cvr_error *err) {
    cuda_device *d = r->d;
    CVR_TRY(cuda_lane_begin(d, CUDA_MAIN, cuda_nodes(r), after, err));
    CVR_TRY(cuda_result(d, d->cu->GraphLaunch(r->graph, d->lanes[CUDA_MAIN].stream), "cuGraphLaunch", err));
    return cuda_lane_end(d, CUDA_MAIN, ticket, err);
}

static int32_t replay_list(const cuda_recording *r, uint64_t after, uint64_t *ticket, cvr_error *err) {
    cuda_device *d = r->d;
    CVR_TRY(cuda_lane_begin(d, CUDA_MAIN, cuda_nodes(r), after, err));
    CVR_TRY(issue_all(r, d->lanes[CUDA_MAIN].stream, err));
    return cuda_lane_end(d, CUDA_MAIN, ticket, err);
}

/* Each command by itself, so that it is known which one fails. */
static int32_t replay_each(const cuda_recording *r, uint64_t after, uint64_t *ticket, cvr_error *err) {
    cuda_device *d = r->d;
    CVR_TRY(cuda_wait(d, d->lanes[CUDA_MAIN].issued * CUDA_LANES + CUDA_MAIN, err)); /* what came before is innocent */
    for (uint64_t i = 0; i < r->n; i++) {
        const cuda_note node = {.first = r->launches[r->commands[i].launch]->name};
        CVR_TRY(cuda_lane_begin(d, CUDA_MAIN, node, i ? 0 : after, err));
        CVR_TRY(cuda_issue(r, &r->commands[i], d->lanes[CUDA_MAIN].stream, err));
        CVR_TRY(cuda_lane_end(d, CUDA_MAIN, ticket, err));
        CVR_TRY(cuda_wait(d, *ticket, err));
    }
    return CVR_OK;
}

static int32_t replay(cuda_recording *r, uint64_t after, uint64_t *ticket, cvr_error *err) {
    const int64_t how = r->d->keys.replay;
    if (how == CUDA_REPLAY_EACH) return replay_each(r, after, ticket, err);
    if (r->profiler && r->profiler->enabled(r->profiler)) return cuda_replay_timed(r, after, ticket, err);
    if (!r->graph && !r->refused && how == CUDA_REPLAY_GRAPH && r->replays++ >= CUDA_REPLAYS_BEFORE_CAPTURE)
        CVR_TRY(capture(r, err));
    return r->graph ? replay_graph(r, after, ticket, err) : replay_list(r, after, ticket, err);
}

int32_t cuda_replay(cuda_device *d, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err) {
    cuda_recording *r = (cuda_recording *)recording;
    *ticket = d->lanes[CUDA_MAIN].issued * CUDA_LANES + CUDA_MAIN;
    CVR_TRY(cuda_enter(d, err));
    if (!r->n) return after ? cuda_wait(d, after, err) : CVR_OK;
    const int32_t status = replay(r, after, ticket, err);
    r->last = *ticket;
    return status;
}
