/* Streams, events and graphs: what is put on a stream waits in a queue until somebody waits for it. See standin.h. */
#include "standin.h"
#include <stdlib.h>
#include <time.h>

typedef enum op_kind { OP_COPY, OP_FILL, OP_LAUNCH, OP_RECORD, OP_WAIT, OP_GRAPH } op_kind;

typedef struct op {
    struct op *next;
    op_kind kind;
    uint32_t word; /* of a fill */
    void *to;
    const void *from;
    size_t bytes;
    CUfunction function;
    uint64_t groups;
    uint8_t *argument;
    CUevent event;
    uint64_t number; /* of the event's record */
    CUgraphExec graph;
} op;

struct CUstream_st {
    CUstream next;
    op *first, **last;
    CUgraph captured; /* not NULL: all goes there */
    bool invalid;     /* the capture is */
};

/* The n-th record of an event is done when `done` is n. */
struct CUevent_st {
    CUstream stream; /* of the last record */
    uint64_t recorded, done;
    double ms;
    unsigned flags;
};

struct CUgraph_st {
    op *first, **last;
};
struct CUgraphExec_st {
    op *first, **last;
};

static CUstream streams;

/* ---- queues ---- */

static op *new_op(const op *like) {
    op *o = malloc(sizeof *o);
    if (!o) abort();
    *o = *like;
    o->next = NULL;
    if (like->argument) {
        const size_t bytes = standin_argument(like->function);
        o->argument = malloc(bytes);
        if (!o->argument) abort();
        memcpy(o->argument, like->argument, bytes);
    }
    return o;
}

static void append(op **first, op ***last, op *o) {
    if (!*first) *last = first;
    **last = o;
    *last = &o->next;
}

static void free_ops(op *o) {
    while (o) {
        op *next = o->next;
        free(o->argument);
        free(o);
        o = next;
    }
}

static CUresult put(CUstream s, const op *o) {
    if (s->captured)
        append(&s->captured->first, &s->captured->last, new_op(o));
    else
        append(&s->first, &s->last, new_op(o));
    return CUDA_SUCCESS;
}

/* ---- doing it ---- */

static double now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void run_until(CUstream s, const struct CUevent_st *e, uint64_t number);

static void fail(CUresult why) {
    if (why != CUDA_SUCCESS) standin_lose(why);
}

static void run_op(const op *o) {
    switch (o->kind) {
    case OP_COPY: memmove(o->to, o->from, o->bytes); return;
    case OP_FILL:
        for (size_t i = 0; i < o->bytes / 4; i++) ((uint32_t *)o->to)[i] = o->word;
        return;
    case OP_LAUNCH:
        if (++cuda_standin.launches == cuda_standin.fail_launch)
            fail((CUresult)cuda_standin.fail_with);
        else
            fail(standin_run(o->function, o->argument, o->groups));
        return;
    case OP_RECORD:
        o->event->done = o->number;
        o->event->ms = now_ms();
        return;
    case OP_WAIT: run_until(o->event->stream, o->event, o->number); return;
    case OP_GRAPH:
        for (const op *i = o->graph->first; i && !standin_is_lost(); i = i->next) run_op(i);
        return;
    }
}

/* What stands on a lost device's streams is dropped. */
static void run_first(CUstream s) {
    op *o = s->first;
    if (!o) return;
    if (!standin_is_lost()) {
        standin_memory_open();
        run_op(o);
        standin_memory_close();
    }
    s->first = o->next;
    o->next = NULL;
    free_ops(o);
}

static void run_until(CUstream s, const struct CUevent_st *e, uint64_t number) {
    while (s && s->first && e->done < number && !standin_is_lost()) run_first(s);
}

static void run_all(CUstream s) {
    while (s->first) run_first(s);
}

void standin_finish(void) {
    for (CUstream s = streams; s; s = s->next) run_all(s);
}

CUresult standin_destroy(const char *call, void *thing) {
    const CUresult r = standin_call(call);
    standin_finish();
    cuda_standin.alive--;
    free(thing);
    return r;
}

static CUresult state(void) {
    return standin_is_lost() ? standin_call("") : CUDA_SUCCESS;
}

/* ---- streams ---- */

