/* Maps of Darknet's [yolo] and [region] layers as rows (emit_yolo.c; <cvr/plugin/ops/yolo.h>). */
#ifndef PJRT_EMIT_YOLO_H
#define PJRT_EMIT_YOLO_H

#include "emit_boxes.h"
#include <cvr/plugin/ops/yolo.h>

typedef struct yolo_rows {
    int64_t pictures, cells[2], each, classes; /* N; h and w; anchors of a cell; K */
    int64_t size[2];                           /* height and width of the picture */
    double scale;                              /* scale_x_y */
    int new_coords;
    hlo_value row;       /* type (N,P) f32 */
    hlo_value t[5];      /* (N,P): t_x, t_y, t_w, t_h, objectness */
    hlo_value score;     /* (N,P,K) */
    hlo_value at[2];     /* (N,P): column and line of the row's cell */
    hlo_value anchor[2]; /* (N,P): width and height of the row's anchor */
} yolo_rows;

/* Input 0 with these anchors; the other members that attributes say must be set. */
void yolo_open(hlo *h, yolo_rows *y, const double *anchors, const int64_t *mask);
/* sigmoid, which new_coords leaves out */
hlo_value yolo_share(hlo *h, const yolo_rows *y, hlo_value t);
/* Corners in pixels. */
boxes yolo_box(hlo *h, const yolo_rows *y);

#endif
