/* The plugin "layer_arith". */
#include "arith_family.h"

static int32_t add_family(const cvr_registrar *r, const arith_family *f, cvr_error *err) {
    CVR_TRY(cvr_add_reference_ops(r, f->ops, f->n_ops, err));
    for (uint32_t i = 0; i < f->n_layers; i++) CVR_TRY(r->add(r, CVR_KIND_LAYER, &f->layers[i], err));
    return CVR_OK;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(add_family(r, &arith_broadcast, err));
    CVR_TRY(add_family(r, &arith_expand, err));
    return add_family(r, &arith_reduce, err);
}

CVR_DEFINE_PLUGIN("layer_arith", "0.1.0", "", load)
