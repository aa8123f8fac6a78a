/* Losses of the overlap of two boxes, with their slopes along the sides of the first (emit_box_loss.c). */
#ifndef PJRT_EMIT_BOX_LOSS_H
#define PJRT_EMIT_BOX_LOSS_H

#include "emit_boxes.h"
#include <cvr/plugin/ops/detect_loss.h>

/* 1 - overlap; kind: CVR_BOX_GIOU, _DIOU, _CIOU or _SQUARED_IOU. Boxes should lie near 0, where f32 holds more. */
hlo_value overlap_loss(hlo *h, int64_t kind, const boxes *box, const boxes *object, hlo_value slope[4]);

#endif
