/* The plugin "layer_pool": pooling ops, their reference kernels, and the layers made of them. */
#include "pool.h"

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    int32_t status = CVR_OK;
    (void)host;
    for (int i = 0; status == CVR_OK && i < POOL_OPS; i++) status = r->add(r, CVR_KIND_OP, pool_ops[i], err);
    for (int i = 0; status == CVR_OK && i < POOL_OPS; i++)
        status = r->add(r, CVR_KIND_KERNEL, pool_reference_kernels[i], err);
    for (int i = 0; status == CVR_OK && i < POOL_LAYERS; i++) status = r->add(r, CVR_KIND_LAYER, pool_layers[i], err);
    return status;
}

CVR_DEFINE_PLUGIN("layer_pool", "0.1.0", "", load)
