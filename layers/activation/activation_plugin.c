/* The plugin "layer_activation". */
#include "activation_family.h"

static int32_t add_layers(const cvr_registrar *r, const cvr_layer_desc *layers, uint32_t n, cvr_error *err) {
    for (uint32_t i = 0; i < n; i++) CVR_TRY(r->add(r, CVR_KIND_LAYER, &layers[i], err));
    return CVR_OK;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, activation_unary_ops, activation_n_unary_ops, err));
    CVR_TRY(cvr_add_reference_ops(r, activation_softmax_ops, activation_n_softmax_ops, err));
    CVR_TRY(cvr_add_reference_ops(r, activation_program_ops, ACTIVATION_PROGRAM_OPS, err));
    CVR_TRY(add_layers(r, activation_unary_layers, activation_n_unary_layers, err));
    return add_layers(r, activation_softmax_layers, activation_n_softmax_layers, err);
}

CVR_DEFINE_PLUGIN("layer_activation", "0.1.0", "", load)
