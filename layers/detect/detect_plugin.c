/* The plugin "layer_detect": ops that object detection is made of. Networks emit them; no recipe names them. */
#include "detect_family.h"

static const detect_family *const families[] = {
    &detect_grid_anchors, &detect_default_boxes, &detect_box_coder,   &detect_clip_boxes,  &detect_box_iou,
    &detect_match_boxes,  &detect_match_points,  &detect_sample_rows, &detect_gather_rows, &detect_append_rows,
    &detect_cut_match,    &detect_top_k,         &detect_nms,         &detect_sim_ota,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        CVR_TRY(cvr_add_reference_ops(r, families[i]->ops, families[i]->n_ops, err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("layer_detect", "0.1.0", "", load)
