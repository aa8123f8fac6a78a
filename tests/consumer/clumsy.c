/*
 * acme.clumsy: y = 2x, with a mistake that the environment's ACME_MISTAKE names; without, it is right. What `cvrun
 * conform` and `backend.check = yes` are tried on.
 */
#include <cvr/plugin/plugin.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct clumsy_attrs {
    int64_t axes; /* that an input must have, unless 0 */
} clumsy_attrs;

static const cvr_attr_desc *const clumsy_schema[] = {
    CVR_ATTR(INT, "axes", "0", "axes that the input must have; 0: any number", CVR_ATTR_BETWEEN(0, 6))};

static int is(const char *mistake) {
    const char *word = getenv("ACME_MISTAKE");
    return word && strcmp(word, mistake) == 0;
}

static int32_t clumsy_infer(const cvr_infer_args *a, cvr_error *err) {
    const int64_t axes = ((const clumsy_attrs *)a->attrs)->axes;
    if (a->inputs[0]->dtype != CVR_F32) return cvr_fail(err, CVR_ERR_INVALID, "acme.clumsy: the input must be f32");
    if (axes && (int64_t)a->inputs[0]->rank != axes) return cvr_fail(err, CVR_ERR_INVALID, "acme.clumsy: other axes");
    if (is("picky") && (a->inputs[0]->rank != 2 || a->inputs[0]->shape[1] != 77))
        return cvr_fail(err, CVR_ERR_INVALID, "acme.clumsy: the input must be (N, 77)");
    *a->outputs[0] = *a->inputs[0];
    if (is("small") && a->inputs[0]->rank && a->outputs[0]->shape[a->inputs[0]->rank - 1] > 1)
        a->outputs[0]->shape[a->inputs[0]->rank - 1]--;
    return CVR_OK;
}

static int32_t clumsy_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    if (is("no_gradient")) return CVR_OK;
    if (!is("gradient"))
        return cvr_emit(b, "acme.clumsy", a->attrs, sizeof(clumsy_attrs), a->grad_outputs, 1, &a->grad_inputs[0], err);
    a->grad_inputs[0] = a->grad_outputs[0];
    return CVR_OK;
}

/* What is wrong with memory and with numbers. */
static void spoil(const cvr_kernel_args *a, float *x, float *y, int64_t n) {
    static int calls;
    calls++;
    if (is("past")) y[n] = 1;
    if (is("far_past"))
        for (int64_t i = 0; i < 100000000; i++) y[n + i] = 1;
    if (is("before")) y[-1] = 1;
    if (is("input") && n > 0) x[n - 1] = 7;
    if (is("workspace") && a->workspace) ((char *)a->workspace)[a->workspace_size] = 1;
    if (is("part") && n > 0) memcpy(&y[n - 1], &(const uint32_t){0x7FA5C3E1}, 4);
    if (is("nan") && n > 0) y[n / 2] = NAN;
    if (is("random") && n > 0) y[0] += (float)calls;
    if (is("threads") && n > 0) y[0] += (float)a->pool->n_workers;
    if (is("descriptor")) a->outputs[0]->shape[0] = 0;
    if (is("print")) printf("hello from the kernel\n");
}

static int32_t fail_at_once(cvr_error *err) {
    if (is("exit")) exit(3);
    if (is("abort")) abort();
    if (is("fault")) *(volatile int *)NULL = 1;
    if (is("sleep")) sleep(1000);
    if (is("silent")) return CVR_ERR_INVALID;
    if (is("status")) return 9999;
    return is("refuses") ? cvr_fail(err, CVR_ERR_INVALID, "acme.clumsy: I do not like this batch") : CVR_OK;
}

static int32_t run(const cvr_kernel_args *a, float factor, cvr_error *err) {
    float *x = a->inputs[0]->data, *y = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->outputs[0]->rank, a->outputs[0]->shape);
    CVR_TRY(fail_at_once(err));
    if (is("nothing")) return CVR_OK;
    if (is("in_place")) memset(y, 0, (size_t)n * sizeof *y);
    for (int64_t i = 0; i < n; i++) y[i] = factor * x[i];
    if (is("read_past")) y[0] = x[n] * 0 + y[0];
    if (is("small")) y[n] = 0;
    spoil(a, x, y, n);
    return CVR_OK;
}

