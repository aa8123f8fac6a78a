/* Made-up sets of detections, the same as tests/parity/coco_ap.py makes. */
#ifndef CVR_TEST_DETECT_SETS_H
#define CVR_TEST_DETECT_SETS_H

#include "../../plugins/tasks/detect/coco_ap.h"

#define SET_PICTURES 9
#define SET_OBJECTS 8 /* most of a picture */
#define SET_FOUND 140 /* most of a picture */
#define SET_HEIGHT 200
#define SET_WIDTH 240

typedef struct detect_draw {
    uint64_t x;
} detect_draw;
int64_t draw_below(detect_draw *d, int64_t n);

typedef struct detect_set {
    coco_found found[SET_PICTURES][SET_FOUND];
    coco_truth truth[SET_PICTURES][SET_OBJECTS];
    coco_picture pictures[SET_PICTURES];
    uint64_t n_pictures;
    int64_t n_classes, most[COCO_MOSTS];
    uint32_t *runs; /* of all masks */
    uint64_t n_runs;
} detect_set;

/* Set `seed` of the script. */
void detect_set_make(detect_set *s, uint64_t seed);
void detect_set_free(detect_set *s);

#endif
