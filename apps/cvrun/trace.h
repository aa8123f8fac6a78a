/* `log.trace`: what ran when, as a file that chrome://tracing and Perfetto show. */
#ifndef CVRUN_TRACE_H
#define CVRUN_TRACE_H

#include <cvr/session.h>

typedef struct trace {
    cvr_profiler table;
    cvr_session *session;
    FILE *file; /* NULL: no trace */
    const char *path;
    double opened, started;
    size_t n_events;
} trace;

/* Begins a trace: every program of the session's is recorded anew, so that it tells. "": none. */
int32_t trace_open(trace *t, const char *path, cvr_session *s, cvr_error *err);
/* A stretch of the main thread: "wait for data". Times by cvr_now(). */
void trace_span(trace *t, const char *name, double start, double end);
/* Ends the file, before the session is closed. */
int32_t trace_close(trace *t, cvr_error *err);

#endif
