/* The plugin "layer_detect_loss". */
#include "detect_loss_family.h"

static const detect_loss_family *const families[] = {&detect_class_targets, &detect_focal,    &detect_quality,
                                                     &detect_entropy,       &detect_box_loss, &detect_centerness,
                                                     &detect_mask_loss};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (size_t i = 0; i < DETECT_COUNT(families); i++)
        CVR_TRY(cvr_add_reference_ops(r, families[i]->ops, families[i]->n, err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("layer_detect_loss", "0.1.0", "", load)
