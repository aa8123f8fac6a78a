/* acme.block: a residual block (He et al., "Deep Residual Learning for Image Recognition", 2016) made of layers that
 * exist. */
#include <cvr/plugin/plugin.h>

/* x: (N, C, H, W) -> relu(x + bn(conv(relu(bn(conv(x)))))) */
static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    char conv[64];
    cvr_value x = in[0], sum[2] = {in[0], CVR_NONE};
    (void)attrs, (void)n_in;
    (void)snprintf(conv, sizeof conv, "%lld kernel_size=3 padding=1 bias=no", (long long)b->type(b, x)->shape[1]);
    CVR_TRY(cvr_layer(b, "conv1", "conv2d", conv, x, &x, err));
    CVR_TRY(cvr_layer(b, "bn1", "batch_norm2d", "", x, &x, err));
    CVR_TRY(cvr_layer(b, "relu1", "relu", "", x, &x, err));
    CVR_TRY(cvr_layer(b, "conv2", "conv2d", conv, x, &x, err));
    CVR_TRY(cvr_layer(b, "bn2", "batch_norm2d", "", x, &sum[1], err));
    cvr_layer_call add = {.struct_size = sizeof add, .layer = "add", .name = "add", .inputs = sum, .outputs = &x};
    add.n_inputs = 2;
    add.n_outputs = 1;
    CVR_TRY(b->layer(b, &add, err));
    return cvr_layer(b, "relu2", "relu", "", x, out, err);
}

static const cvr_layer_desc block = {.struct_size = sizeof block,
                                     .name = "acme.block",
                                     .doc = "residual block",
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .n_outputs = 1,
                                     .build = build};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_LAYER, &block, err);
}

CVR_DEFINE_PLUGIN("com.acme.block", "1.0.0", "layer:conv2d layer:batch_norm2d layer:relu layer:add", load)
