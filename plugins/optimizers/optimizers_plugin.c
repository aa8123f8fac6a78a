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
    const cvr_op_desc many = optimizer_many(f);
    int32_t status = r->add(r, CVR_KIND_OP, &f->op, err);
    if (status == CVR_OK) status = r->add(r, CVR_KIND_OP, &many, err);
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

CVR_DEFINE_PLUGIN("optimizers", "0.1.0", "", load)
