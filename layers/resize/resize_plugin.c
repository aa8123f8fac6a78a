/* The plugin "layer_resize": the upsample op, its reference kernels, and the layer torch.nn.Upsample. */
#include "resize_family.h"

static const cvr_attr_desc size = CVR_ATTR_INIT(INTS, "size", "", "size of the output: both, or height,width",
                                                .count = 2, CVR_ATTR_PLACE_BETWEEN(1, RESIZE_MAX));
static const cvr_attr_desc scale_factor = CVR_ATTR_INIT(
    FLOATS, "scale_factor", "", "instead of size: both, or height,width", .count = 2, CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc *const layer_attrs[] = {&size, &scale_factor, &resize_mode, &resize_align_corners};

typedef struct upsample_settings {
    int64_t n_size;
    int64_t size[2];
    int64_t n_scale_factor;
    double scale_factor[2];
    int64_t mode;
    int64_t align_corners;
} upsample_settings;

/* The output's size: as given, or floor(size of x * scale_factor). */
static int32_t output_size(const upsample_settings *s, const cvr_type *x, cvr_upsample_attrs *op, cvr_error *err) {
    for (int i = 0; i < 2; i++) {
        if (s->n_size) {
            op->size[i] = s->size[s->n_size == 2 ? i : 0];
            continue;
        }
        op->scale_factor[i] = s->scale_factor[s->n_scale_factor == 2 ? i : 0];
        const double out = floor((double)x->shape[2 + i] * op->scale_factor[i]);
        if (!(out >= 1 && out <= RESIZE_MAX))
            return cvr_fail(err, CVR_ERR_INVALID, "scale_factor=%g makes a picture of %g pixels from x %s",
                            op->scale_factor[i], out, cvr_shape_of(x).text);
        op->size[i] = (int64_t)out;
    }
    return CVR_OK;
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                     cvr_value *outputs, cvr_error *err) {
    const upsample_settings *s = attrs;
    const cvr_type *x = b->type(b, inputs[0]);
    cvr_upsample_attrs op = {.mode = s->mode, .align_corners = s->align_corners};
    (void)n_inputs;
    if ((s->n_size != 0) == (s->n_scale_factor != 0))
        return cvr_fail(err, CVR_ERR_INVALID, "upsample needs either size or scale_factor, and not both");
    if (s->align_corners && s->mode != CVR_UPSAMPLE_BILINEAR)
        return cvr_fail(err, CVR_ERR_INVALID, "align_corners=yes is for mode=bilinear");
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "upsample needs an input (N,C,H,W); this one is %s",
                        cvr_shape_of(x).text);
    CVR_TRY(output_size(s, x, &op, err));
    return cvr_emit(b, "upsample", &op, sizeof op, inputs, 1, outputs, err);
}

CVR_STATIC_ASSERT(sizeof(upsample_settings) == 8 * (3 + 3 + 2), "settings must match the schema");

static const cvr_layer_desc layer = {.struct_size = sizeof(cvr_layer_desc),
                                     .name = "upsample",
                                     .doc = "resize by nearest or bilinear interpolation (torch.nn.Upsample)",
                                     .n_attrs = sizeof layer_attrs / sizeof *layer_attrs,
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .n_outputs = 1,
                                     .attrs = layer_attrs,
                                     .build = build};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, resize_ops, RESIZE_OPS, err));
    return r->add(r, CVR_KIND_LAYER, &layer, err);
}

CVR_DEFINE_PLUGIN("layer_resize", "0.1.0", "", load)
