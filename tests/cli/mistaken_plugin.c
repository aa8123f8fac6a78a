/*
 * acme.mistaken: a layer, its op with gradient and kernels, an optimizer, a scheduler, a reporter and a transform that
 * are right, but for the mistake that the environment's MISTAKE names. mistakes_test.sh makes every one of them.
 */
#define _DEFAULT_SOURCE /* usleep */
#include <cvr/plugin/plugin.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int is(const char *mistake) {
    const char *said = getenv("MISTAKE");
    return said && strcmp(said, mistake) == 0;
}

/* What ends a process, in any callback. */
static void die(const char *callback) {
    char text[64];
    const struct {
        const char *how;
        int signal;
    } ways[] = {{"segv", SIGSEGV}, {"fpe", SIGFPE}, {"ill", SIGILL}, {"bus", SIGBUS}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        (void)snprintf(text, sizeof text, "%s %s", callback, ways[i].how);
        if (is(text)) raise(ways[i].signal);
    }
    (void)snprintf(text, sizeof text, "%s abort", callback);
    if (is(text)) abort();
    (void)snprintf(text, sizeof text, "%s exit 0", callback);
    if (is(text)) exit(0);
    (void)snprintf(text, sizeof text, "%s exit 3", callback);
    if (is(text)) exit(3);
}

/* A status, with or without words; unknown ones, too. */
static int32_t status_of(const char *callback, cvr_error *err) {
    char text[64];
    (void)snprintf(text, sizeof text, "%s silent", callback);
    if (is(text)) return CVR_ERR_INVALID;
    (void)snprintf(text, sizeof text, "%s -17", callback);
    if (is(text)) return -17;
    (void)snprintf(text, sizeof text, "%s says", callback);
    return is(text) ? cvr_fail(err, CVR_ERR_INVALID, "no such day\nas this\x1b[31m") : CVR_OK;
}

static int32_t deep(int32_t n) {
    volatile char page[4096];
    page[0] = (char)n;
    return n < 0 ? page[0] : deep(n + 1) + page[0];
}

/* ---- the op: y = k x ---- */

typedef struct scale_attrs {
    double k;
} scale_attrs;

static const cvr_attr_desc *const attrs[] = {CVR_ATTR(FLOAT, "k", "1", "factor", .flags = CVR_ATTR_POSITIONAL)};

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_type *y = a->outputs[0];
    die("infer");
    if (is("infer deep")) return deep(0);
    if (is("infer unset")) return CVR_OK;
    *y = *a->inputs[0];
    if (is("infer zero")) y->shape[2] = 0;
    if (is("infer negative")) y->shape[1] = -4;
    if (is("infer rank")) y->rank = 9;
    if (is("infer dtype")) y->dtype = 77;
    if (is("infer large")) y->shape[2] = INT64_MAX / 2;
    if (is("infer rows")) y->shape[0] *= 2;
    if (is("infer attrs")) ((scale_attrs *)(uintptr_t)a->attrs)->k = 9;
    return status_of("infer", err);
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    die("grad");
    if (is("grad none")) return CVR_OK;
    if (is("grad no value")) a->grad_inputs[0] = 123456;
    if (is("grad no value")) return CVR_OK;
    if (is("grad shape")) {
        const int64_t all[8] = {0};
        return cvr_emit(b, "sum", all, sizeof all, a->grad_outputs, 1, &a->grad_inputs[0], err);
    }
    if (is("grad hides")) (void)cvr_emit(b, "acme.nosuch", NULL, 0, a->grad_outputs, 1, &a->grad_inputs[0], NULL);
    if (is("grad past")) a->grad_inputs[5] = a->grad_outputs[0];
    CVR_TRY(status_of("grad", err));
    return cvr_emit(b, "acme.scale", a->attrs, sizeof(scale_attrs), a->grad_outputs, 1, &a->grad_inputs[0], err);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const double k = ((const scale_attrs *)a->attrs)->k;
    const cvr_tensor *x = a->inputs[0];
    const int64_t n = cvr_numel(x->rank, x->shape);
    die("run");
    static int slept;
    if (is("run sleep") && !slept++) usleep(2500000);
    for (int64_t i = 0; i < n; i++) ((float *)a->outputs[0]->data)[i] = (float)(k * ((const float *)x->data)[i]);
    return status_of("run", err);
}

static uint64_t workspace(const cvr_signature *s) {
    (void)s;
    return is("workspace all") ? UINT64_MAX : is("workspace much") ? (uint64_t)1 << 45 : 0;
}

static int32_t supports(const cvr_signature *s, cvr_error *reason) {
    (void)s;
    return is("supports no") ? cvr_fail(reason, CVR_ERR_UNSUPPORTED, "only on Sundays") : CVR_OK;
}

/* ---- the layer ---- */

static int32_t build(const cvr_builder *b, const void *given, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    cvr_init init = {sizeof init, CVR_INIT_CONSTANT, 0, 0, 0};
    cvr_param_decl w = {.struct_size = sizeof w, .name = "w", .dtype = CVR_F32, .rank = 1, .shape = {3}, .init = &init};
    cvr_op_call call = {sizeof call, "acme.scale", given, sizeof(scale_attrs), in, out, n_in, 1};
    cvr_value v;
    die("build");
    CVR_TRY(status_of("build", err));
    if (is("build none")) return CVR_OK;
    if (is("build no value")) *out = 9999;
    if (is("build no value")) return CVR_OK;
    if (is("build past")) out[5] = in[0];
    if (is("build attrs")) ((scale_attrs *)(uintptr_t)given)->k = 9;
    if (is("build itself")) return cvr_layer(b, "x", "acme.scale", "", in[0], out, err);
    if (is("build param shape")) w.shape[0] = -3;
    if (is("build param init")) init.kind = 42;
    if (is("build param flags")) w.flags = 0x100;
    if (is("build unused")) w.flags = CVR_PARAM_TRAINABLE;
    CVR_TRY(b->param(b, &w, &v, err));
    if (is("build call size")) call.struct_size = 4;
    if (is("build call op")) call.op = NULL;
    if (is("build call inputs")) call.inputs = NULL;
    if (is("build call attrs")) call.attrs_size = 4;
    return b->emit(b, &call, err);
}

