/*
 * What one picture has on it: predictions.json and .csv, a line on the terminal, NAME.txt with the boxes as YOLO's
 * tools read them (class, centre and sides as shares of the picture, confidence), and the picture with its boxes.
 */
#include "../../drawing/boxes.h"
#include "detect_found.h"
#include "detect_mask_json.h"
#include "detect_task.h"
#include <stdatomic.h>
#include <stdlib.h>

#define MOST_NAMED 6 /* classes on the terminal's line */

typedef struct prediction {
    const cvr_task_info *info;
    const cvr_prediction_sink *sink;
    detect_found found;
    detect_text text;
} prediction;

static const char *name_of(const prediction *p, const coco_found *c) {
    return p->info->class_names[c->klass];
}

static void put_box(prediction *p, const coco_found *c, const char *before) {
    char name[1200];
    (void)cvr_json_string(name, sizeof name, name_of(p, c));
    detect_text_add(&p->text, "%s{\"index\": %lld, \"name\": %s, \"score\": %.6f, ", before, (long long)c->klass, name,
                    c->score);
    detect_text_add(&p->text, "\"xyxy\": [%.2f, %.2f, %.2f, %.2f]", c->box[0], c->box[1], c->box[0] + c->box[2],
                    c->box[1] + c->box[3]);
    if (p->found.has_masks) {
        detect_text_add(&p->text, ", \"mask\": ");
        mask_json(&p->text, c->mask, p->found.height, p->found.width);
    }
    detect_text_put(&p->text, "}", 1);
}

static int32_t tell_json(prediction *p, cvr_error *err) {
    detect_text_clear(&p->text);
    detect_text_add(&p->text, "\"boxes\": [");
    for (uint64_t i = 0; i < p->found.rows.n; i++) put_box(p, &detect_found_rows(&p->found)[i], i ? ", " : "");
    detect_text_put(&p->text, "]", 1);
    CVR_TRY(detect_text_check(&p->text, err));
    p->sink->json(p->sink, detect_text_of(&p->text));
    return CVR_OK;
}

static void tell_csv(const prediction *p) {
    char name[1200], cells[1400];
    for (uint64_t i = 0; i < p->found.rows.n; i++) {
        const coco_found *const c = &detect_found_rows(&p->found)[i];
        (void)cvr_csv_string(name, sizeof name, name_of(p, c));
        (void)snprintf(cells, sizeof cells, "%lld,%s,%.6f,%.2f,%.2f,%.2f,%.2f", (long long)c->klass, name, c->score,
                       c->box[0], c->box[1], c->box[0] + c->box[2], c->box[1] + c->box[3]);
        p->sink->csv(p->sink, cells);
    }
}

/* ---- the terminal's line: "3 objects: 2 dog, 1 cat" ---- */

typedef struct class_count {
    int64_t klass;
    uint64_t n;
} class_count;

/* The most frequent of the classes that are not told yet, the first of equal ones: those before `last` in that order.
 */
static class_count next_class(const prediction *p, const class_count *last) {
    const coco_found *const rows = detect_found_rows(&p->found);
    class_count best = {-1, 0};
    for (uint64_t i = 0; i < p->found.rows.n; i++) {
        class_count c = {rows[i].klass, 0};
        for (uint64_t k = 0; k < p->found.rows.n; k++) c.n += rows[k].klass == c.klass;
        const int32_t told = last->klass >= 0 && (c.n > last->n || (c.n == last->n && c.klass <= last->klass));
        if (!told && (c.n > best.n || (c.n == best.n && c.klass < best.klass))) best = c;
    }
    return best;
}

static int32_t tell_line(prediction *p, cvr_error *err) {
    const uint64_t n = p->found.rows.n;
    class_count c = {-1, 0};
    detect_text_clear(&p->text);
    if (n == 0)
        detect_text_add(&p->text, "no objects");
    else
        detect_text_add(&p->text, "%llu object%s", (unsigned long long)n, n == 1 ? "" : "s");
    for (int i = 0; n; i++) {
        c = next_class(p, &c);
        if (c.klass < 0) break;
        if (i == MOST_NAMED) {
            detect_text_add(&p->text, ", ...");
            break;
        }
        detect_text_add(&p->text, "%s %llu %.200s", i ? "," : ":", (unsigned long long)c.n,
                        p->info->class_names[c.klass]);
    }
    CVR_TRY(detect_text_check(&p->text, err));
    p->sink->line(p->sink, detect_text_of(&p->text));
    return CVR_OK;
}

