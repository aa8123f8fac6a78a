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

static const cvr_plugin plugin = {
    .magic = CVR_PLUGIN_MAGIC,
    .struct_size = sizeof plugin,
    .abi_major = CVR_ABI_MAJOR,
    .abi_minor = CVR_ABI_MINOR,
    .min_host_minor = CVR_ABI_MINOR,
    .id = "layer_pool",
    .version = "0.1.0",
    .sanitizer = CVR_SANITIZER,
    .requires_ = "",
    .load = load,
};

const cvr_plugin *cvr_plugin_query(uint32_t host_major, uint32_t host_minor) {
    (void)host_major;
    (void)host_minor;
    return &plugin;
}