static CUresult stream_create(CUstream *out, unsigned flags) {
    STANDIN_CALL("cuStreamCreate");
    if (flags != CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    CUstream s = calloc(1, sizeof *s);
    if (!s) return CUDA_ERROR_OUT_OF_MEMORY;
    s->next = streams;
    streams = s;
    cuda_standin.alive++;
    *out = s;
    return CUDA_SUCCESS;
}
const PFN_cuStreamCreate_v2000 standin_StreamCreate = stream_create;

static CUresult stream_destroy(CUstream s) {
    const CUresult r = standin_call("cuStreamDestroy");
    run_all(s);
    for (CUstream *at = &streams; *at; at = &(*at)->next) {
        if (*at != s) continue;
        *at = s->next;
        break;
    }
    cuda_standin.alive--;
    free(s);
    return r;
}
const PFN_cuStreamDestroy_v4000 standin_StreamDestroy = stream_destroy;

static CUresult stream_synchronize(CUstream s) {
    STANDIN_CALL("cuStreamSynchronize");
    if (s->captured) {
        s->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    run_all(s);
    return state();
}
const PFN_cuStreamSynchronize_v2000 standin_StreamSynchronize = stream_synchronize;

static CUresult stream_wait(CUstream s, CUevent e, unsigned flags) {
    STANDIN_CALL("cuStreamWaitEvent");
    (void)flags;
    return put(s, &(op){.kind = OP_WAIT, .event = e, .number = e->recorded});
}
const PFN_cuStreamWaitEvent_v3020 standin_StreamWaitEvent = stream_wait;

/* ---- events ---- */

static CUresult event_create(CUevent *out, unsigned flags) {
    STANDIN_CALL("cuEventCreate");
    *out = calloc(1, sizeof **out);
    if (!*out) return CUDA_ERROR_OUT_OF_MEMORY;
    (*out)->flags = flags;
    cuda_standin.alive++;
    return CUDA_SUCCESS;
}
const PFN_cuEventCreate_v2000 standin_EventCreate = event_create;

static CUresult event_destroy(CUevent e) {
    return standin_destroy("cuEventDestroy", e);
}
const PFN_cuEventDestroy_v4000 standin_EventDestroy = event_destroy;

static CUresult event_record(CUevent e, CUstream s) {
    STANDIN_CALL("cuEventRecord");
    e->stream = s;
    return put(s, &(op){.kind = OP_RECORD, .event = e, .number = ++e->recorded});
}
const PFN_cuEventRecord_v2000 standin_EventRecord = event_record;

/* Who asks often enough gets it done. */
static CUresult event_query(CUevent e) {
    STANDIN_CALL("cuEventQuery");
    if (e->done >= e->recorded) return CUDA_SUCCESS;
    run_first(e->stream);
    CUresult r = state();
    return r != CUDA_SUCCESS ? r : CUDA_ERROR_NOT_READY;
}
const PFN_cuEventQuery_v2000 standin_EventQuery = event_query;

static CUresult event_synchronize(CUevent e) {
    STANDIN_CALL("cuEventSynchronize");
    cuda_standin.waits += e->done < e->recorded;
    run_until(e->stream, e, e->recorded);
    return state();
}
const PFN_cuEventSynchronize_v2000 standin_EventSynchronize = event_synchronize;

static CUresult event_elapsed(float *out, CUevent from, CUevent to) {
    STANDIN_CALL("cuEventElapsedTime");
    if ((from->flags | to->flags) & CU_EVENT_DISABLE_TIMING || !from->recorded || !to->recorded)
        return CUDA_ERROR_INVALID_HANDLE;
    if (from->done < from->recorded || to->done < to->recorded) return CUDA_ERROR_NOT_READY;
    *out = (float)(to->ms - from->ms);
    return CUDA_SUCCESS;
}
const PFN_cuEventElapsedTime_v2000 standin_EventElapsedTime = event_elapsed;

/* ---- what is put on them ---- */

static CUresult upload(CUdeviceptr to, const void *from, size_t bytes, CUstream s) {
    STANDIN_CALL("cuMemcpyHtoDAsync");
    if (!standin_in_device(to, bytes) || !standin_in_locked(from, bytes)) return CUDA_ERROR_INVALID_VALUE;
    if (standin_in_registered(from, bytes))
        cuda_standin.direct_uploads++;
    else
        cuda_standin.staged_uploads++;
    return put(s, &(op){.kind = OP_COPY, .to = (void *)(uintptr_t)to, .from = from, .bytes = bytes});
}
const PFN_cuMemcpyHtoDAsync_v3020 standin_MemcpyHtoDAsync = upload;

static CUresult download(void *to, CUdeviceptr from, size_t bytes, CUstream s) {
    STANDIN_CALL("cuMemcpyDtoHAsync");
    if (!standin_in_device(from, bytes) || !standin_in_locked(to, bytes)) return CUDA_ERROR_INVALID_VALUE;
    return put(s, &(op){.kind = OP_COPY, .to = to, .from = (const void *)(uintptr_t)from, .bytes = bytes});
}
const PFN_cuMemcpyDtoHAsync_v3020 standin_MemcpyDtoHAsync = download;

static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream s) {
    STANDIN_CALL("cuMemcpyDtoDAsync");
    if (!standin_in_device(from, bytes) || !standin_in_device(to, bytes)) return CUDA_ERROR_INVALID_VALUE;
    return put(
        s, &(op){.kind = OP_COPY, .to = (void *)(uintptr_t)to, .from = (const void *)(uintptr_t)from, .bytes = bytes});
}
const PFN_cuMemcpyDtoDAsync_v3020 standin_MemcpyDtoDAsync = copy;

static CUresult fill(CUdeviceptr to, unsigned word, size_t n, CUstream s) {
    STANDIN_CALL("cuMemsetD32Async");
    if (!standin_in_device(to, 4 * n) || to % 4) return CUDA_ERROR_INVALID_VALUE;
    return put(s, &(op){.kind = OP_FILL, .to = (void *)(uintptr_t)to, .word = word, .bytes = 4 * n});
}
const PFN_cuMemsetD32Async_v3020 standin_MemsetD32Async = fill;

static CUresult launch(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, CUstream s, void **arguments, void **extra) {
    STANDIN_CALL("cuLaunchKernel");
    if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || bx != EMU_THREADS || by != 1 || bz != 1 || shared || extra ||
        !arguments)
        return CUDA_ERROR_INVALID_VALUE;
    if (!f->owner) return CUDA_ERROR_INVALID_HANDLE;
    if (s->captured && !(f->loaded && f->launched)) {
        s->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    f->loaded = f->launched = true;
    return put(s, &(op){.kind = OP_LAUNCH, .function = f, .groups = (uint64_t)gx * gy * gz, .argument = arguments[0]});
}
const PFN_cuLaunchKernel_v4000 standin_LaunchKernel = launch;

/* ---- graphs ---- */

static CUresult begin_capture(CUstream s, CUstreamCaptureMode mode) {
    STANDIN_CALL("cuStreamBeginCapture");
    if (cuda_standin.refuse_capture || s->captured || mode != CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    s->captured = calloc(1, sizeof *s->captured);
    s->invalid = false;
    if (!s->captured) return CUDA_ERROR_OUT_OF_MEMORY;
    cuda_standin.alive++;
    return CUDA_SUCCESS;
}
const PFN_cuStreamBeginCapture_v10010 standin_StreamBeginCapture = begin_capture;

static void graph_free(CUgraph g) {
    free_ops(g->first);
    cuda_standin.alive--;
    free(g);
}

static CUresult end_capture(CUstream s, CUgraph *out) {
    const CUresult r = standin_call("cuStreamEndCapture");
    CUgraph g = s->captured;
    *out = NULL;
    s->captured = NULL;
    if (!g) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (r == CUDA_SUCCESS && !s->invalid) {
        *out = g;
        return CUDA_SUCCESS;
    }
    graph_free(g);
    return r != CUDA_SUCCESS ? r : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}
const PFN_cuStreamEndCapture_v10000 standin_StreamEndCapture = end_capture;

static CUresult instantiate(CUgraphExec *out, CUgraph g, unsigned long long flags) {
    STANDIN_CALL("cuGraphInstantiate");
    (void)flags;
    CUgraphExec x = calloc(1, sizeof *x);
    if (!x) return CUDA_ERROR_OUT_OF_MEMORY;
    for (const op *o = g->first; o; o = o->next) append(&x->first, &x->last, new_op(o));
    cuda_standin.captures++;
    cuda_standin.alive++;
    *out = x;
    return CUDA_SUCCESS;
}
const PFN_cuGraphInstantiateWithFlags_v11040 standin_GraphInstantiateWithFlags = instantiate;

static CUresult graph_launch(CUgraphExec g, CUstream s) {
    STANDIN_CALL("cuGraphLaunch");
    cuda_standin.graphs++;
    return put(s, &(op){.kind = OP_GRAPH, .graph = g});
}
const PFN_cuGraphLaunch_v10000 standin_GraphLaunch = graph_launch;

static CUresult exec_destroy(CUgraphExec x) {
    const CUresult r = standin_call("cuGraphExecDestroy");
    standin_finish();
    free_ops(x->first);
    cuda_standin.alive--;
    free(x);
    return r;
}
const PFN_cuGraphExecDestroy_v10000 standin_GraphExecDestroy = exec_destroy;

static CUresult graph_destroy(CUgraph g) {
    const CUresult r = standin_call("cuGraphDestroy");
    graph_free(g);
    return r;
}
const PFN_cuGraphDestroy_v10000 standin_GraphDestroy = graph_destroy;
