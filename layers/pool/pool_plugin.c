/* The plugin "layer_pool": pooling ops, their reference kernels, and the layers made of them. */
#include "pool_family.h"

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, pool_ops, POOL_OPS, err));
    for (int i = 0; i < POOL_LAYERS; i++) CVR_TRY(r->add(r, CVR_KIND_LAYER, pool_layers[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("layer_pool", "0.1.0", "", load)
