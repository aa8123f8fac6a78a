/* Object detection and losses of segmentation in emu_detect_race_test: every kernel of them that has a barrier, and
 * those that are told of rows, objects and classes. */
#include "emu_case.h"

#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss.h>
#include <cvr/plugin/ops/loss.h>
#include <cvr/plugin/ops/yolo.h>

static const cvr_top_k_attrs top = {.k = 50};
static const cvr_match_attrs match = {.high = 0.5, .low = 0.3, .low_quality = 1, .each_best = 1};
static const cvr_sample_rows_attrs sample = {.rows = 300, .positive_fraction = 0.5, .key = 7};
static const cvr_nms_attrs nms = {.iou_threshold = 0.1, .score_threshold = -1e18, .max_out = 300, .n_groups = 3};
static const cvr_sim_ota_attrs ota = {
    .coder = CVR_CODER_CENTER_OPEN, .weights = {1, 1, 1, 1}, .radius = 9, .iou_weight = 3, .candidates = 10};
static const cvr_anchor_focal_attrs focal = {.alpha = 0.25, .gamma = 2, .norm = CVR_NORM_PICTURE};
static const cvr_anchor_cross_entropy_attrs hard = {.negatives = 2};
static const cvr_overlap_attrs overlap = {.alpha = 0.5, .beta = 0.5, .gamma = 1, .ignore_index = -100};
static const cvr_lovasz_attrs lovasz = {.ignore_index = -100};
static const cvr_roi_align_attrs roi = {
    .output_size = {3, 2}, .sampling_ratio = 2, .n_scales = 2, .scales = {0.5, 0.25}};
static const cvr_roi_align_backward_attrs roi_backward = {
    .forward = {.output_size = {3, 2}, .sampling_ratio = 2, .n_scales = 2, .scales = {0.5, 0.25}}, .size = {16, 16}};

static const cvr_gather_attrs gather = {0};
static const cvr_gather_rows_attrs gather_backward = {.rows = 9};
static const cvr_class_targets_attrs classes = {.offset = 1, .ignore = -100};
static const cvr_anchor_box_loss_attrs box = {.kind = CVR_BOX_CIOU, .weights = {1, 1, 1, 1}};
static const cvr_hard_targets_attrs harder = {.thresh = 0.7, .min_kept = 20, .ignore_index = -100};
static const cvr_mask_targets_attrs masks = {.size = 5};
static const cvr_yolo_loss_attrs yolo = {.size = {32, 32},
                                         .n_anchors = 6,
                                         .anchors = {5, 6, 8, 14, 15, 11},
                                         .n_mask = 2,
                                         .mask = {0, 2},
                                         .scale_x_y = 1,
                                         .ignore_thresh = 0.5,
                                         .iou_thresh = 0.2,
                                         .box_weight = 1,
                                         .objectness_weight = 1,
                                         .class_weight = 1,
                                         .max_delta = 1e9};

