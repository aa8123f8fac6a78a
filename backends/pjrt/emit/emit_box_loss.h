/* Losses of the overlap of two boxes, with their slopes along the sides of the first (emit_box_loss.c). */
#ifndef PJRT_EMIT_BOX_LOSS_H
#define PJRT_EMIT_BOX_LOSS_H

#include "emit_boxes.h"
#include <cvr/plugin/ops/detect_loss.h>

/* 1 - overlap; kind: CVR_BOX_GIOU, _DIOU, _CIOU or _SQUARED_IOU. Boxes should lie near 0, where f32 holds more. */
hlo_value overlap_loss(hlo *h, int64_t kind, const boxes *box, const boxes *object, hlo_value slope[4]);

/* How the sums of a loss over rows are put together (emit_row_loss.c). */

/* (N,A): rows whose number is at least this. */
hlo_value row_at_least(hlo *h, hlo_value v, int64_t least);
/* (N): what each picture's sum is divided by, CVR_NORM_*, of the rows that count (N,A). */
hlo_value row_norm(hlo *h, int64_t kind, hlo_value counts);
/* The results of a loss: sum of the rows that count, by pictures and then all; and the norm. */
void row_loss_results(hlo *h, hlo_value rows, hlo_value counts, hlo_value norm);
/* (N,A): input `norm` + 1, the gradient, over input `norm`; 0 where the row does not count. */
hlo_value row_scale(hlo *h, uint32_t norm, hlo_value counts, hlo_value like);

#endif
