/* What the tests of data sets with objects share: small pictures, opening, and what samples have. */
#ifndef CVR_TEST_DETECT_DATA_H
#define CVR_TEST_DETECT_DATA_H

#include "../support/scratch.h"
#include "../support/test_host.h"
#include <criterion/criterion.h>

extern test_host detect_host;

/* Attributes as the schemas have them. */
typedef struct coco_attrs {
    const char *annotations, *val_annotations;
    double val_split;
    int64_t masks, category_ids, empty;
} coco_attrs;
typedef struct voc_attrs {
    int64_t annotations;
    const char *masks, *class_names;
    double val_split;
    int64_t coordinates, difficult, empty;
} voc_attrs;
typedef struct yolo_attrs {
    const char *annotations, *class_names;
    double val_split;
    int64_t masks, empty;
} yolo_attrs;

void detect_load(void);
void detect_unload(void);

/* A grey PNG of this size. */
void detect_picture(const char *name, int64_t width, int64_t height);

typedef struct detect_data {
    const cvr_dataset_desc *d;
    void *self;
    int32_t status;
    cvr_error err;
} detect_data;

detect_data detect_open(const char *name, uint32_t split, const void *attrs, const char *train, const char *val);
/* In the scratch folder as data.root; must work. */
detect_data detect_must_open(const char *name, uint32_t split, const void *attrs);
void detect_close(detect_data o);
/* Opening failed, with a message about this file. */
void detect_refused(detect_data o, const char *file, const char *says);

/* Sample `index` has `n` objects: each x1, y1, x2, y2, class. */
void detect_boxes(detect_data o, int64_t index, int64_t n, const double (*boxes)[5]);
/* Reading it fails so. */
void detect_bad(detect_data o, int64_t index, const char *file, const char *says);
/* The k-th object of sample `index` as the annotations have it; its runs are copied. */
#define DETECT_MOST_RUNS 64
typedef struct detect_object {
    cvr_object o;
    uint32_t runs[DETECT_MOST_RUNS];
    int64_t n; /* objects that there are */
} detect_object;
detect_object detect_tell(detect_data o, int64_t index, int64_t k);
/* The last line that was logged says this. */
void detect_logged(const char *says);

#endif
