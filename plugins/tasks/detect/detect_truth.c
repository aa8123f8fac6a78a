/* Annotations in double, not rounded, moved or left out, as the fields of a batch may be. */
#include "detect_truth.h"
#include "detect_found.h"

static int32_t add_object(void *ctx, const cvr_object *o, cvr_error *err) {
    detect_truth *const t = ctx;
    if (o->klass < 0) return CVR_OK;
    coco_truth *const to = host_array_add(&t->rows, t->host, sizeof *to, err);
    if (!to) return CVR_ERR_NOMEM;
    *to = (coco_truth){.id = o->id,
                       .klass = o->klass,
                       .box = {o->box[0], o->box[1], o->box[2], o->box[3]},
                       .area = o->area,
                       .crowd = (o->flags & CVR_OBJECT_CROWD) != 0,
                       .ignored = (o->flags & CVR_OBJECT_DIFFICULT) != 0,
                       .mask = {NULL, o->n_runs}};
    if (!o->n_runs) return CVR_OK;
    CVR_TRY(host_array_room(&t->runs, t->host, o->n_runs, sizeof *o->runs, err));
    memcpy((uint32_t *)t->runs.data + t->runs.n, o->runs, o->n_runs * sizeof *o->runs);
    t->runs.n += o->n_runs;
    return CVR_OK;
}

/* Once all runs are there. */
static void place_masks(detect_truth *t) {
    coco_truth *const rows = t->rows.data;
    uint64_t at = 0;
    for (uint64_t i = 0; i < t->rows.n; i++) {
        rows[i].mask.runs = rows[i].mask.n ? (const uint32_t *)t->runs.data + at : NULL;
        at += rows[i].mask.n;
    }
}

/* boxes: (N, M, 4) f32, box_labels: (N, M) i64, of which counts[row] count. */
static int32_t read_fields(detect_truth *t, const cvr_batch_view *targets, int64_t row, cvr_error *err) {
    const cvr_named_tensor *const boxes = cvr_batch_find(targets, CVR_FIELD_BOXES), *const labels = cvr_batch_find(
                                                                                        targets, CVR_FIELD_BOX_LABELS);
    const cvr_origin *const o = targets->origins[row];
    double back[9];
    if (!boxes || !labels) return cvr_fail(err, CVR_ERR_INVALID, "the batches have no boxes");
    const int64_t most = boxes->tensor.shape[1], n = boxes->counts ? ((const int64_t *)boxes->counts->data)[row] : most;
    CVR_TRY(detect_inverse(back, o->geometry, err));
    for (int64_t i = 0; i < n && i < most; i++) {
        const int64_t klass = ((const int64_t *)labels->tensor.data)[row * most + i];
        if (klass < 0) continue;
        coco_truth *const to = host_array_add(&t->rows, t->host, sizeof *to, err);
        if (!to) return CVR_ERR_NOMEM;
        *to = (coco_truth){.id = i + 1, .klass = klass};
        detect_map_box(to->box, back, (const float *)boxes->tensor.data + (row * most + i) * 4, o->height, o->width);
        to->area = to->box[2] * to->box[3];
    }
    return CVR_OK;
}

int32_t detect_truth_read(detect_truth *t, const cvr_task_info *info, const cvr_batch_view *targets, int64_t row,
                          cvr_error *err) {
    t->rows.n = t->runs.n = 0;
    t->exact = 1;
    cvr_error none = CVR_ERROR_INIT;
    const int32_t status = info->objects ? info->objects(info->data, targets->origins[row]->index, add_object, t, &none)
                                         : CVR_ERR_NOTFOUND;
    if (status == CVR_ERR_NOTFOUND) {
        t->exact = 0;
        return read_fields(t, targets, row, err);
    }
    if (status != CVR_OK) {
        *err = none;
        return status;
    }
    place_masks(t);
    return CVR_OK;
}

void detect_truth_free(detect_truth *t) {
    host_array_free(&t->rows, t->host);
    host_array_free(&t->runs, t->host);
}
