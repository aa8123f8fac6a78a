/* The plugin "layer_detect": ops that object detection is made of. Networks emit them; no recipe names them. */
#include "detect_family.h"

static const detect_family *const families[] = {
    &detect_grid_anchors, &detect_default_boxes, &detect_box_coder,   &detect_clip_boxes,  &detect_box_iou,
    &detect_match_boxes,  &detect_match_points,  &detect_sample_rows, &detect_gather_rows, &detect_append_rows,
    &detect_cut_match,    &detect_top_k,         &detect_nms,
};

static int32_t add_family(const cvr_registrar *r, const detect_family *f, cvr_error *err) {
    for (uint64_t i = 0; i < f->n_ops; i++) {
        const detect_op *o = &f->ops[i];
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = o->op.name,
                                        .backend = "reference",
                                        .payload_kind = CVR_PAYLOAD_CPU_FN,
                                        .workspace = o->workspace,
                                        .payload = &o->reference,
                                        .op_version = o->op.version,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE | o->flags,
                                        .inplace = o->inplace};
        CVR_TRY(r->add(r, CVR_KIND_OP, &o->op, err));
        CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
    return CVR_OK;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) CVR_TRY(add_family(r, families[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("layer_detect", "0.1.0", "", load)
