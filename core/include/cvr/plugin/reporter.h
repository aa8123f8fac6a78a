/*
 * "cvr.reporter/1": writes what a run leaves behind for people: tables, curves, pictures. Reporters see, they never
 * steer.
 */
#ifndef CVR_PLUGIN_REPORTER_H
#define CVR_PLUGIN_REPORTER_H

#include "data.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed for the call of `open`. */
typedef struct cvr_run_info {
    uint64_t struct_size;
    const cvr_host *host;
    const char *folder; /* absolute; files go below it */
    const char *task;
    const char *model;
    const char *backend;
    const char *precision;
    const char *version;
    const char *best_metric;
    int64_t params; /* trainable numbers */
    int64_t epochs;
    int64_t steps_per_epoch;
    uint64_t seed;
    uint64_t planned_memory_bytes;
    int64_t n_classes;
    const char *const *class_names;
    const double *mean; /* of the channels, to show a picture as it was before `(x - mean) / std` */
    const double *std;
    int64_t n_channels;
    /* -1, or the last step that counts: rows of later steps and epochs, left by a run that was cut off, are to be
     * removed. */
    int64_t resume_step;
    int64_t resume_epoch; /* epochs that are complete at resume_step */
    /* How validation looks at pictures, where the metrics depend on it: "original, windows of 512 with stride 341";
     * NULL where they do not. */
    const char *protocol;
    /* The training split as the data has it, before any transform; for the call of `open` alone. Its samples, 0: not
     * known; `data` is for the next two. */
    int64_t n_samples;
    void *data;
    /* The objects of a sample, under the network's classes; -1: a class that it does not have. CVR_ERR_NOTFOUND where
     * the data does not tell. */
    int32_t (*objects)(void *data, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err);
    /* Of its picture. CVR_ERR_NOTFOUND where the data does not tell without decoding it. */
    int32_t (*size)(void *data, int64_t index, int64_t *height, int64_t *width, cvr_error *err);
} cvr_run_info;

/*
 * A curve over a whole validation, for whoever draws it. Curves of one name share their axes: one for each class, and
 * with klass -1 one for all of them together. Task detect has, at IoU 0.5: "pr" (recall, precision), and over the
 * confidence from which on detections count "f1", "precision" and "recall".
 */
typedef struct cvr_curve {
    uint64_t struct_size;
    const char *name;   /* "pr": no two axes share it; it may become a file's name */
    const char *x_name; /* "recall" */
    const char *y_name;
    int64_t klass; /* -1: the mean over the classes that have this curve */
    uint32_t n;
    uint32_t reserved;
    const double *x; /* n points in the order of x, each in 0..1 */
    const double *y;
    double value; /* the number that stands for the curve in a legend: average precision, the highest F1; NaN: none */
} cvr_curve;

typedef struct cvr_step_event {
    uint64_t struct_size;
    int64_t step;  /* from 1 */
    int64_t epoch; /* from 1 */
    double loss;
    double lr;
    double images_per_s;
    double data_wait_fraction;
    uint32_t n_losses; /* named parts of `loss`; the same ones in every step of a run */
    uint32_t reserved;
    const char *const *loss_names;
    const double *losses;
    int64_t samples;
    double seconds; /* that the step took, now that it is done; of these it waited for its batch: */
    double data_seconds;
} cvr_step_event;

/* Metrics are fractions; names as in summary.json, "train_loss" first. */
typedef struct cvr_epoch_event {
    uint64_t struct_size;
    int64_t epoch; /* from 1 */
    int64_t step;  /* from 1: the last of the epoch */
    double seconds;
    double images_per_s;
    double lr;
    double data_wait_fraction;
    uint32_t n_metrics;
    uint32_t is_best; /* 1 where this epoch is the best so far */
    const char *const *names;
    const double *values;
    /* Confusion matrix of the validation, rows the truth; NULL: none. It has a row and a column for each class, and one
     * more of each where `matrix_extra` is not NULL. */
    const uint64_t *matrix;
    /* Metrics by class: value of column k for class i at per_class[i * n_columns + k]. */
    const char *const *columns;
    const double *per_class; /* NULL: none */
    uint32_t n_columns;
    uint32_t n_curves;
    const char *matrix_extra; /* what the last row and column stand for, "background" */
    const cvr_curve *const *curves;
} cvr_epoch_event;

/* A batch of a split. The picture is the field of kind CVR_FIELD_IMAGE: u8, or f32 and normalised. */
typedef struct cvr_batch_event {
    uint64_t struct_size;
    const char *name; /* "train_batch0" */
    const cvr_batch_view *batch;
    const cvr_batch_view *outputs; /* what the network said of it; NULL: not asked yet */
    const double *scores;          /* how well it did on each picture, as cvr_task_desc.scores; NULL: not known */
    const char *score_name;        /* "iou"; NULL without `scores` */
} cvr_batch_event;

typedef struct cvr_end_event {
    uint64_t struct_size;
    int64_t epochs; /* done */
    int64_t steps;
    double train_seconds;
    double images_per_second;
    double data_wait_fraction;
    uint64_t peak_memory_bytes;
    const char *best_metric;
    double best_value;
    int64_t best_epoch; /* 0: none */
    uint32_t n_metrics;
    uint32_t finished; /* 0: interrupted */
    const char *const *names;
    const double *values;
    const char *backend; /* where the run ended; it may have moved since it began */
    /* Where this session's time went. What remains is reporters' and the batches' beginning. */
    double session_seconds; /* since it began or went on */
    double step_seconds;    /* training steps, and in them: */
    double step_wait_seconds;
    double validation_seconds;
    double saving_seconds; /* weights and checkpoints */
} cvr_end_event;

/* Every callback but open and close may be NULL. Rows are whole or absent on disk after each call. */
typedef struct cvr_reporter_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    int32_t (*open)(const cvr_run_info *info, void **self, cvr_error *err);
    int32_t (*step)(void *self, const cvr_step_event *e, cvr_error *err);
    int32_t (*epoch)(void *self, const cvr_epoch_event *e, cvr_error *err);
    /* The first batch of training, and the first of each validation. */
    int32_t (*batch)(void *self, const cvr_batch_event *e, cvr_error *err);
    /* Before each checkpoint: what was told so far must be on disk. */
    int32_t (*flush)(void *self, cvr_error *err);
    int32_t (*end)(void *self, const cvr_end_event *e, cvr_error *err);
    void (*close)(void *self);
    /* Every batch of a validation, in order, before its `epoch`; `batch` gets the first of them, too. */
    int32_t (*validated)(void *self, const cvr_batch_event *e, cvr_error *err);
} cvr_reporter_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_run_info) == 208, "cvr_run_info has padding");
CVR_STATIC_ASSERT(sizeof(cvr_curve) == 72, "cvr_curve has padding");
CVR_STATIC_ASSERT(sizeof(cvr_step_event) == 104, "cvr_step_event has padding");
CVR_STATIC_ASSERT(sizeof(cvr_epoch_event) == 128, "cvr_epoch_event has padding");
CVR_STATIC_ASSERT(sizeof(cvr_batch_event) == 48, "cvr_batch_event has padding");
CVR_STATIC_ASSERT(sizeof(cvr_end_event) == 152, "cvr_end_event has padding");
CVR_STATIC_ASSERT(sizeof(cvr_reporter_desc) == 88, "cvr_reporter_desc has padding");

#endif
