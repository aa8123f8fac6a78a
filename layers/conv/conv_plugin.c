/* The plugin "layer_conv": convolution ops, their reference kernels, and the layers made of them. */
#include "conv_family.h"

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, conv_ops, CONV_OPS, err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &conv_act_op, err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &conv_stats_op, err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &conv_norm_op, err));
    for (int i = 0; i < CONV_LAYERS; i++) CVR_TRY(r->add(r, CVR_KIND_LAYER, conv_layers[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("layer_conv", "0.1.0", "", load)
