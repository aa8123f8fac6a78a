/* The plugin "layer_loss". */
#include "loss_family.h"

static int32_t add_family(const cvr_registrar *r, const loss_family *f, cvr_error *err) {
    CVR_TRY(cvr_add_reference_ops(r, f->ops, f->n_ops, err));
    for (uint32_t i = 0; i < f->n_layers; i++) CVR_TRY(r->add(r, CVR_KIND_LAYER, &f->layers[i], err));
    return CVR_OK;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(add_family(r, &loss_cross_entropy, err));
    CVR_TRY(add_family(r, &loss_bce, err));
    CVR_TRY(add_family(r, &loss_distance, err));
    CVR_TRY(add_family(r, &loss_overlap, err));
    CVR_TRY(add_family(r, &loss_focal, err));
    CVR_TRY(add_family(r, &loss_lovasz, err));
    return add_family(r, &loss_ohem, err);
}

CVR_DEFINE_PLUGIN("layer_loss", "0.1.0", "op:log_softmax op:sum op:expand op:mul op:mul_broadcast", load)
