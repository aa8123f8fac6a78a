/* `log.trace`: what ran when, as a file that chrome://tracing and Perfetto show. */
#ifndef CVRUN_TRACE_H
#define CVRUN_TRACE_H

#include <cvr/session.h>

/* Writes the trace of a run of this session. It has to live longer than the session, whose recordings know it: one at a
 * time. */
const cvr_reporter_desc *trace_reporter(cvr_session *s, const char *path);

#endif
