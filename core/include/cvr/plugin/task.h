/*
 * "cvr.task/1": what a network is trained for: the fields that it learns from, losses, metrics, and what a prediction
 * looks like to a person.
 */
#ifndef CVR_PLUGIN_TASK_H
#define CVR_PLUGIN_TASK_H

#include "data.h"
#include "layer.h"
#include "reporter.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*cvr_metric_fn)(void *ctx, const char *name, double value);
/* A metric of one class; `name` is the column of per_class.csv. A value that does not exist for the class is NaN. */
typedef void (*cvr_class_metric_fn)(void *ctx, int64_t klass, const char *name, double value);

/* The output of this name and role, or NULL. */
static inline const cvr_io_output *cvr_io_find(const cvr_io *io, const char *name, uint32_t role) {
    const cvr_io_output *o;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        if (o->role == role && strcmp(o->name, name) == 0) return o;
    }
    return NULL;
}

/* A field of the samples that the task wants in its batches. The batch has it under the same name, stacked. */
typedef struct cvr_want {
    uint64_t struct_size;
    const char *field;  /* "label" */
    const char *kind;   /* CVR_FIELD_*: what it has to be */
    uint32_t dtype;     /* in the batch; 0: as samples have it. F32 of the index of a class: a share for each class */
    uint32_t optional;  /* 1: only for a model that says that it reads the field (cvr_model_desc.reads) */
    const char *remedy; /* "choose another data.format": for data without it */
    /* Labels of data whose pictures have several classes, (classes) f32, are refused, and this is said to do instead;
     * NULL: the task takes them. What mixing makes of one class a picture is never refused. */
    const char *several;
} cvr_want;

/* Where a prediction is written. `json` gets the members of this file's object, without braces: `"top": [...]`. */
typedef struct cvr_prediction_sink {
    uint64_t struct_size;
    void *ctx;
    void (*json)(const struct cvr_prediction_sink *s, const char *text);
    void (*csv)(const struct cvr_prediction_sink *s, const char *text);  /* the row's cells after the file's */
    void (*line)(const struct cvr_prediction_sink *s, const char *text); /* what the terminal shows */
    /* A file beside the predictions, named after the picture: "_mask.png" gives PICTURE_mask.png. `name` (may be NULL)
     * gets what it is called, relative to the predictions, until the next call. */
    int32_t (*file)(const struct cvr_prediction_sink *s, const char *suffix, const void *bytes, uint64_t n,
                    const char **name, cvr_error *err);
    /* The picture itself, upright, for files that show it: RGB, or grey. NULL: none are wanted. */
    const cvr_image *picture;
} cvr_prediction_sink;

/* What the task knows of the data. */
typedef struct cvr_task_info {
    uint64_t struct_size;
    const cvr_host *host;
    const void *attrs;
    int64_t n_classes;
    const char *const *class_names; /* n_classes of them */
    const float *class_weights;     /* train.class_weights: what each class weighs in the loss; NULL: all alike */
    void *data;                     /* for the next two */
    /* The objects of sample `index` (cvr_origin.index) of the validation split, under the network's classes; -1: a
     * class that it does not have. CVR_ERR_NOTFOUND where the data does not tell: then its fields are all there is. */
    int32_t (*objects)(void *data, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err);
    /* The validation split's own number for a class (COCO's category_id). */
    int64_t (*class_id)(void *data, int64_t klass);
    const void *predict_attrs; /* as cvr_task_desc.predict_attrs has them */
    const char *const *reads;  /* cvr_model_desc.reads: which optional fields this network learns from */
    uint32_t n_reads;
    uint32_t reserved;
} cvr_task_info;

/* Outputs that the network gave for a batch, with what the task knows of it. `targets` has the wanted fields, or none
 * where the data has no targets. */
typedef struct cvr_task_batch {
    uint64_t struct_size;
    const cvr_batch_view *outputs; /* results by name, in host memory as the network left them */
    const cvr_batch_view *targets;
} cvr_task_batch;

/*
 * What a network found in tiles of one picture, parts of it that overlap. The results have a row for each tile, and
 * axis 1 is what was found there. The origins are the picture's, with the way from it to the tile's canvas.
 */
typedef struct cvr_tiles {
    uint64_t struct_size;
    const cvr_batch_view *found;
    const double *edges; /* (tiles, 4): x1, y1, x2, y2 of each in pixels of the picture */
    uint32_t predicts;   /* 1: for `predict`, whose keys count; 0: to be measured */
    uint32_t reserved;
} cvr_tiles;

