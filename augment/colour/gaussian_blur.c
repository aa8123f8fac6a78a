/*
 * gaussian_blur (torchvision v2 GaussianBlur, within RandomApply where p is below 1). params: [0] sigma, 0 to leave the
 * picture.
 */
#include "../image_blur.h"
#include "../transforms.h"

typedef struct gaussian_blur_attrs {
    size_attr kernel_size; /* width, height */
    struct {
        int64_t n;
        double x[2];
    } sigma;
    double p;
} gaussian_blur_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const gaussian_blur_attrs *const a = self;
    for (int64_t i = 0; i < a->kernel_size.n; i++) {
        if (a->kernel_size.x[i] % 2 == 0)
            return cvr_fail(err, CVR_ERR_USAGE, "gaussian_blur: kernel_size = %lld must be odd",
                            (long long)a->kernel_size.x[i]);
    }
    if (a->kernel_size.n < 1 || a->sigma.n < 1 || a->sigma.x[0] <= 0 || a->sigma.x[a->sigma.n - 1] < a->sigma.x[0])
        return cvr_fail(err, CVR_ERR_USAGE, "gaussian_blur: give kernel_size, and a sigma above 0, or min,max");
    return CVR_OK;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const gaussian_blur_attrs *const a = self;
    (void)s, (void)err;
    params[0] = 0;
    if (a->p < 1 && !draw_chance(rng, a->p)) return CVR_OK;
    params[0] = draw_between(rng, a->sigma.x[0], a->sigma.x[a->sigma.n - 1]);
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const size_attr *const size = &((const gaussian_blur_attrs *)self)->kernel_size;
    const image_blur blur = {{size->x[0], size->x[size->n - 1]}, {params[0], params[0]}, "gaussian_blur"};
    image im, out;
    cvr_field *field = NULL;
    if (params[0] == 0) return CVR_OK;
    CVR_TRY(image_get(s, &im, &field, err));
    CVR_TRY(image_blur_run(s, &blur, &im, &out, err));
    image_set(field, &out);
    return CVR_OK;
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(INTS, "kernel_size", NULL, "side of the kernel, or width,height; odd", .count = 2,
             CVR_ATTR_PLACE_BETWEEN(1, 255)),
    CVR_ATTR(FLOATS, "sigma", "0.1,2", "standard deviation in pixels, or min,max", .count = 2, CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOAT, "p", "1", "probability", CVR_ATTR_BETWEEN(0, 1)),
};

const cvr_augment_desc transform_gaussian_blur = {
    .struct_size = sizeof transform_gaussian_blur,
    .name = "gaussian_blur",
    .doc = "Blurred with a Gaussian of random width",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 1,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
