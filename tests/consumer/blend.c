/*
 * acme.blend: a batch in which each sample is blended with the one before it, the first with the last, and its label
 * with the other's. params: [0] the share that stays, between `least` and 1.
 */
#include <cvr/plugin/plugin.h>

typedef struct blend_attrs {
    double least;
} blend_attrs;

static int32_t blend_params(const void *attrs, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const double least = ((const blend_attrs *)attrs)->least;
    (void)s, (void)err;
    params[0] = least + (1 - least) * cvr_rng_uniform(rng);
    return CVR_OK;
}

/* x: (n, size) f32. From the last to the first, so that only the last has to be remembered. */
static void blend_rows(float *x, int64_t n, int64_t size, float stays) {
    for (int64_t e = 0; e < size; e++) {
        const float last = x[(n - 1) * size + e];
        for (int64_t i = n - 1; i >= 0; i--) {
            const float other = i ? x[(i - 1) * size + e] : last;
            x[i * size + e] = stays * x[i * size + e] + (1 - stays) * other;
        }
    }
}

/* Pictures are normalised, f32 (N, C, H, W); labels are shares already, f32 (N, classes), since `softens` is set. */
static int32_t blend_batch(const void *attrs, const double *params, const cvr_augment_batch *batch, cvr_error *err) {
    const cvr_batch_view *const b = batch->batch;
    (void)attrs;
    for (uint32_t i = 0; i < b->n_fields; i++) {
        const cvr_named_tensor *const f = b->fields[i];
        const cvr_tensor *const x = &f->tensor;
        if (strcmp(f->kind, CVR_FIELD_IMAGE) != 0 && strcmp(f->kind, CVR_FIELD_LABEL) != 0) continue;
        if (x->dtype != CVR_F32) return cvr_fail(err, CVR_ERR_INVALID, "acme.blend: field '%s' is not f32", f->name);
        blend_rows(x->data, b->n, cvr_numel(x->rank, x->shape) / b->n, (float)params[0]);
    }
    return CVR_OK;
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "least", "0.5", "least share of a picture that stays", CVR_ATTR_PLACE_BETWEEN(0, 1)),
};
static const char *const kinds[] = {CVR_FIELD_LABEL};

static const cvr_augment_desc blend = {.struct_size = sizeof blend,
                                       .name = "acme.blend",
                                       .doc = "Each picture blended with another of the batch",
                                       .n_attrs = 1,
                                       .n_params = 1,
                                       .attrs = schema,
                                       .stage = CVR_STAGE_BATCH,
                                       .n_kinds = 1,
                                       .kinds = kinds,
                                       .moves = 1,
                                       .softens = 1,
                                       .make_params = blend_params,
                                       .apply_batch = blend_batch};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_AUGMENT, &blend, err);
}

CVR_DEFINE_PLUGIN("com.acme.blend", "1.0.0", "", load)
