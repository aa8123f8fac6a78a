/* The plugin "layer_loss". */
#include "loss_family.h"

static int32_t add_family(const cvr_registrar *r, const loss_family *f, cvr_error *err) {
    for (uint32_t i = 0; i < f->n_ops; i++) {
        const loss_op *o = &f->ops[i];
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = o->op.name,
                                        .backend = "reference",
                                        .payload_kind = CVR_PAYLOAD_CPU_FN,
                                        .workspace = o->workspace,
                                        .payload = &o->reference,
                                        .op_version = o->op.version,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE,
                                        .inplace = o->inplace};
        CVR_TRY(r->add(r, CVR_KIND_OP, &o->op, err));
        CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
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
