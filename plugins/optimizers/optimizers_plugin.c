/* The plugin "optimizers". */
#include "optimizers.h"

static int32_t add_family(const cvr_registrar *r, const optimizer_family *f, cvr_error *err) {
    CVR_TRY(cvr_add_reference_ops(r, &f->update, 1, err));
    if (cvr_op_trait(&f->update.op, CVR_TRAIT_MULTI_TENSOR)) {
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
    CVR_TRY(cvr_add_reference_ops(r, optimizer_running, 2, err));
    CVR_TRY(cvr_add_reference_ops(r, &optimizer_guard, 1, err));
    for (uint32_t i = 0; i < sizeof families / sizeof *families; i++) CVR_TRY(add_family(r, families[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("optimizers", "0.1.0", "", load)
