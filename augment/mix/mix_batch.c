/*
 * mixup (torchvision v2 MixUp; Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2017) and cutmix (CutMix; Yun
 * et al., 2019): each sample of a batch with the one before it, the first with the last; labels become shares of the
 * two classes. params, of both, as op batch_mix takes them: [0] 1 mixup, 2 cutmix (0: neither), [1] lambda, the share
 * that stays, [2] to [5] top, left, bottom and right of what cutmix takes from the other picture.
 */
#include "../draw_gamma.h"
#include "../transforms.h"
#include <cvr/plugin/ops/image.h>
#include <math.h>

typedef struct mix_batch_attrs {
    double alpha;
} mix_batch_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const double alpha = ((const mix_batch_attrs *)self)->alpha;
    return alpha > 0 && isfinite(alpha) ? CVR_OK
                                        : cvr_fail(err, CVR_ERR_USAGE, "alpha = %g; it must be above 0", alpha);
}

/* From Beta(alpha, alpha); a float, as torch draws it, so that host and device use the same number. */
static double draw_beta(cvr_rng *rng, double alpha) {
    const double a = draw_log_gamma(rng, alpha), b = draw_log_gamma(rng, alpha);
    return (float)(1 / (1 + exp(b - a)));
}

static int32_t mixup_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)s;
    (void)err;
    memset(params, 0, 6 * sizeof *params);
    params[0] = CVR_BATCH_MIX_MIXUP;
    params[1] = draw_beta(rng, ((const mix_batch_attrs *)self)->alpha);
    return CVR_OK;
}

/* [*lo, *hi) reaches `half` to either side of a random place, as far as the side goes. */
static void draw_side(cvr_rng *rng, int64_t side, double r, double *lo, double *hi) {
    const int64_t at = (int64_t)cvr_rng_below(rng, (uint64_t)side), half = (int64_t)(r * (double)side);
    *lo = (double)(at - half > 0 ? at - half : 0);
    *hi = (double)(at + half < side ? at + half : side);
}

static int32_t cutmix_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const cvr_field *const f = s ? cvr_sample_find(s, CVR_FIELD_IMAGE) : NULL;
    if (!f) return cvr_fail(err, CVR_ERR_INVALID, "cutmix: the batch has no pictures");
    const int64_t h = f->shape[0], w = f->shape[1];
    const double r = 0.5 * sqrt(1 - draw_beta(rng, ((const mix_batch_attrs *)self)->alpha));
    params[0] = CVR_BATCH_MIX_CUTMIX;
    draw_side(rng, w, r, &params[3], &params[5]);
    draw_side(rng, h, r, &params[2], &params[4]);
    /* What the clipped box leaves. */
    params[1] = 1 - (params[5] - params[3]) * (params[4] - params[2]) / ((double)w * (double)h);
    return CVR_OK;
}

/* Elements [0, n) of each of `rows` rows that lie `row` apart become x[i] share[0] + x[i - 1] share[1]; without
 * `share`, x[i - 1]. From the last row to the first, so that only the last has to be remembered. */
static void mix_rows(float *x, int64_t rows, int64_t row, int64_t n, const float *share) {
    float last[256];
    for (int64_t at = 0; at < n; at += 256) {
        const int64_t some = n - at < 256 ? n - at : 256;
        memcpy(last, x + (rows - 1) * row + at, (uint64_t)some * sizeof *last);
        for (int64_t i = rows - 1; i >= 0; i--) {
            float *const to = x + i * row + at;
            const float *const from = i ? to - row : last;
            for (int64_t k = 0; k < some && share; k++) to[k] = from[k] * share[1] + to[k] * share[0];
            if (!share) memcpy(to, from, (uint64_t)some * sizeof *to);
        }
    }
}

/* x: (N, C, H, W) f32, in memory (N, H, W, C) */
static void mix_pictures(const cvr_tensor *x, const double *params, const float share[2]) {
    const int64_t n = x->shape[0], c = x->pixel_stride, w = x->shape[3], picture = x->shape[2] * w * c;
    if (params[0] == CVR_BATCH_MIX_MIXUP) {
        mix_rows(x->data, n, picture, picture, share);
        return;
    }
    const int64_t left = (int64_t)params[3], columns = (int64_t)params[5] - left;
    for (int64_t y = (int64_t)params[2]; y < (int64_t)params[4]; y++)
        mix_rows((float *)x->data + (y * w + left) * c, n, picture, columns * c, NULL);
}

static int32_t apply_batch(const void *self, const double *params, const cvr_augment_batch *batch, cvr_error *err) {
    const cvr_batch_view *const b = batch->batch;
    const float share[2] = {(float)params[1], (float)(1 - params[1])};
    (void)self;
    if (params[0] == CVR_BATCH_MIX_NONE) return CVR_OK;
    for (uint32_t i = 0; i < b->n_fields; i++) {
        const cvr_named_tensor *const f = b->fields[i];
        const cvr_tensor *const x = &f->tensor;
        if (strcmp(f->kind, CVR_FIELD_IMAGE) == 0) {
            if (x->dtype != CVR_F32 || x->rank != 4)
                return cvr_fail(err, CVR_ERR_INVALID, "pictures of a batch are mixed once they are normalised");
            mix_pictures(x, params, share);
        } else if (strcmp(f->kind, CVR_FIELD_LABEL) == 0) {
            if (x->dtype != CVR_F32 || x->rank != 2 || x->shape[1] != batch->n_classes)
                return cvr_fail(err, CVR_ERR_INVALID, "field '%s': labels are mixed as one share a class", f->name);
            mix_rows(x->data, x->shape[0], x->shape[1], x->shape[1], share);
        }
    }
    return CVR_OK;
}

static int32_t emit(const cvr_builder *b, const void *self, cvr_value params, cvr_value pixels, cvr_value *out,
                    cvr_error *err) {
    const cvr_value inputs[2] = {pixels, params};
    (void)self;
    return cvr_emit(b, "batch_mix", NULL, 0, inputs, 2, out, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "alpha", "1",
             "lambda is from Beta(alpha, alpha): below 1 it is mostly near 0 or 1, above 1 near one half",
             CVR_ATTR_PLACE_AT_LEAST(0)),
};
static const char *const kinds[] = {CVR_FIELD_LABEL};

const cvr_augment_desc transform_mixup = {
    .struct_size = sizeof transform_mixup,
    .name = "mixup",
    .doc = "Each picture blended with another of the batch, and its label with the other's",
    .n_attrs = 1,
    .n_params = 6,
    .attrs = schema,
    .stage = CVR_STAGE_BATCH,
    .n_kinds = 1,
    .kinds = kinds,
    .moves = 1,
    .softens = 1,
    .check = check,
    .make_params = mixup_params,
    .apply_batch = apply_batch,
    .emit = emit,
};

const cvr_augment_desc transform_cutmix = {
    .struct_size = sizeof transform_cutmix,
    .name = "cutmix",
    .doc = "A rectangle of each picture taken from another of the batch, and as much of its label",
    .n_attrs = 1,
    .n_params = 6,
    .attrs = schema,
    .stage = CVR_STAGE_BATCH,
    .n_kinds = 1,
    .kinds = kinds,
    .moves = 1,
    .softens = 1,
    .check = check,
    .make_params = cutmix_params,
    .apply_batch = apply_batch,
    .emit = emit,
};
