/*
 * Average precision of detections as COCO defines it (Lin et al., "Microsoft COCO: Common Objects in Context", 2014),
 * number for number as pycocotools 2.0.11 counts it (its COCOeval), for boxes or for masks. Its habits are kept:
 *  - an object whose annotation has the id 0 is matched and yet counts as not found (COCOeval keeps ids, and 0 is
 * false);
 *  - the first of the twelve numbers is that of at most 100 detections a picture, and -1 where `most` has no 100;
 *  - which size an object has is what its annotation calls `area`; of a detection it is that of its box, or of its
 * mask.
 */
#ifndef CVR_DETECT_COCO_AP_H
#define CVR_DETECT_COCO_AP_H

#include "../../rle/rle.h"

#define COCO_IOUS 10u     /* T: 0.50, 0.55, ..., 0.95 */
#define COCO_RECALLS 101u /* R: 0.00, 0.01, ..., 1.00 */
#define COCO_AREAS 4u     /* A: all, small (to 32^2 pixels), medium, large (from 96^2) */
#define COCO_MOSTS 3u     /* M: most detections of a picture and class: 1, 10, 100 */

/* The twelve numbers, in pycocotools' order; -1: there is no object that they could be counted on. */
enum {
    COCO_AP,
    COCO_AP50,
    COCO_AP75,
    COCO_AP_SMALL,
    COCO_AP_MEDIUM,
    COCO_AP_LARGE,
    COCO_AR_FIRST, /* at most[0] */
    COCO_AR_SECOND,
    COCO_AR_LAST,
    COCO_AR_SMALL,
    COCO_AR_MEDIUM,
    COCO_AR_LARGE,
    COCO_STATS
};

/* A detection; box: x, y, width, height in pixels of the picture. */
typedef struct coco_found {
    int64_t klass;
    double score;
    double box[4];
    rle_view mask; /* for masks */
} coco_found;

typedef struct coco_truth {
    int64_t id; /* of the annotation */
    int64_t klass;
    double box[4];
    double area;
    uint32_t crowd;   /* many objects in one: found or not, it counts for nothing */
    uint32_t ignored; /* a single object that counts for nothing (VOC's difficult) */
    rle_view mask;
} coco_truth;

typedef struct coco_picture {
    int64_t id; /* ties of scores are in the order of these */
    const coco_found *found;
    const coco_truth *truth;
    uint64_t n_found, n_truth;
} coco_picture;

typedef struct coco_settings {
    const cvr_host *host;
    int64_t n_classes;
    int64_t most[COCO_MOSTS]; /* rising */
    int32_t masks;            /* 1: masks are compared, 0: boxes */
} coco_settings;

typedef struct coco_ap coco_ap;

int32_t coco_open(coco_ap **out, const coco_settings *s, cvr_error *err);
void coco_close(coco_ap *c);
/* Each picture once, in any order. Detections and objects of classes that there are not are left out. Scores and boxes
 * are finite. */
int32_t coco_add(coco_ap *c, const coco_picture *p, cvr_error *err);
/* After the last picture, or between: counts all that was added. What follows tells what was counted last. */
void coco_count(coco_ap *c);

void coco_stats(const coco_ap *c, double stats[COCO_STATS]);
/* Of one class: the means of precision over recalls, or of recall, at one IoU or (iou -1) over all of them, over
 * objects of all sizes and the last of `most`. -1: the class has no object. */
double coco_class_ap(const coco_ap *c, int64_t klass, int32_t iou);
double coco_class_ar(const coco_ap *c, int64_t klass, int32_t iou);
/* Precision (T,R,K,A,M) and recall (T,K,A,M), -1 where there is no object. */
double coco_precision(const coco_ap *c, uint32_t t, uint32_t r, int64_t klass, uint32_t a, uint32_t m);
double coco_recall(const coco_ap *c, uint32_t t, int64_t klass, uint32_t a, uint32_t m);
/* Objects with the id 0 among those that were added. */
uint64_t coco_id_zero(const coco_ap *c);

#endif