static int32_t reference_run(const cvr_kernel_args *a, cvr_error *err) {
    return run(a, 2, err);
}

static int32_t cpu_run(const cvr_kernel_args *a, cvr_error *err) {
    return run(a, is("differs") ? 2.001f : 2, err);
}

static int32_t cpu_supports(const cvr_signature *s, cvr_error *reason) {
    static int calls;
    (void)s;
    if (getenv("ACME_REFERENCE_ONLY") || (is("supports") && ++calls % 2))
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "not today");
    return CVR_OK;
}

static uint64_t workspace(const cvr_signature *s) {
    (void)s;
    return is("greedy") ? UINT64_MAX / 2 : is("workspace") ? 100 : 0;
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    return cvr_emit(b, "acme.clumsy", attrs, sizeof(clumsy_attrs), in, n_in, out, err);
}

static const cvr_op_desc clumsy_op = {.struct_size = sizeof clumsy_op,
                                      .name = "acme.clumsy",
                                      .version = 1,
                                      .flags = CVR_OP_ORDER_FREE,
                                      .min_inputs = 1,
                                      .max_inputs = 1,
                                      .n_outputs = 1,
                                      .n_attrs = 1,
                                      .attrs = clumsy_schema,
                                      .infer = clumsy_infer,
                                      .grad = clumsy_grad,
                                      .doc = "y = 2x"};
static const cvr_cpu_fn reference_fn = {sizeof reference_fn, reference_run}, cpu_fn = {sizeof cpu_fn, cpu_run};
static const cvr_kernel_desc reference_kernel = {.struct_size = sizeof reference_kernel,
                                                 .op = "acme.clumsy",
                                                 .backend = "reference",
                                                 .payload_kind = CVR_PAYLOAD_CPU_FN,
                                                 .payload = &reference_fn,
                                                 .op_version = 1,
                                                 .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE,
                                                 .inplace = 1,
                                                 .workspace = workspace};
static const cvr_kernel_desc cpu_kernel = {.struct_size = sizeof cpu_kernel,
                                           .op = "acme.clumsy",
                                           .backend = "cpu",
                                           .payload_kind = CVR_PAYLOAD_CPU_FN,
                                           .payload = &cpu_fn,
                                           .op_version = 1,
                                           .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE,
                                           .inplace = 1,
                                           .supports = cpu_supports,
                                           .workspace = workspace};
static const cvr_layer_desc clumsy_layer = {.struct_size = sizeof clumsy_layer,
                                            .name = "acme.clumsy",
                                            .doc = "y = 2x",
                                            .n_attrs = 1,
                                            .min_inputs = 1,
                                            .max_inputs = 1,
                                            .n_outputs = 1,
                                            .attrs = clumsy_schema,
                                            .build = build};

/* ACME_UNSTEADY=cpu: the cpu kernel does not promise the same bits each time; all: nor does the reference. */
static int32_t add_kernel(const cvr_registrar *r, const cvr_kernel_desc *kernel, cvr_error *err) {
    const char *unsteady = getenv("ACME_UNSTEADY");
    cvr_kernel_desc k = *kernel;
    if (unsteady && (strcmp(unsteady, "all") == 0 || strcmp(unsteady, k.backend) == 0))
        k.flags &= ~CVR_KERNEL_DETERMINISTIC;
    return r->add(r, CVR_KIND_KERNEL, &k, err);
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_OP, &clumsy_op, err));
    CVR_TRY(add_kernel(r, &reference_kernel, err));
    CVR_TRY(add_kernel(r, &cpu_kernel, err));
    return r->add(r, CVR_KIND_LAYER, &clumsy_layer, err);
}

CVR_DEFINE_PLUGIN("com.acme.clumsy", "1.0.0", "", load)
