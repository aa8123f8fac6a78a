/*
 * Updates are left out by what the host's scalars say: in the last train.close_mosaic epochs, or for all batches but the
 * run's first.
 */
#include <cvr/plugin/plugin.h>

typedef struct closing_settings {
    int64_t veto_closing, veto_samples;
} closing_settings;

static const cvr_attr_desc *const keys[] = {
    CVR_ATTR(BOOL, "veto_closing", "no", "nothing is learned in the epochs that mosaics are left out of"),
    CVR_ATTR(BOOL, "veto_samples", "no", "nothing is learned once there were pictures"),
};

static int32_t run(const cvr_gradients *g, cvr_error *err) {
    const closing_settings *const s = g->attrs;
    const cvr_cast_attrs to = {CVR_F32};
    cvr_value v;
    if (s->veto_closing) {
        CVR_TRY(g->builder->scalar(g->builder, "closing", CVR_F32, &v, err));
        CVR_TRY(g->veto(g, "veto_closing", v, err));
    }
    if (s->veto_samples) {
        CVR_TRY(g->builder->scalar(g->builder, "samples", CVR_I64, &v, err));
        CVR_TRY(cvr_emit(g->builder, "cast", &to, sizeof to, &v, 1, &v, err));
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
    return r->add(r, CVR_KIND_GRADIENT, &closing, err);
}

CVR_DEFINE_PLUGIN("test.closing", "1.0.0", "", load)