/* How cvr_pipeline_boxes brings pictures to a square (data.fit). */
#define CVR_FIT_STRETCH 0u           /* each side by itself */
#define CVR_FIT_LETTERBOX 1u         /* as they are shaped, at the upper left, the rest filled with grey 114 */
#define CVR_FIT_LETTERBOX_CENTER 2u  /* as they are shaped, in the middle, the rest filled with grey 128 */
#define CVR_FIT_LETTERBOX_ALIGNED 3u /* the same by Darknet's resizing, corners on corners, and its grey of 127.5 */

/* What validation's pictures are to be like, as [data] and [val] say; 0: as they are. */
typedef struct cvr_pipeline {
    uint64_t struct_size;
    void *ctx;
    int64_t resize_size, crop_size;
    const char *interpolation; /* "bilinear" */
    const double *mean, *std;  /* of the channels, 4 of them */
    /* Adds a transform by its name, with settings as a line of [augment] has them. */
    int32_t (*add)(const struct cvr_pipeline *p, const char *transform, const char *settings, cvr_error *err);
    /* data.img_size for cvr_pipeline_boxes: {side, 0} of a square, or {shorter side, longer side at most}; {0, 0}: as
     * they are. */
    int64_t img_size[2];
    uint32_t fit; /* CVR_FIT_* */
    uint32_t reserved;
} cvr_pipeline;

/* Most tasks' normalisation: (x / 255 - mean) / std. */
static inline int32_t cvr_pipeline_normalise(const cvr_pipeline *p, cvr_error *err) {
    char text[256];
    (void)snprintf(text, sizeof text, "mean=%.17g,%.17g,%.17g,%.17g std=%.17g,%.17g,%.17g,%.17g", p->mean[0],
                   p->mean[1], p->mean[2], p->mean[3], p->std[0], p->std[1], p->std[2], p->std[3]);
    return p->add(p, "normalize", text, err);
}

/* Most tasks' pictures: the shorter side to resize_size, the middle crop_size of it, normalised. */
static inline int32_t cvr_pipeline_usual(const cvr_pipeline *p, cvr_error *err) {
    char text[128];
    if (p->resize_size > 0) {
        (void)snprintf(text, sizeof text, "%lld interpolation=%.64s", (long long)p->resize_size, p->interpolation);
        CVR_TRY(p->add(p, "resize", text, err));
    }
    if (p->crop_size > 0) {
        (void)snprintf(text, sizeof text, "%lld", (long long)p->crop_size);
        CVR_TRY(p->add(p, "center_crop", text, err));
    }
    return cvr_pipeline_normalise(p, err);
}

/*
 * Pictures of a task with boxes, as torchvision's detectors make them: brought to a square whatever their shape (or,
 * for YOLO's detectors, into one, see CVR_FIT_*), or both sides multiplied by min(short / shorter side, long / longer
 * side) and cut to whole pixels; without antialias; then normalised. In training with [augment] these transforms follow
 * its lines, and the size is left out where a line makes one.
 */
static inline int32_t cvr_pipeline_boxes(const cvr_pipeline *p, cvr_error *err) {
    const long long first = (long long)p->img_size[0], second = (long long)p->img_size[1];
    static const char *const settings[] = {"", "fill=114 center=no", "fill=128 center=yes",
                                           "fill=127.5 center=yes aligned=yes"};
    const int32_t fits = second == 0 && CVR_HAS(p, fit) && p->fit != CVR_FIT_STRETCH;
    char text[192];
    if (fits)
        (void)snprintf(text, sizeof text, "%lld interpolation=%.64s %s", first, p->interpolation,
                       settings[p->fit <= CVR_FIT_LETTERBOX_ALIGNED ? p->fit : CVR_FIT_LETTERBOX_CENTER]);
    else if (second > 0)
        (void)snprintf(text, sizeof text, "%lld max_size=%lld sides=scaled interpolation=%.64s antialias=no", first,
                       second, p->interpolation);
    else
        (void)snprintf(text, sizeof text, "%lld,%lld interpolation=%.64s antialias=no", first, first, p->interpolation);
    if (first > 0) CVR_TRY(p->add(p, fits ? "letterbox" : "resize", text, err));
    return cvr_pipeline_normalise(p, err);
}

