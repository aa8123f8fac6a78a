/* The plugin "layer_shape". */
#include "shape.h"

static int32_t add_family(const cvr_registrar *r, const shape_family *f, cvr_error *err) {
    int32_t status = CVR_OK;
    for (uint32_t i = 0; i < f->n_ops && status == CVR_OK; i++) {
        const shape_op *o = &f->ops[i];
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = o->op.name,
                                        .backend = "reference",
                                        .payload_kind = CVR_PAYLOAD_CPU_FN,
                                        .payload = &o->reference,
                                        .op_version = o->op.version,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};
        status = r->add(r, CVR_KIND_OP, &o->op, err);
        if (status == CVR_OK && o->reference.run) status = r->add(r, CVR_KIND_KERNEL, &kernel, err);
    }
    for (uint32_t i = 0; i < f->n_layers && status == CVR_OK; i++)
        status = r->add(r, CVR_KIND_LAYER, &f->layers[i], err);
    return status;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    static const shape_family *const families[] = {&shape_view, &shape_order, &shape_move, &shape_pieces,
                                                   &shape_tokens};
    int32_t status = CVR_OK;
    for (uint32_t i = 0; i < sizeof families / sizeof *families && status == CVR_OK; i++)
        status = add_family(r, families[i], err);
    return status;
}

CVR_DEFINE_PLUGIN("layer_shape", "0.1.0", "", load)
