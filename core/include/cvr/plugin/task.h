/*
 * "cvr.task/1": what a network is trained for: its targets, loss, metrics, and what a prediction looks like to a
 * person.
 */
#ifndef CVR_PLUGIN_TASK_H
#define CVR_PLUGIN_TASK_H

#include "data.h"
#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*cvr_metric_fn)(void *ctx, const char *name, double value);

/* Where a prediction is written. `json` gets the members of this file's object, without braces: `"top": [...]`. */
typedef struct cvr_prediction_sink {
    uint64_t struct_size;
    void *ctx;
    void (*json)(const struct cvr_prediction_sink *s, const char *text);
    void (*csv)(const struct cvr_prediction_sink *s, const char *text);  /* the row's cells after the file's */
    void (*line)(const struct cvr_prediction_sink *s, const char *text); /* what the terminal shows */
} cvr_prediction_sink;

/* What the task knows of the data. */
typedef struct cvr_task_info {
    uint64_t struct_size;
    const cvr_host *host;
    const void *attrs;
    int64_t n_classes;
    const char *const *class_names; /* n_classes of them */
} cvr_task_info;

typedef struct cvr_task_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t n_attrs; /* keys of [train] */
    uint32_t
        target_kind; /* CVR_FIELD_LABEL or CVR_FIELD_MASK: the field of a sample that is the target, i64 in a batch */
    const cvr_attr_desc *const *attrs;
    /* Element type and shape of the target of a whole batch, given the network's output. */
    int32_t (*target)(const cvr_task_info *info, const cvr_type *output, cvr_type *target, cvr_error *err);
    /* Adds the loss (rank 0, f32), the mean over the batch. */
    int32_t (*loss)(const cvr_builder *b, const cvr_task_info *info, cvr_value output, cvr_value target,
                    cvr_value *loss, cvr_error *err);
    const char *best_metric; /* whose best epoch is kept in best.safetensors: "top1"; more is better */
    /* Metrics over a whole split. `output` (host memory, as the network left it) and `target` are of one batch. */
    int32_t (*metrics_open)(const cvr_task_info *info, void **self, cvr_error *err);
    int32_t (*metrics_update)(void *self, const cvr_tensor *output, const cvr_tensor *target, cvr_error *err);
    void (*metrics_result)(const void *self, cvr_metric_fn each, void *ctx);
    /* Confusion matrix, rows the truth, n_classes x n_classes; NULL where the task has none. Lives until close. */
    const uint64_t *(*metrics_matrix)(const void *self);
    void (*metrics_close)(void *self);
    /* Prediction `row` of the batch `output`. */
    int32_t (*predict)(const cvr_task_info *info, const cvr_tensor *output, int64_t row,
                       const cvr_prediction_sink *sink, cvr_error *err);
    const char *csv_header; /* names of the cells that `csv` gets */
} cvr_task_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_prediction_sink) == 40, "cvr_prediction_sink has padding");
CVR_STATIC_ASSERT(sizeof(cvr_task_info) == 40, "cvr_task_info has padding");
CVR_STATIC_ASSERT(sizeof(cvr_task_desc) == 120, "cvr_task_desc has padding");

#endif
