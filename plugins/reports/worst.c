/*
 * The reporter "worst": worst.png, the ten pictures of the last validation that the network did worst on, by the task's
 * own score (cvr_task_desc.scores): picture, truth, prediction.
 */
#include "mask_sheet.h"
#include "reports.h"
#include <math.h>

#define PAUSE 2.0 /* seconds between drawings, so that short epochs do not wait for pictures */

typedef struct worst {
    const cvr_host *host;
    char folder[REPORT_PATH], score_name[32];
    report_classes classes;
    picture_look look;
    mask_sheet sheet; /* the lowest score first */
    int64_t epoch;    /* that the sheet is of; 0: of the one that goes on */
    int32_t changed;
    double drawn; /* when, in seconds; 0: not yet */
} worst;

static int32_t draw(worst *t, cvr_error *err) {
    char title[128];
    if (!t->changed || !t->epoch) return CVR_OK;
    (void)snprintf(title, sizeof title, "The worst pictures of epoch %lld, by %s", (long long)t->epoch, t->score_name);
    t->drawn = report_now();
    t->changed = 0;
    return mask_sheet_save(&t->sheet, title, t->folder, "worst", err);
}

/* A run that was interrupted has no end, but may have a sheet that waits. */
static void worst_close(void *self) {
    worst *const t = self;
    cvr_error err;
    cvr_error_init(&err);
    if (draw(t, &err) != CVR_OK) t->host->log(t->host, CVR_LOG_WARNING, err.message);
    mask_sheet_clear(&t->sheet);
    report_classes_free(&t->classes, t->host);
    picture_look_close(&t->look);
    t->host->free(t->host, t);
}

static int32_t worst_open(const cvr_run_info *info, void **self, cvr_error *err) {
    worst *const t = report_calloc(info->host, sizeof *t);
    if (!t) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    t->host = info->host;
    t->sheet = (mask_sheet){.look = &t->look, .classes = &t->classes};
    int32_t status;
    t->look.host = info->host;
    CVR_TRY_OUT(picture_look_open(&t->look, info, err));
    CVR_TRY_OUT(report_classes_copy(&t->classes, t->host, info->n_classes, info->class_names, err));
    const int n = snprintf(t->folder, sizeof t->folder, "%s", info->folder);
    if (n < 0 || n >= REPORT_PATH)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_INVALID, "the path of the run folder is too long; choose a shorter one"));
out:
    if (status != CVR_OK) {
        worst_close(t);
        return status;
    }
    *self = t;
    return CVR_OK;
}

/* Of equal scores the picture that came first stays. */
static int32_t worst_validated(void *self, const cvr_batch_event *e, cvr_error *err) {
    worst *const t = self;
    mask_sheet *const s = &t->sheet;
    if (t->epoch) mask_sheet_clear(s);
    t->epoch = 0;
    if (!e->scores || !batch_mask(e->batch)) return CVR_OK;
    (void)snprintf(t->score_name, sizeof t->score_name, "%.30s", e->score_name);
    for (int64_t i = 0; i < e->batch->n; i++) {
        int64_t place = s->n;
        if (isnan(e->scores[i])) continue;
        while (place > 0 && s->tiles[place - 1].score > e->scores[i]) place--;
        if (place < MASK_SHEET_TILES) CVR_TRY(mask_sheet_add(s, e, i, place, err));
    }
    return CVR_OK;
}

static int32_t worst_epoch(void *self, const cvr_epoch_event *e, cvr_error *err) {
    worst *const t = self;
    (void)err;
    if (t->epoch || t->sheet.n == 0) return CVR_OK;
    t->epoch = e->epoch;
    t->changed = 1;
    return CVR_OK;
}

static int32_t worst_flush(void *self, cvr_error *err) {
    worst *const t = self;
    return t->drawn > 0 && report_now() - t->drawn < PAUSE ? CVR_OK : draw(t, err);
}

static int32_t worst_end(void *self, const cvr_end_event *e, cvr_error *err) {
    (void)e;
    return draw(self, err);
}

const cvr_reporter_desc reports_worst = {
    .struct_size = sizeof reports_worst,
    .name = "worst",
    .doc = "worst.png: the pictures that the network does worst on, with truth and prediction",
    .open = worst_open,
    .epoch = worst_epoch,
    .flush = worst_flush,
    .end = worst_end,
    .close = worst_close,
    .validated = worst_validated,
};