/* ---- optimizer, scheduler, reporter, transform ---- */

/* SGD, by its op. */
static int32_t step(const cvr_builder *b, const cvr_update_args *a, cvr_error *err) {
    const struct {
        double weight_decay, lr_factor, momentum, dampening;
        int64_t nesterov;
    } sgd = {a->weight_decay, a->lr_factor, 0, 0, 0};
    const cvr_value in[4] = {a->param, a->grad, a->lr, a->step};
    const cvr_op_call call = {sizeof call, "sgd_update", &sgd, sizeof sgd, in, NULL, 4, 0};
    die("emit");
    CVR_TRY(status_of("emit", err));
    if (is("emit never")) return CVR_OK;
    if (is("emit twice")) CVR_TRY(b->emit(b, &call, err));
    return b->emit(b, &call, err);
}

static double factor(const cvr_sched_args *a) {
    (void)a;
    return is("factor nan") ? NAN : is("factor negative") ? -1 : is("factor inf") ? INFINITY : 1;
}

static int32_t report_open(const cvr_run_info *info, void **self, cvr_error *err) {
    (void)info;
    *self = NULL;
    return status_of("open", err);
}

static int32_t report_step(void *self, const cvr_step_event *e, cvr_error *err) {
    (void)self, (void)e;
    die("step");
    return status_of("step", err);
}

static void report_close(void *self) {
    (void)self;
}

static int32_t apply(const void *given, const double *params, cvr_sample *s, cvr_error *err) {
    (void)given, (void)params, (void)s;
    die("apply");
    return status_of("apply", err);
}

/* ---- all of it ---- */

static const cvr_op_desc op = {.struct_size = sizeof op,
                               .name = "acme.scale",
                               .version = 1,
                               .flags = CVR_OP_ORDER_FREE,
                               .min_inputs = 1,
                               .max_inputs = 1,
                               .n_outputs = 1,
                               .n_attrs = 1,
                               .attrs = attrs,
                               .infer = infer,
                               .grad = grad,
                               .doc = "y = k x"};
static const cvr_layer_desc layer = {.struct_size = sizeof layer,
                                     .name = "acme.scale",
                                     .doc = "y = k x",
                                     .n_attrs = 1,
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .n_outputs = 1,
                                     .attrs = attrs,
                                     .build = build};
static const cvr_optimizer_desc optimizer = {
    .struct_size = sizeof optimizer, .name = "acme.optim", .doc = "a mistake", .default_lr = 0.1, .emit = step};
static const cvr_scheduler_desc scheduler = {
    .struct_size = sizeof scheduler, .name = "acme.sched", .doc = "constant", .factor = factor};
static const cvr_reporter_desc reporter = {.struct_size = sizeof reporter,
                                           .name = "acme.report",
                                           .doc = "nothing",
                                           .open = report_open,
                                           .step = report_step,
                                           .close = report_close};
static const cvr_augment_desc augment = {
    .struct_size = sizeof augment, .name = "acme.augment", .doc = "nothing", .apply = apply};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const cvr_cpu_fn fn = {sizeof fn, run};
    cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                              .op = "acme.scale",
                              .backend = is("kernel backend")   ? "nosuch"
                                         : getenv("MISTAKE_ON") ? getenv("MISTAKE_ON")
                                                                : "reference",
                              .payload_kind = is("kernel payload") ? "gpu.fn/9" : CVR_PAYLOAD_CPU_FN,
                              .payload = &fn,
                              .isa = is("kernel isa") ? "warpdrive" : NULL,
                              .op_version = is("kernel version") ? 2 : 1,
                              .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE,
                              .supports = supports,
                              .workspace = workspace};
    die("load");
    if (is("log null")) host->log(host, 77, NULL);
    if (is("log steers")) host->log(host, CVR_LOG_WARNING, "two\nlines\x1b[31m%s%n");
    if (is("load nothing")) return CVR_OK;
    cvr_layer_desc dumb = layer;
    if (is("layer doc")) dumb.doc = NULL;
    if (is("load null")) return r->add(r, CVR_KIND_OP, NULL, err);
    CVR_TRY(status_of("load", err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &op, err));
    CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    if (is("kernel twice")) CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    CVR_TRY(r->add(r, CVR_KIND_LAYER, &dumb, err));
    CVR_TRY(r->add(r, CVR_KIND_OPTIMIZER, &optimizer, err));
    CVR_TRY(r->add(r, CVR_KIND_SCHEDULER, &scheduler, err));
    CVR_TRY(r->add(r, CVR_KIND_REPORTER, &reporter, err));
    return r->add(r, CVR_KIND_AUGMENT, &augment, err);
}

static void shut(void) {
    die("shutdown");
}

const cvr_plugin *cvr_plugin_query(uint32_t host_major, uint32_t host_minor) {
    static const cvr_plugin plugin = {CVR_PLUGIN_MAGIC,
                                      sizeof plugin,
                                      CVR_ABI_MAJOR,
                                      CVR_ABI_MINOR,
                                      CVR_ABI_MINOR,
                                      0,
                                      "com.acme.m",
                                      "1.0",
                                      CVR_SANITIZER,
                                      "",
                                      load,
                                      shut};
    (void)host_major, (void)host_minor;
    die("query");
    return is("query null") ? NULL : &plugin;
}
