/*
 * Curves at an IoU of 0.5, by what COCO's matching says of each detection: precision over recall, and precision, recall
 * and F1 over the confidence from which on detections count. A class without objects has none; the curve of all is the
 * mean of the classes'.
 */
#ifndef CVR_DETECT_CURVES_H
#define CVR_DETECT_CURVES_H

#include "coco_ap.h"

#define CURVE_CONFIDENCES 1001u /* 0.000, 0.001, ..., 1.000 */

/* What the classes come to from the confidence on at which their mean F1 is the highest. */
typedef struct detect_best {
    double precision, recall, f1; /* 0 where no object is found; NaN: the class has none */
} detect_best;

typedef struct detect_curves detect_curves;

int32_t curves_open(detect_curves **out, const cvr_host *host, int64_t n_classes, cvr_error *err);
void curves_close(detect_curves *c);
/* Room for the curves of all classes with objects that were added to `ap`. */
int32_t curves_room(detect_curves *c, const coco_ap *ap, cvr_error *err);
/* After coco_count, and with that room. */
void curves_make(detect_curves *c, const coco_ap *ap);
/* Those of all classes first; they live until the next curves_room. */
uint32_t curves_list(const detect_curves *c, const cvr_curve *const **curves);
const detect_best *curves_best(const detect_curves *c, int64_t klass);
/* That confidence; NaN where there is no object. */
double curves_confidence(const detect_curves *c);

#endif
