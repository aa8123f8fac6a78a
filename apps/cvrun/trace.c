/*
 * A trace in the Trace Event Format (Google, "Trace Event Format", complete events): one event a node of every program
 * that runs, with its op, kernel and arithmetic, and one a step and a wait for data. Times are microseconds since the
 * trace began.
 */
#include "trace.h"
#include <errno.h>

enum { ROW_STEPS = 1, ROW_NODES };

static struct {
    cvr_profiler table;
    cvr_session *session;
    FILE *file; /* NULL: closed */
    const char *path;
    double opened, started, device_zero;
    size_t n_events;
} trace;

static void add_event(const char *json) {
    fprintf(trace.file, "%s\n%s", trace.n_events++ ? "," : "[", json);
}

static void add_head(cvr_text *text, const char *name, int row, double start_us, double us) {
    cvr_text_add(text, "{\"name\": ");
    cvr_text_add_json(text, name);
    cvr_text_add(text, ", \"ph\": \"X\", \"pid\": 1, \"tid\": %d, \"ts\": %.3f, \"dur\": %.3f", row, start_us, us);
}

/* A stretch of the main thread. */
static void add_span(const char *name, double start, double end) {
    cvr_text text = {0};
    if (end <= start) return;
    add_head(&text, name, ROW_STEPS, 1e6 * (start - trace.opened), 1e6 * (end - start));
    cvr_text_add(&text, "}");
    if (!text.failed) add_event(text.s);
    cvr_text_clear(&text);
}

/* ---- the profiler ---- */

static int32_t is_enabled(const cvr_profiler *p) {
    (void)p;
    return trace.file != NULL;
}

static void on_begin(const cvr_profiler *p, uint64_t recording, uint64_t node) {
    (void)p;
    (void)recording;
    (void)node;
    trace.started = cvr_now();
}

static void add_node(uint64_t recording, uint64_t node, double start, double end) {
    const cvr_program *program = cvr_session_program(trace.session, recording);
    cvr_node_info info;
    cvr_text text = {0};
    if (!program || node >= cvr_program_nodes(program)) return;
    cvr_program_node(program, (size_t)node, &info);
    add_head(&text, info.name, ROW_NODES, 1e6 * (start - trace.opened), 1e6 * (end - start));
    cvr_text_add(&text, ", \"cat\": \"%s\", \"args\": {\"op\": ",
                 info.recompute  ? "recompute"
                 : info.backward ? "backward"
                                 : "forward");
    cvr_text_add_json(&text, info.op);
    cvr_text_add(&text, ", \"kernel\": ");
    cvr_text_add_json(&text, info.isa && *info.isa ? info.isa : info.backend);
    cvr_text_add(&text, ", \"flop\": %.0f, \"bytes\": %llu}}", info.flops, (unsigned long long)info.bytes);
    if (!text.failed) add_event(text.s);
    cvr_text_clear(&text);
}

static void on_end(const cvr_profiler *p, uint64_t recording, uint64_t node) {
    (void)p;
    add_node(recording, node, trace.started, cvr_now());
}

/* A device's clock has a zero of its own: what it says first ended when it said so. */
static void on_spent(const cvr_profiler *p, uint64_t recording, uint64_t node, double begin_s, double end_s) {
    (void)p;
    if (!trace.file) return;
    if (!trace.device_zero) trace.device_zero = cvr_now() - end_s;
    add_node(recording, node, trace.device_zero + begin_s, trace.device_zero + end_s);
}

/* ---- the reporter ---- */

static int32_t trace_open(const cvr_run_info *info, void **self, cvr_error *err) {
    (void)info;
    *self = &trace;
    trace.file = fopen(trace.path, "we");
    if (!trace.file) return cvr_fail(err, CVR_ERR_IO, "log.trace: cannot write %s: %s", trace.path, strerror(errno));
    trace.opened = cvr_now();
    fprintf(trace.file,
            "[\n{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, \"args\": {\"name\": "
            "\"steps\"}},\n{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, \"args\": "
            "{\"name\": \"layers\"}}",
            ROW_STEPS, ROW_NODES);
    trace.n_events = 2;
    trace.table = (cvr_profiler){sizeof trace.table, NULL, is_enabled, on_begin, on_end, on_spent};
    cvr_plugins_offer(cvr_session_plugins(trace.session), CVR_SERVICE_PROFILER, &trace.table);
    return cvr_session_record(trace.session, err);
}

static int32_t trace_step(void *self, const cvr_step_event *e, cvr_error *err) {
    const double end = cvr_now(), start = end - e->seconds, computing = start + e->data_seconds;
    (void)self;
    (void)err;
    add_span("wait for data", start, computing);
    add_span("step", computing, end);
    return CVR_OK;
}

/* Recordings may still ask: they find the file closed. */
static int32_t finish(cvr_error *err) {
    if (!trace.file) return CVR_OK;
    fprintf(trace.file, "\n]\n");
    const bool bad = ferror(trace.file) != 0, lost = fclose(trace.file) != 0;
    trace.file = NULL;
    if (!bad && !lost) return CVR_OK;
    return cvr_fail(err, CVR_ERR_IO, "log.trace: writing %s failed; is the disk full?", trace.path);
}

static int32_t trace_end(void *self, const cvr_end_event *e, cvr_error *err) {
    (void)self;
    (void)e;
    return finish(err);
}

static void trace_close(void *self) {
    (void)self;
    (void)finish(NULL);
    cvr_plugins_offer(cvr_session_plugins(trace.session), CVR_SERVICE_PROFILER, NULL);
}

const cvr_reporter_desc *trace_reporter(cvr_session *s, const char *path) {
    static const cvr_reporter_desc reporter = {.struct_size = sizeof reporter,
                                               .name = "trace",
                                               .doc = "every node of every step",
                                               .open = trace_open,
                                               .step = trace_step,
                                               .end = trace_end,
                                               .close = trace_close};
    trace.session = s;
    trace.path = path;
    return &reporter;
}
