/* The plugin "layer_quant": what quantised networks are made of. */
#include "quant_family.h"

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, quant_ops, QUANT_OPS, err));
    CVR_TRY(cvr_add_reference_ops(r, fake_quantize_ops, FAKE_QUANTIZE_OPS, err));
    return cvr_add_reference_ops(r, int8_ops, INT8_OPS, err);
}

CVR_DEFINE_PLUGIN("layer_quant", "0.1.0", "", load)