const emu_case emu_cases[] = {
    {"top_k", &top, {NUMBERS(1, 2100)}, {NUMBERS(1, 50), I32(0, 1, 1, 50), I32(0, 1, 1)}, {"sort"}},
    {"match_boxes",
     &match,
     {BOXES(30, 300, 4), BOXES(30, 2, 5, 4), I64(3, 5, 2)},
     {I32(0, 1, 2, 300)},
     {"match_boxes"}},
    {"sample_rows",
     &sample,
     {I32(-2, 2, 1, 600), SCALAR_I64, SCALAR_I64},
     {I32(0, 1, 1, 300), I32(0, 1, 1)},
     {"sample_rows"}},
    {"nms", &nms, {FAR_BOXES(20, 2, 600, 4), NUMBERS(2, 600)}, {I32(0, 1, 2, 300), I32(0, 1, 2)}, {"nms"}},
    {"sim_ota",
     &ota,
     {NUMBERS(1, 300, 3), NUMBERS(1, 300, 1), NUMBERS(1, 300, 4), BOXES(30, 300, 4), BOXES(30, 1, 3, 4),
      I64(0, 3, 1, 3), I64(3, 4, 1)},
     {I32(0, 1, 1, 300), NUMBERS(1, 300)},
     {"sim_ota"}},
    {"anchor_focal_loss",
     &focal,
     {NUMBERS(2, 300, 40), I64(-2, 40, 2, 300)},
     {SCALAR, NUMBERS(2)},
     {"row_counts", "row_loss"}},
    {"anchor_cross_entropy",
     &hard,
     {NUMBERS(1, 600, 20), I64(-1, 3, 1, 600)},
     {SCALAR, NUMBERS(1, 600), OF_KIND(EMU_CASE_U8, 0, 1, 1, 600), SCALAR},
     {"hard_rows"}},
    {"overlap_loss",
     &overlap,
     {NUMBERS(1, 20, 9, 40), I64(0, 20, 1, 9, 40)},
     {SCALAR, NUMBERS(1, 9, 40), NUMBERS(2, 20)},
     {"overlap"}},
    {"lovasz_loss",
     &lovasz,
     {NUMBERS(1, 2, 50, 50), I64(0, 2, 1, 50, 50)},
     {SCALAR, NUMBERS(1, 2, 50, 50)},
     {"lovasz"}},
    {"roi_align",
     &roi,
     {BOXES(30, 1, 5, 4), I32(4, 5, 1), NUMBERS(1, 3, 16, 16), NUMBERS(1, 3, 8, 8)},
     {NUMBERS(5, 3, 3, 2)},
     {NULL}},
    {"roi_align_backward",
     &roi_backward,
     {NUMBERS(5, 3, 3, 2), BOXES(30, 1, 5, 4), I32(4, 5, 1)},
     {NUMBERS(1, 3, 16, 16)},
     {NULL}},
    {"mask_targets",
     &masks,
     {OF_KIND(EMU_CASE_U8, 0, 2, 1, 3, 20, 20), BOXES(20, 1, 4, 4), I32(-1, 3, 1, 4)},
     {NUMBERS(1, 4, 25)},
     {NULL}},
    {"gather_rows", &gather, {NUMBERS(2, 9, 3), I32(-1, 9, 2, 40)}, {NUMBERS(2, 40, 3)}, {NULL}},
    {"gather_rows_backward", &gather_backward, {NUMBERS(2, 40, 3), I32(-1, 9, 2, 40)}, {NUMBERS(2, 9, 3)}, {NULL}},
    {"append_rows",
     NULL,
     {NUMBERS(2, 9, 3), I32(0, 10, 2), NUMBERS(2, 5, 3), I64(0, 6, 2)},
     {NUMBERS(2, 14, 3), I32(0, 1, 2)},
     {NULL}},
    {"class_targets", &classes, {I32(-2, 5, 2, 40), I64(0, 9, 2, 5)}, {I64(0, 1, 2, 40)}, {NULL}},
    {"pick_labels", NULL, {I32(0, 9, 2, 9), I32(-1, 9, 2, 40)}, {I64(0, 1, 2, 40)}, {NULL}},
    {"anchor_box_loss",
     &box,
     {NUMBERS(2, 40, 12), BOXES(30, 2, 40, 4), BOXES(30, 2, 5, 4), I32(-2, 5, 2, 40), I64(0, 3, 2, 40)},
     {SCALAR, NUMBERS(2)},
     {NULL}},
    {"mask_loss",
     NULL,
     {NUMBERS(8, 3, 4, 4), NUMBERS(2, 4, 16), I64(0, 3, 2, 4), I32(-2, 3, 2, 4)},
     {SCALAR, SCALAR},
     {NULL}},
    {"hard_targets", &harder, {NUMBERS(1, 5, 9, 9), I64(0, 5, 1, 9, 9)}, {I64(0, 1, 1, 9, 9)}, {NULL}},
    {"yolo_loss",
     &yolo,
     {NUMBERS(2, 16, 4, 4), BOXES(20, 2, 5, 4), I64(0, 3, 2, 5), I64(4, 6, 2)},
     {SCALAR, SCALAR, SCALAR, I32(0, 1, 2, 32)},
     {NULL}},
};
const uint64_t n_emu_cases = sizeof emu_cases / sizeof *emu_cases;
