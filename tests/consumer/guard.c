/*
 * acme.guard: a stranger's hand on the gradients. train.acme_mask leaves parameters out whose names begin so, and
 * train.acme_skip lets no update happen in the first steps. It also counts, in the checkpoint, how often it was built.
 */
#include <cvr/plugin/plugin.h>

typedef struct guard_settings {
    const char *mask;
    int64_t skip;
} guard_settings;

static const cvr_attr_desc *const keys[] = {
    CVR_ATTR(STRING, "acme_mask", "", "parameters that are not updated: what their names begin with"),
    CVR_ATTR(INT, "acme_skip", "0", "steps at the beginning that update nothing", CVR_ATTR_AT_LEAST(0)),
};

/* ---- acme.zero: y = 0, of x's shape ---- */

static int32_t zero_infer(const cvr_infer_args *a, cvr_error *err) {
    (void)err;
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t zero_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    memset(a->outputs[0]->data, 0, (size_t)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape) * sizeof(float));
    return CVR_OK;
}

/* ---- acme.before: step () i64 -> () f32, 1 where step < limit ---- */

static const cvr_attr_desc *const before_attrs[] = {CVR_ATTR(INT, "limit", NULL, "first step that is not before")};

static int32_t before_infer(const cvr_infer_args *a, cvr_error *err) {
    (void)err;
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    return CVR_OK;
}

static int32_t before_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t *limit = a->attrs, *step = a->inputs[0]->data;
    *(float *)a->outputs[0]->data = *step < *limit ? 1.0f : 0.0f;
    return CVR_OK;
}

static const cvr_op_desc ops[2] = {{.struct_size = sizeof(cvr_op_desc),
                                    .name = "acme.zero",
                                    .version = 1,
                                    .flags = CVR_OP_ORDER_FREE,
                                    .min_inputs = 1,
                                    .max_inputs = 1,
                                    .n_outputs = 1,
                                    .infer = zero_infer,
                                    .doc = "y = 0"},
                                   {.struct_size = sizeof(cvr_op_desc),
                                    .name = "acme.before",
                                    .version = 1,
                                    .min_inputs = 1,
                                    .max_inputs = 1,
                                    .n_outputs = 1,
                                    .n_attrs = 1,
                                    .attrs = before_attrs,
                                    .infer = before_infer,
                                    .doc = "1 where step < limit, else 0"}};
static const cvr_cpu_fn runs[2] = {{sizeof(cvr_cpu_fn), zero_run}, {sizeof(cvr_cpu_fn), before_run}};

/* ---- the plugin ---- */

static int32_t count_builds(const cvr_host *host, cvr_error *err) {
    const cvr_state_service *state = host->get(host, CVR_SERVICE_STATE);
    char line[80];
    int64_t builds = 0;
    uint64_t n = 0;
    if (!state) return CVR_OK;
    const void *kept = state->get(state, "acme.builds", &n);
    if (kept && n == sizeof builds) memcpy(&builds, kept, sizeof builds);
    (void)snprintf(line, sizeof line, "acme.guard was built %d times before", (int)builds);
    host->log(host, CVR_LOG_INFO, line);
    builds++;
    return state->put(state, "acme.builds", &builds, sizeof builds, err);
}

static int32_t run(const cvr_gradients *g, cvr_error *err) {
    const guard_settings *s = g->attrs;
    cvr_value step, early;
    for (uint64_t i = 0; *s->mask && i < g->n; i++) {
        cvr_value zero;
        if (strncmp(g->all[i]->name, s->mask, strlen(s->mask)) != 0) continue;
        CVR_TRY(cvr_emit(g->builder, "acme.zero", NULL, 0, &g->all[i]->grad, 1, &zero, err));
        CVR_TRY(g->replace(g, i, zero, err));
    }
    if (*s->mask || s->skip) CVR_TRY(count_builds(g->host, err));
    if (!s->skip) return CVR_OK;
    CVR_TRY(g->builder->scalar(g->builder, "step", CVR_I64, &step, err));
    CVR_TRY(cvr_emit(g->builder, "acme.before", &s->skip, sizeof s->skip, &step, 1, &early, err));
    return g->veto(g, "acme.early", early, err);
}

static const cvr_gradient_desc guard = {.struct_size = sizeof guard,
                                        .name = "acme.guard",
                                        .doc = "masks gradients, and skips updates",
                                        .n_attrs = 2,
                                        .attrs = keys,
                                        .run = run};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (int i = 0; i < 2; i++) {
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = ops[i].name,
                                        .backend = "reference",
                                        .payload_kind = CVR_PAYLOAD_CPU_FN,
                                        .payload = &runs[i],
                                        .op_version = 1,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};
        CVR_TRY(r->add(r, CVR_KIND_OP, &ops[i], err));
        CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
    return r->add(r, CVR_KIND_GRADIENT, &guard, err);
}

CVR_DEFINE_PLUGIN("com.acme.guard", "1.0.0", "", load)
