/* The plugin "layer_norm". */
#include "norm_family.h"

static int32_t add_family(const cvr_registrar *r, const norm_family *f, cvr_error *err) {
    CVR_TRY(cvr_add_reference_ops(r, f->ops, f->n_ops, err));
    for (uint32_t i = 0; i < f->n_layers; i++) CVR_TRY(r->add(r, CVR_KIND_LAYER, &f->layers[i], err));
    return CVR_OK;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(add_family(r, &norm_batch, err));
    CVR_TRY(add_family(r, &norm_batch_act, err));
    CVR_TRY(add_family(r, &norm_layer, err));
    CVR_TRY(add_family(r, &norm_group, err));
    return add_family(r, &norm_l2, err);
}

CVR_DEFINE_PLUGIN("layer_norm", "0.1.0", "op:relu op:relu6 op:silu", load)
