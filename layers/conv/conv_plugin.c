/* The plugin "layer_conv": convolution ops, their reference kernels, and the layers made of them. */
#include "conv.h"

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    int32_t status = CVR_OK;
    (void)host;
    for (int i = 0; status == CVR_OK && i < CONV_OPS; i++) status = r->add(r, CVR_KIND_OP, conv_ops[i], err);
    if (status == CVR_OK) status = r->add(r, CVR_KIND_OP, &conv_act_op, err);
    if (status == CVR_OK) status = r->add(r, CVR_KIND_OP, &conv_stats_op, err);
    if (status == CVR_OK) status = r->add(r, CVR_KIND_OP, &conv_norm_op, err);
    for (int i = 0; status == CVR_OK && i < CONV_OPS; i++)
        status = r->add(r, CVR_KIND_KERNEL, conv_reference_kernels[i], err);
    for (int i = 0; status == CVR_OK && i < CONV_LAYERS; i++) status = r->add(r, CVR_KIND_LAYER, conv_layers[i], err);
    return status;
}

CVR_DEFINE_PLUGIN("layer_conv", "0.1.0", "", load)
