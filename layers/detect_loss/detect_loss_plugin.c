/* The plugin "layer_detect_loss". */
#include "detect_loss_family.h"

static int32_t add_family(const cvr_registrar *r, const detect_loss_family *f, cvr_error *err) {
    for (uint32_t i = 0; i < f->n; i++) {
        const detect_loss_op *o = &f->ops[i];
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = o->op.name,
                                        .backend = "reference",
                                        .payload_kind = CVR_PAYLOAD_CPU_FN,
                                        .payload = &o->reference,
                                        .op_version = o->op.version,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE,
                                        .inplace = o->inplace,
                                        .workspace = o->workspace};
        CVR_TRY(r->add(r, CVR_KIND_OP, &o->op, err));
        CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
    return CVR_OK;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(add_family(r, &detect_class_targets, err));
    CVR_TRY(add_family(r, &detect_focal, err));
    CVR_TRY(add_family(r, &detect_entropy, err));
    CVR_TRY(add_family(r, &detect_box_loss, err));
    CVR_TRY(add_family(r, &detect_centerness, err));
    return add_family(r, &detect_mask_loss, err);
}

CVR_DEFINE_PLUGIN("layer_detect_loss", "0.1.0", "", load)
