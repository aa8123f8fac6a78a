/*
 * A trace in the Trace Event Format (Google, "Trace Event Format", complete events): one event a node of every program
 * that runs, with its op, kernel and arithmetic, and one a step and a wait for data. Times are microseconds since the
 * trace began.
 */
#include "trace.h"
#include <errno.h>

enum { ROW_STEPS = 1, ROW_NODES };

static void add_event(trace *t, const char *json) {
    fprintf(t->file, "%s\n%s", t->n_events++ ? "," : "[", json);
}

static void add_head(cvr_text *text, const char *name, int row, double start_us, double us) {
    cvr_text_add(text, "{\"name\": ");
    cvr_text_add_json(text, name);
    cvr_text_add(text, ", \"ph\": \"X\", \"pid\": 1, \"tid\": %d, \"ts\": %.3f, \"dur\": %.3f", row, start_us, us);
}

void trace_span(trace *t, const char *name, double start, double end) {
    cvr_text text = {0};
    if (!t->file || end <= start) return;
    add_head(&text, name, ROW_STEPS, 1e6 * (start - t->opened), 1e6 * (end - start));
    cvr_text_add(&text, "}");
    if (!text.failed) add_event(t, text.s);
    cvr_text_clear(&text);
}

static int32_t trace_enabled(const cvr_profiler *p) {
    return ((trace *)p->ctx)->file != NULL;
}

static void trace_begin(const cvr_profiler *p, uint64_t recording, uint64_t node) {
    (void)recording;
    (void)node;
    ((trace *)p->ctx)->started = cvr_now();
}

static void trace_end(const cvr_profiler *p, uint64_t recording, uint64_t node) {
    trace *t = p->ctx;
    const double end = cvr_now();
    const cvr_program *program = cvr_session_program(t->session, recording);
    cvr_node_info info;
    cvr_text text = {0};
    if (!program || node >= cvr_program_nodes(program)) return;
    cvr_program_node(program, (size_t)node, &info);
    add_head(&text, info.name, ROW_NODES, 1e6 * (t->started - t->opened), 1e6 * (end - t->started));
    cvr_text_add(&text, ", \"cat\": \"%s\", \"args\": {\"op\": ",
                 info.again      ? "again"
                 : info.backward ? "backward"
                                 : "forward");
    cvr_text_add_json(&text, info.op);
    cvr_text_add(&text, ", \"kernel\": ");
    cvr_text_add_json(&text, info.isa && *info.isa ? info.isa : info.backend);
    cvr_text_add(&text, ", \"flop\": %.0f, \"bytes\": %llu}}", info.flops, (unsigned long long)info.bytes);
    if (!text.failed) add_event(t, text.s);
    cvr_text_clear(&text);
}

int32_t trace_open(trace *t, const char *path, cvr_session *s, cvr_error *err) {
    memset(t, 0, sizeof *t);
    if (!*path) return CVR_OK;
    t->path = path;
    t->file = fopen(path, "we");
    if (!t->file) return cvr_fail(err, CVR_ERR_IO, "log.trace: cannot write %s: %s", path, strerror(errno));
    t->session = s;
    t->opened = cvr_now();
    t->table = (cvr_profiler){sizeof t->table, t, trace_enabled, trace_begin, trace_end};
    cvr_plugins_offer(cvr_session_plugins(s), CVR_SERVICE_PROFILER, &t->table);
    fprintf(t->file,
            "[\n{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, \"args\": {\"name\": "
            "\"steps\"}},\n{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, \"args\": "
            "{\"name\": \"layers\"}}",
            ROW_STEPS, ROW_NODES);
    t->n_events = 2;
    return cvr_session_record(s, err);
}

int32_t trace_close(trace *t, cvr_error *err) {
    if (!t->file) return CVR_OK;
    fprintf(t->file, "\n]\n");
    const bool bad = ferror(t->file) != 0, lost = fclose(t->file) != 0;
    t->file = NULL; /* recordings may still ask */
    cvr_plugins_offer(cvr_session_plugins(t->session), CVR_SERVICE_PROFILER, NULL);
    if (!bad && !lost) return CVR_OK;
    return cvr_fail(err, CVR_ERR_IO, "log.trace: writing %s failed; is the disk full?", t->path);
}
