/* The plugin "optimizers". */
#include "optimizers.h"

static int32_t add_family(const cvr_registrar *r, const optimizer_family *f, cvr_error *err) {
    const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                    .op = f->op.name,
                                    .backend = "reference",
                                    .payload_kind = CVR_PAYLOAD_CPU_FN,
                                    .payload = &f->reference,
                                    .op_version = f->op.version,
                                    .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};
    int32_t status = r->add(r, CVR_KIND_OP, &f->op, err);
    if (status == CVR_OK) status = r->add(r, CVR_KIND_KERNEL, &kernel, err);
    for (uint32_t i = 0; i < f->n_optimizers && status == CVR_OK; i++)
        status = r->add(r, CVR_KIND_OPTIMIZER, f->optimizers[i], err);
    return status;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    int32_t status = add_family(r, &optimizer_sgd, err);
    if (status == CVR_OK) status = add_family(r, &optimizer_adam, err);
    return status == CVR_OK ? add_family(r, &optimizer_rmsprop, err) : status;
}

static const cvr_plugin plugin = {.magic = CVR_PLUGIN_MAGIC,
                                  .struct_size = sizeof plugin,
                                  .abi_major = CVR_ABI_MAJOR,
                                  .abi_minor = CVR_ABI_MINOR,
                                  .min_host_minor = CVR_ABI_MINOR,
                                  .id = "optimizers",
                                  .version = "0.1.0",
                                  .sanitizer = CVR_SANITIZER,
                                  .requires_ = "",
                                  .load = load};

const cvr_plugin *cvr_plugin_query(uint32_t host_major, uint32_t host_minor) {
    (void)host_major, (void)host_minor;
    return &plugin;
}