/* ---- files ---- */

static int32_t write_yolo(prediction *p, cvr_error *err) {
    const double w = (double)p->found.width, h = (double)p->found.height;
    detect_text_clear(&p->text);
    for (uint64_t i = 0; i < p->found.rows.n; i++) {
        const coco_found *const c = &detect_found_rows(&p->found)[i];
        detect_text_add(&p->text, "%lld %.6g %.6g %.6g %.6g %.6g\n", (long long)c->klass,
                        (c->box[0] + c->box[2] / 2) / w, (c->box[1] + c->box[3] / 2) / h, c->box[2] / w, c->box[3] / h,
                        c->score);
    }
    CVR_TRY(detect_text_check(&p->text, err));
    return p->sink->file(p->sink, ".txt", detect_text_of(&p->text), p->text.chars.n, NULL, err);
}

static int32_t to_text(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    detect_text *const t = ctx;
    detect_text_put(t, bytes, n);
    return detect_text_check(t, err);
}

static int32_t write_picture(prediction *p, cvr_error *err) {
    const cvr_host *const host = p->info->host;
    const uint64_t n = p->found.rows.n;
    drawn_box *const boxes = host->alloc(host, (n + 1) * sizeof *boxes, 16);
    int32_t status;
    if (!boxes) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the picture with its boxes");
    for (uint64_t i = 0; i < n; i++) {
        const coco_found *const c = &detect_found_rows(&p->found)[i];
        boxes[i] = (drawn_box){.xyxy = {c->box[0], c->box[1], c->box[0] + c->box[2], c->box[1] + c->box[3]},
                               .klass = c->klass,
                               .score = c->score,
                               .name = name_of(p, c),
                               .unnamed = p->info->n_classes == 1,
                               .runs = p->found.has_masks ? c->mask.runs : NULL,
                               .n_runs = c->mask.n};
    }
    detect_text_clear(&p->text);
    CVR_TRY_OUT(boxes_png(host, p->sink->picture, boxes, (int64_t)n, to_text, &p->text, err));
    CVR_TRY_OUT(p->sink->file(p->sink, "_boxes.png", detect_text_of(&p->text), p->text.chars.n, NULL, err));
out:
    host->free(host, boxes);
    return status;
}

static int32_t tell(prediction *p, cvr_error *err) {
    CVR_TRY(tell_json(p, err));
    tell_csv(p);
    CVR_TRY(tell_line(p, err));
    CVR_TRY(write_yolo(p, err));
    return p->sink->picture ? write_picture(p, err) : CVR_OK;
}

/* Once: a network that leaves out low scores by itself (model.score_thresh) gives none of what lies between. */
static void warn_of_threshold(const cvr_host *host, double conf) {
    static atomic_int told;
    const cvr_config_service *const config = host->get(host, CVR_SERVICE_CONFIG);
    const char *const own = config ? config->get(config, "model", "score_thresh", NULL) : NULL;
    char words[200];
    if (!own || conf >= strtod(own, NULL) || atomic_exchange(&told, 1)) return;
    (void)snprintf(words, sizeof words,
                   "predict.conf = %g: the network itself gives no detection below model.score_thresh = %s; lower that "
                   "as well",
                   conf, own);
    host->log(host, CVR_LOG_WARNING, words);
}

int32_t detect_predict(const cvr_task_info *info, const cvr_batch_view *outputs, int64_t row,
                       const cvr_prediction_sink *sink, cvr_error *err) {
    const detect_predict_attrs *const a = info->predict_attrs;
    const detect_filter filter = {info->n_classes, a->conf, a->iou, a->max_det, 1};
    prediction p = {info, sink, {.host = info->host}, {.host = info->host}};
    warn_of_threshold(info->host, a->conf);
    int32_t status = detect_found_read(&p.found, &filter, outputs, row, err);
    if (status == CVR_OK) status = tell(&p, err);
    detect_found_free(&p.found);
    detect_text_free(&p.text);
    return status;
}
