/* The plugin "optimizers". */
#include "optimizers.h"

static int32_t add_op(const cvr_registrar *r, const cvr_op_desc *op, const cvr_cpu_fn *reference, cvr_error *err) {
    const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                    .op = op->name,
                                    .backend = "reference",
                                    .payload_kind = CVR_PAYLOAD_CPU_FN,
                                    .payload = reference,
                                    .op_version = op->version,
                                    .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};
    CVR_TRY(r->add(r, CVR_KIND_OP, op, err));
    return r->add(r, CVR_KIND_KERNEL, &kernel, err);
}

static int32_t add_family(const cvr_registrar *r, const optimizer_family *f, cvr_error *err) {
    CVR_TRY(add_op(r, &f->op, &f->reference, err));
    if (cvr_op_trait(&f->op, CVR_TRAIT_MULTI_TENSOR)) {
        const cvr_op_desc many = optimizer_many(f);
        CVR_TRY(r->add(r, CVR_KIND_OP, &many, err));
    }
    for (uint32_t i = 0; i < f->n_optimizers; i++) CVR_TRY(r->add(r, CVR_KIND_OPTIMIZER, f->optimizers[i], err));
    return CVR_OK;
}

static const optimizer_family *const families[] = {&optimizer_sgd,   &optimizer_adam, &optimizer_rmsprop,
                                                   &optimizer_nadam, &optimizer_lion, &optimizer_lamb,
                                                   &optimizer_lars};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (uint32_t i = 0; i < 2; i++) CVR_TRY(add_op(r, &optimizer_running[i].op, &optimizer_running[i].reference, err));
    for (uint32_t i = 0; i < sizeof families / sizeof *families; i++) CVR_TRY(add_family(r, families[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("optimizers", "0.1.0", "", load)
