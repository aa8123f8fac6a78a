/* The plugin "layer_shape". */
#include "shape_family.h"

static int32_t add_family(const cvr_registrar *r, const shape_family *f, cvr_error *err) {
    for (uint32_t i = 0; i < f->n_ops; i++) {
        const shape_op *o = &f->ops[i];
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = o->op.name,
                                        .backend = "reference",
                                        .payload_kind = CVR_PAYLOAD_CPU_FN,
                                        .payload = &o->reference,
                                        .op_version = o->op.version,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};
        CVR_TRY(r->add(r, CVR_KIND_OP, &o->op, err));
        if (o->reference.run) CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
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
