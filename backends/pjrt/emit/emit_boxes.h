/* Boxes as four tensors: x1, y1, x2, y2 each by itself. */
#ifndef PJRT_EMIT_BOXES_H
#define PJRT_EMIT_BOXES_H

#include "../hlo.h"
#include <cvr/plugin/ops/detect.h>

typedef struct boxes {
    hlo_value side[4];
} boxes;

/* The last axis of 4, taken apart, and put together again. */
boxes boxes_of(hlo *h, hlo_value v);
hlo_value boxes_together(hlo *h, const boxes *b);
/* Input i, (A,4) or (N,A,4), as (N,A,4). */
hlo_value boxes_anchors(hlo *h, uint32_t i, int64_t n);
hlo_value boxes_area(hlo *h, const boxes *b);
hlo_value boxes_iou(hlo *h, const boxes *a, const boxes *b);
/* (N,A) or (N,M) as (N,A,M): along the rows, or the columns. */
boxes boxes_spread(hlo *h, const boxes *b, hlo_value like, int as_rows);
boxes boxes_decode(hlo *h, const cvr_box_coder_attrs *c, const boxes *delta, const boxes *anchor);
/* Its gradient with respect to the deltas, of that with respect to the boxes. */
boxes boxes_decode_backward(hlo *h, const cvr_box_coder_attrs *c, const boxes *delta, const boxes *anchor,
                            const boxes *grad);
/* The anchor moved about 0, where f32 holds more; half[k]: half of its side along x and y. */
boxes boxes_centred(hlo *h, const boxes *anchor, hlo_value half[2]);

#endif
