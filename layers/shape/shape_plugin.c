/* The plugin "layer_shape". */
#include "shape_family.h"

static int32_t add_family(const cvr_registrar *r, const shape_family *f, cvr_error *err) {
    CVR_TRY(cvr_add_reference_ops(r, f->ops, f->n_ops, err));
    for (uint32_t i = 0; i < f->n_layers; i++) CVR_TRY(r->add(r, CVR_KIND_LAYER, &f->layers[i], err));
    return CVR_OK;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    static const shape_family *const families[] = {&shape_view,   &shape_order,  &shape_move, &shape_pieces,
                                                   &shape_tokens, &shape_window, &shape_take};
    for (uint32_t i = 0; i < sizeof families / sizeof *families; i++) CVR_TRY(add_family(r, families[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("layer_shape", "0.1.0", "", load)
