/* The parts of task "detect". */
#ifndef CVR_DETECT_TASK_H
#define CVR_DETECT_TASK_H

#include <cvr/plugin/plugin.h>

typedef struct detect_predict_attrs {
    double conf, iou;
    int64_t max_det;
} detect_predict_attrs;

/* 1 where the network learns masks, so that they are measured, too. */
int32_t detect_reads_masks(const cvr_task_info *info);

/* detect_metrics.c: the task's metrics over a split. */
int32_t detect_open(const cvr_task_info *info, void **self, cvr_error *err);
int32_t detect_update(void *self, const cvr_task_batch *batch, cvr_error *err);
void detect_result(const void *self, cvr_metric_fn each, void *ctx);
void detect_per_class(const void *self, cvr_class_metric_fn each, void *ctx);
const uint64_t *detect_matrix(const void *self);
uint32_t detect_metrics_curves(const void *self, const cvr_curve *const **curves);
void detect_close(void *self);
/* How well it did on each picture: F1 of what is found at a score of 0.25 and an IoU of 0.45. */
int32_t detect_scores(const cvr_task_info *info, const cvr_task_batch *batch, double *scores, cvr_error *err);

/* detect_predict.c */
int32_t detect_predict(const cvr_task_info *info, const cvr_batch_view *outputs, int64_t row,
                       const cvr_prediction_sink *sink, cvr_error *err);
/* detect_save.c */
int32_t detect_save(const cvr_task_info *info, const cvr_task_batch *batch, int64_t row,
                    const cvr_prediction_sink *sink, cvr_error *err);

#endif