typedef struct cvr_task_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t n_attrs; /* keys of [train] */
    uint32_t n_wants;
    const cvr_attr_desc *const *attrs;
    const cvr_want *const *wants;
    /* Adds what makes validation's pictures, and the transform that normalises (CVR_STAGE_NORMALISE), which training
     * has too. Training without [augment] takes all of it. */
    int32_t (*pipeline)(const cvr_task_info *info, const cvr_pipeline *p, cvr_error *err);
    /*
     * Looks at the network's results (io->output with CVR_ROLE_RESULT), refuses what it cannot use, and adds a loss
     * (rank 0, f32, the mean over the batch) for each that has none, by io->put with CVR_ROLE_LOSS: the loss of a
     * result has its name. What is trained is the sum of all losses. Not called where there are no targets.
     * `b->training` tells training from evaluation.
     */
    int32_t (*losses)(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, cvr_error *err);
    const char *best_metric; /* whose best epoch is kept in best.safetensors: "top1" */
    uint32_t lower_is_better;
    uint32_t pads; /* 1: pictures of a batch may differ in size; they are padded at the right and at the bottom */
    /* Metrics over a whole split. */
    int32_t (*metrics_open)(const cvr_task_info *info, void **self, cvr_error *err);
    int32_t (*metrics_update)(void *self, const cvr_task_batch *batch, cvr_error *err);
    /* Tells every metric there can be, by the same names whatever was counted. Asked of nothing, too, for the names. */
    void (*metrics_result)(const void *self, cvr_metric_fn each, void *ctx);
    /* NULL where there are none. */
    void (*metrics_per_class)(const void *self, cvr_class_metric_fn each, void *ctx);
    /* Confusion matrix, rows the truth, n_classes x n_classes, or with `matrix_extra` one more of each; NULL where the
     * task has none. Lives until close. */
    const uint64_t *(*metrics_matrix)(const void *self);
    void (*metrics_close)(void *self);
    /* Prediction `row` of `outputs`. */
    int32_t (*predict)(const cvr_task_info *info, const cvr_batch_view *outputs, int64_t row,
                       const cvr_prediction_sink *sink, cvr_error *err);
    const char *csv_header; /* names of the cells that `csv` gets, "index,name,prob" */
    /* Of a task that says something of each pixel: the name of the result (N, classes, H, W), f32, whose softmax over
     * axis 1 it is, H and W being the picture's. Such a picture may be looked at in several views (windows of it,
     * mirrored, at other sizes), which are merged into one result of this name before metrics_update or predict sees
     * it. NULL: there is none. */
    const char *dense;
    /* How well the network did on each picture of a batch, in 0..1, NaN where nobody can tell: `scores` has room for
     * batch->targets->n. For whoever looks for the worst pictures; NULL: none. */
    int32_t (*scores)(const cvr_task_info *info, const cvr_task_batch *batch, double *scores, cvr_error *err);
    const char *score_name; /* "iou"; NULL without `scores` */
    /* Keys of [predict], beside the program's own. */
    const cvr_attr_desc *const *predict_attrs;
    uint32_t n_predict_attrs;
    uint32_t reserved;
    const char
        *matrix_extra; /* the matrix has a last row and column for what is of no class: "background"; NULL: not */
    /* Curves over the whole split; returns their number. They live until close, or the next update. NULL: none. */
    uint32_t (*metrics_curves)(const void *self, const cvr_curve *const **curves);
    /* val.save = yes: what the network said of picture `row` of a batch, for other programs that measure it. `json` of
     * the sink gets elements of the one list of all pictures, which becomes the file `save_list`; it may be called any
     * number of times. `file` puts a file beside it. Nothing else of the sink is there. NULL: nothing can be saved. */
    int32_t (*save)(const cvr_task_info *info, const cvr_task_batch *batch, int64_t row,
                    const cvr_prediction_sink *sink, cvr_error *err);
    const char *save_list; /* "predictions.json"; NULL: there is no list */
    /* Makes one row of all tiles' findings, what is in several of them once: into `out`, which has the same results
     * with one row, and room on axis 1 for what all tiles have. Its origin is the picture's, and no way leads from
     * there to a canvas: places are in pixels of the picture. NULL: pictures cannot be looked at in tiles. */
    int32_t (*merge_tiles)(const cvr_task_info *info, const cvr_tiles *tiles, const cvr_batch_view *out,
                           cvr_error *err);
} cvr_task_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_want) == 48, "cvr_want has padding");
CVR_STATIC_ASSERT(sizeof(cvr_prediction_sink) == 56, "cvr_prediction_sink has padding");
CVR_STATIC_ASSERT(sizeof(cvr_task_info) == 96, "cvr_task_info has padding");
CVR_STATIC_ASSERT(sizeof(cvr_pipeline) == 88, "cvr_pipeline has padding");
CVR_STATIC_ASSERT(sizeof(cvr_task_batch) == 24, "cvr_task_batch has padding");
CVR_STATIC_ASSERT(sizeof(cvr_task_desc) == 224, "cvr_task_desc has padding");
CVR_STATIC_ASSERT(sizeof(cvr_tiles) == 32, "cvr_tiles has padding");

#endif
