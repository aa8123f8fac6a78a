/*
 * Updates are left out by what the host's scalars say: in the last train.close_mosaic epochs, or for all batches but
 * the run's first.
 */
#include <cvr/plugin/plugin.h>

typedef struct closing_settings {
    int64_t veto_closing, veto_samples;
} closing_settings;

static const cvr_attr_desc *const keys[] = {
    CVR_ATTR(BOOL, "veto_closing", "no", "nothing is learned in the epochs that mosaics are left out of"),
    CVR_ATTR(BOOL, "veto_samples", "no", "nothing is learned once there were pictures"),
};

/* test.many: 1 where there were pictures before; (i64) to f32 */
static int32_t many_infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    return a->inputs[0]->dtype == CVR_I64 ? CVR_OK : cvr_fail(err, CVR_ERR_INVALID, "test.many: not i64");
}

static int32_t many_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    *(float *)a->outputs[0]->data = *(const int64_t *)a->inputs[0]->data > 0;
    return CVR_OK;
}

static const cvr_op_desc many = {.struct_size = sizeof many,
                                 .name = "test.many",
                                 .doc = "whether a count is above 0",
                                 .version = 1,
                                 .min_inputs = 1,
                                 .max_inputs = 1,
                                 .n_outputs = 1,
                                 .infer = many_infer};
static const cvr_cpu_fn many_fn = {sizeof(cvr_cpu_fn), many_run};
static const cvr_kernel_desc many_kernel = {.struct_size = sizeof many_kernel,
                                            .op = "test.many",
                                            .backend = "reference",
                                            .payload_kind = CVR_PAYLOAD_CPU_FN,
                                            .payload = &many_fn,
                                            .op_version = 1,
                                            .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};

static int32_t run(const cvr_gradients *g, cvr_error *err) {
    const closing_settings *const s = g->attrs;
    cvr_value v;
    if (s->veto_closing) {
        CVR_TRY(g->builder->scalar(g->builder, "closing", CVR_F32, &v, err));
        CVR_TRY(g->veto(g, "veto_closing", v, err));
    }
    if (s->veto_samples) {
        CVR_TRY(g->builder->scalar(g->builder, "samples", CVR_I64, &v, err));
        CVR_TRY(cvr_emit(g->builder, "test.many", NULL, 0, &v, 1, &v, err));
        CVR_TRY(g->veto(g, "veto_samples", v, err));
    }
    return CVR_OK;
}

static const cvr_gradient_desc closing = {.struct_size = sizeof closing,
                                          .name = "test.closing",
                                          .doc = "leaves updates out by the host's scalars",
                                          .n_attrs = sizeof keys / sizeof *keys,
                                          .attrs = keys,
                                          .run = run};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_OP, &many, err));
    CVR_TRY(r->add(r, CVR_KIND_KERNEL, &many_kernel, err));
    return r->add(r, CVR_KIND_GRADIENT, &closing, err);
}

CVR_DEFINE_PLUGIN("test.closing", "1.0.0", "", load)
