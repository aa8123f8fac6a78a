/*
 * Average precision as PASCAL VOC counts it (Everingham et al., IJCV 2010 and 2015), at an IoU over 0.5, in both forms:
 * that of 2007, the mean of the highest precision at recalls of 0, 0.1, ... 1 or more; and that of 2010 and later, the
 * area below the envelope. Sides of boxes are those of whole pixels, x2 - x1 + 1. Difficult objects count for nothing,
 * found or not. An object that is found again is found wrongly. Equal scores are counted in the order of the pictures.
 */
#ifndef CVR_DETECT_VOC_AP_H
#define CVR_DETECT_VOC_AP_H

#include "coco_ap.h"

typedef struct voc_ap voc_ap;

int32_t voc_open(voc_ap **out, const cvr_host *host, int64_t n_classes, cvr_error *err);
void voc_close(voc_ap *v);
/* As coco_add; boxes are x, y, width, height, so that x2 is x + width. Crowds and `ignored` are difficult. */
int32_t voc_add(voc_ap *v, const coco_picture *p, cvr_error *err);
void voc_count(voc_ap *v);
/* After voc_count: NaN for a class without objects. */
void voc_class(const voc_ap *v, int64_t klass, double *voc07, double *voc10);
/* Means over the classes that have objects; NaN where none has. */
void voc_means(const voc_ap *v, double *voc07, double *voc10);

#endif
