/* Between the files of coco_ap. */
#ifndef CVR_DETECT_COCO_PARTS_H
#define CVR_DETECT_COCO_PARTS_H

#include "coco_ap.h"
#include "host_array.h"

/* A detection as it is kept once its picture is matched. Bit a * COCO_IOUS + t says what it is for objects of size a at
 * IoU t. */
typedef struct coco_entry {
    int64_t klass, picture;
    double score;
    uint64_t matched; /* with an object (whose id is not 0) */
    uint64_t ignored; /* neither right nor wrong */
    uint64_t rank;    /* among its picture's detections of its class */
    uint64_t place;   /* when it was added */
} coco_entry;

/* A row of a picture, to be brought in the order of its class and score. */
typedef struct coco_row {
    int64_t klass;
    double score;
    uint64_t index;
} coco_row;

struct coco_ap {
    coco_settings set;
    host_array entries;            /* coco_entry; sorted by coco_count as pycocotools does */
    host_array found, truth, ious; /* of one picture: coco_row, coco_row, double (detections, objects) */
    host_array state;              /* of one class of one picture: objects in the order of their turn, and if taken */
    host_array curve;              /* of one class: precision and recall of each detection, double */
    uint64_t *counted;             /* (K,A) objects that count */
    uint64_t *row;                 /* (K) of the class in the tables, and 1; 0: it has no object that counts */
    host_array classes;            /* int64_t: those with a row; coco_count brings them in order */
    host_array precision, recall;  /* double: (row,T,R,A,M) and (row,T,A,M), so that memory is for classes in use */
    uint64_t id_zero;
};

/* One class of a picture: rows found[0..n) of the picture's detections, the best first, and truth[0..n). */
typedef struct coco_group {
    const coco_picture *picture;
    const coco_row *found, *truth;
    uint64_t n_found, n_truth;
} coco_group;

/* coco_match.c: decides which detections are right, for each size and IoU, and adds them to c->entries. */
int32_t coco_match(coco_ap *c, const coco_group *g, cvr_error *err);

#endif
