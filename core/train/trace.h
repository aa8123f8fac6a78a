/* `log.trace`: what ran when, as a file that chrome://tracing and Perfetto show. */
#ifndef CVR_TRACE_H
#define CVR_TRACE_H

#include <cvr/session.h>

typedef struct trace trace;

/* Begins a trace and has every program of the session's bound anew, so that it tells; "": none, *out is NULL. */
int32_t trace_open(trace **out, const char *path, cvr_session *s, cvr_error *err);
/* A stretch of the main thread: "wait for data". Times by cvr_now(); t may be NULL. */
void trace_span(trace *t, const char *name, double start, double end);
/* Ends the file. Nothing to do where t is NULL. */
int32_t trace_close(trace *t, cvr_error *err);

#endif
