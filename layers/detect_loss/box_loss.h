/* How far a box is from its object, and how that moves with the four deltas. All in double. */
#ifndef CVR_LAYERS_DETECT_LOSS_BOX_LOSS_H
#define CVR_LAYERS_DETECT_LOSS_BOX_LOSS_H

#include "detect_loss_family.h"

/* The loss of one row; slope (4): d loss / d delta. */
double detect_box_row(const cvr_anchor_box_loss_attrs *a, const float *delta, const float *anchor, const float *object,
                      double slope[4]);

/* 1 - overlap of a box and an object, x1, y1, x2, y2; slope (4): d loss / d box. `kind` is CVR_BOX_GIOU, _DIOU or
 * _CIOU. */
double detect_iou_loss(int64_t kind, const double box[4], const double object[4], double slope[4]);

#endif
