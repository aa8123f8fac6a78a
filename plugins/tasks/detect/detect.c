/*
 * Task "detect": boxes with a class around every object, and masks where the network has them. The losses are the
 * network's own, as every detector has its own; evaluation is COCO's (coco_ap.h), and VOC's beside it (voc_ap.h).
 */
#include "detect_found.h"
#include "detect_task.h"
#include "detect_tiles.h"

int32_t detect_reads_masks(const cvr_task_info *info) {
    for (uint32_t i = 0; i < info->n_reads; i++)
        if (strcmp(info->reads[i], CVR_FIELD_MASKS) == 0) return 1;
    return 0;
}

static int32_t detect_pipeline(const cvr_task_info *info, const cvr_pipeline *p, cvr_error *err) {
    (void)info;
    return cvr_pipeline_boxes(p, err);
}

/* boxes (N, D, 4) f32, scores (N, D) f32, labels (N, D) i64 */
static int32_t check_results(const cvr_builder *b, const cvr_io *io, cvr_error *err) {
    static const struct {
        const char *name;
        uint32_t dtype, rank;
    } needed[] = {{DETECT_BOXES, CVR_F32, 3}, {DETECT_SCORES, CVR_F32, 2}, {DETECT_LABELS, CVR_I64, 2}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        const cvr_io_output *const o = cvr_io_find(io, needed[i].name, CVR_ROLE_RESULT);
        const cvr_type *const t = o ? b->type(b, o->value) : NULL;
        if (!t || t->dtype != needed[i].dtype || t->rank != needed[i].rank)
            return cvr_fail(err, CVR_ERR_INVALID,
                            "the network has no result `%s`, which detection needs; set model.name to a detector of "
                            "`cvrun help models`",
                            needed[i].name);
    }
    return CVR_OK;
}

/* A detector puts its losses itself; one that has none can be measured all the same. */
static int32_t detect_losses(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, cvr_error *err) {
    const cvr_io_output *o;
    int32_t any = 0;
    if (info->class_weights)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "train.class_weights is set, but a detector's losses are its own and weigh no classes; leave "
                        "it out");
    for (uint32_t i = 0; (o = io->output(io, i)); i++) any = any || o->role == CVR_ROLE_LOSS;
    if (!any && b->training)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network has no losses of its own, which detection needs; set model.name to a detector of "
                        "`cvrun help models`");
    return b->training ? CVR_OK : check_results(b, io, err);
}

static const cvr_attr_desc *const predict_keys[] = {
    CVR_ATTR(FLOAT, "conf", "0.25", "score from which on a detection is told", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "iou", "1",
             "of two boxes of a class that overlap by more than this the one with the lower score is left out; 1: as "
             "the network has done it",
             CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(INT, "max_det", "300", "most detections of a picture; 0: all that the network gives",
             CVR_ATTR_AT_LEAST(0)),
};

#define REMEDY "choose a data.format that has boxes: `cvrun help data`"
static const cvr_want boxes_want = {.struct_size = sizeof boxes_want,
                                    .field = CVR_FIELD_BOXES,
                                    .kind = CVR_FIELD_BOXES,
                                    .dtype = CVR_F32,
                                    .remedy = REMEDY};
static const cvr_want labels_want = {.struct_size = sizeof labels_want,
                                     .field = CVR_FIELD_BOX_LABELS,
                                     .kind = CVR_FIELD_BOX_LABELS,
                                     .dtype = CVR_I64,
                                     .remedy = REMEDY};
static const cvr_want masks_want = {.struct_size = sizeof masks_want,
                                    .field = CVR_FIELD_MASKS,
                                    .kind = CVR_FIELD_MASKS,
                                    .dtype = CVR_U8,
                                    .optional = 1,
                                    .remedy = "this network learns masks: choose data that has them, or a network "
                                              "without"};
static const cvr_want *const wants[] = {&boxes_want, &labels_want, &masks_want};

static const cvr_task_desc detect_task = {.struct_size = sizeof detect_task,
                                          .name = "detect",
                                          .doc = "boxes around objects, and masks of them",
                                          .n_wants = sizeof wants / sizeof *wants,
                                          .wants = wants,
                                          .pipeline = detect_pipeline,
                                          .losses = detect_losses,
                                          .best_metric = "map",
                                          .pads = 1,
                                          .metrics_open = detect_open,
                                          .metrics_update = detect_update,
                                          .metrics_result = detect_result,
                                          .metrics_per_class = detect_per_class,
                                          .metrics_matrix = detect_matrix,
                                          .metrics_close = detect_close,
                                          .predict = detect_predict,
                                          .csv_header = "index,name,score,x1,y1,x2,y2",
                                          .scores = detect_scores,
                                          .score_name = "f1",
                                          .predict_attrs = predict_keys,
                                          .n_predict_attrs = sizeof predict_keys / sizeof *predict_keys,
                                          .matrix_extra = "background",
                                          .metrics_curves = detect_metrics_curves,
                                          .save = detect_save,
                                          .save_list = "predictions.json",
                                          .merge_tiles = detect_merge_tiles};

static int32_t detect_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_TASK, &detect_task, err);
}

CVR_DEFINE_PLUGIN("task_detect", "0.1.0", "", detect_load)
