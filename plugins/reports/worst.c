/*
 * The reporter "worst": worst.png, the ten pictures of the last validation that the network did worst on, by the task's
 * own score (cvr_task_desc.scores), with truth and prediction.
 */
#include "picture_sheet.h"
#include "reports.h"
#include <math.h>

#define WORST 10

typedef struct worst {
    const cvr_host *host;
    char score_name[32];
    picture_sheet sheet; /* the lowest score first */
    int64_t epoch;       /* that the sheet is of; 0: of the one that goes on */
} worst;

static void worst_close(void *self) {
    worst *const t = self;
    picture_sheet_close(&t->sheet);
    t->host->free(t->host, t);
}

static int32_t worst_open(const cvr_run_info *info, void **self, cvr_error *err) {
    worst *const t = report_calloc(info->host, sizeof *t);
    if (!t) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    t->host = info->host;
    const int32_t status = picture_sheet_open(&t->sheet, info, WORST, err);
    (void)snprintf(t->sheet.file, sizeof t->sheet.file, "worst");
    if (status == CVR_OK)
        *self = t;
    else
        worst_close(t);
    return status;
}

/* Of equal scores the picture that came first stays. */
static int32_t worst_validated(void *self, const cvr_batch_event *e, cvr_error *err) {
    worst *const t = self;
    picture_sheet *const s = &t->sheet;
    if (t->epoch) picture_sheet_clear(s);
    t->epoch = 0;
    if (!e->scores || !sheet_kind_of(e->batch)) return CVR_OK;
    (void)snprintf(t->score_name, sizeof t->score_name, "%.30s", e->score_name);
    for (int64_t i = 0; i < e->batch->n; i++) {
        int64_t place = s->n;
        if (isnan(e->scores[i])) continue;
        while (place > 0 && s->tiles[place - 1].score > e->scores[i]) place--;
        if (place < WORST) CVR_TRY(picture_sheet_add(s, e, i, place, err));
    }
    return CVR_OK;
}

static int32_t worst_epoch(void *self, const cvr_epoch_event *e, cvr_error *err) {
    worst *const t = self;
    picture_sheet *const s = &t->sheet;
    (void)err;
    if (t->epoch || s->n == 0) return CVR_OK;
    t->epoch = e->epoch;
    (void)snprintf(s->title, sizeof s->title, "The worst pictures of epoch %lld, by %s", (long long)t->epoch,
                   t->score_name);
    s->changed = 1;
    return CVR_OK;
}

static int32_t worst_flush(void *self, cvr_error *err) {
    return picture_sheet_flush(&((worst *)self)->sheet, err);
}

static int32_t worst_end(void *self, const cvr_end_event *e, cvr_error *err) {
    (void)e;
    return picture_sheet_draw(&((worst *)self)->sheet, err);
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
