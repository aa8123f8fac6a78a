/*
 * Detections in COCO's results format (https://cocodataset.org/#format-results), which pycocotools' loadRes reads: the
 * numbers are those that were measured, digit for digit.
 */
#include "detect_found.h"
#include "detect_mask_json.h"
#include "detect_task.h"
#include <math.h>

static void put_row(detect_text *t, const cvr_task_info *info, const detect_found *d, const coco_found *c, int64_t id) {
    const long long category = info->class_id ? (long long)info->class_id(info->data, c->klass) : c->klass + 1;
    detect_text_clear(t);
    detect_text_add(t,
                    "{\"image_id\": %lld, \"category_id\": %lld, \"bbox\": [%.12g, %.12g, %.12g, %.12g], \"score\": "
                    "%.9g",
                    (long long)id, category, c->box[0], c->box[1], c->box[2], c->box[3], c->score);
    if (d->has_masks) {
        detect_text_add(t, ", \"segmentation\": ");
        mask_json(t, c->mask, d->height, d->width);
    }
    detect_text_put(t, "}", 1);
}

int32_t detect_save(const cvr_task_info *info, const cvr_task_batch *batch, int64_t row,
                    const cvr_prediction_sink *sink, cvr_error *err) {
    const detect_filter all = {.n_classes = info->n_classes, .least_score = -INFINITY, .iou = 1, .masks = 1};
    detect_found d = {.host = info->host};
    detect_text text = {.host = info->host};
    int32_t status;
    CVR_TRY_OUT(detect_found_read(&d, &all, batch->outputs, row, err));
    for (uint64_t i = 0; i < d.rows.n; i++) {
        put_row(&text, info, &d, &detect_found_rows(&d)[i], batch->outputs->origins[row]->id);
        CVR_TRY_OUT(detect_text_check(&text, err));
        sink->json(sink, detect_text_of(&text));
    }
out:
    detect_found_free(&d);
    detect_text_free(&text);
    return status;
}
