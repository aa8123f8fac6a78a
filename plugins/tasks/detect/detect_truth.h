/* The objects of one picture, in that picture's own pixels. */
#ifndef CVR_DETECT_TRUTH_H
#define CVR_DETECT_TRUTH_H

#include "coco_ap.h"
#include "host_array.h"

/* Used again for the next picture; start with {.host = host}. */
typedef struct detect_truth {
    const cvr_host *host;
    host_array rows; /* coco_truth */
    host_array runs; /* uint32_t: of all masks */
    int32_t exact;   /* 1: they are the annotations'; 0: the batch's fields, mapped back, which know neither crowds nor
                        masks */
} detect_truth;

/* As the annotations have them, where the data tells that (cvr_task_info.objects), else from the batch. */
int32_t detect_truth_read(detect_truth *t, const cvr_task_info *info, const cvr_batch_view *targets, int64_t row,
                          cvr_error *err);
void detect_truth_free(detect_truth *t);

#endif
