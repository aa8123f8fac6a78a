/*
 * The reporter "pictures": a sheet of the first pictures of a batch, as they were before `(x - mean) / std`. What is
 * shown beside them is what kinds of fields the batch has: objects or classes of pixels (sheet_kind), else labels.
 */
#include "label_sheet.h"
#include "picture_sheet.h"
#include "reports.h"

typedef struct pictures {
    const cvr_host *host;
    picture_sheet sheet; /* of the last validation that has a kind; what it knows of the run serves the labels too */
    int32_t labels_shown;
    int64_t validated; /* batches of the validation that goes on */
} pictures;

static int32_t pictures_flush(void *self, cvr_error *err) {
    return picture_sheet_flush(&((pictures *)self)->sheet, err);
}

static int32_t pictures_end(void *self, const cvr_end_event *e, cvr_error *err) {
    (void)e;
    return picture_sheet_draw(&((pictures *)self)->sheet, err);
}

static void pictures_close(void *self) {
    pictures *const t = self;
    picture_sheet_close(&t->sheet);
    t->host->free(t->host, t);
}

static int32_t pictures_open(const cvr_run_info *info, void **self, cvr_error *err) {
    pictures *const t = report_calloc(info->host, sizeof *t);
    if (!t) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    t->host = info->host;
    const int32_t status = picture_sheet_open(&t->sheet, info, SHEET_TILES, err);
    if (status == CVR_OK)
        *self = t;
    else
        pictures_close(t);
    return status;
}

/* A name as part of a file's name. */
static void file_name(char out[64], const char *name) {
    (void)snprintf(out, 64, "%.60s", name);
    for (char *p = out; *p; p++) {
        const int32_t plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (!plain && *p != '-' && *p != '_') *p = '_';
    }
}

static int32_t add_tiles(pictures *t, const cvr_batch_event *e, cvr_error *err) {
    picture_sheet *const s = &t->sheet;
    for (int64_t i = 0; i < e->batch->n; i++) {
        const int64_t most = s->n == 0 || s->tiles[0].n_panes > 1 ? s->kind->most : s->kind->most_single;
        if (s->n >= most) break;
        CVR_TRY(picture_sheet_add(s, e, i, s->n, err));
    }
    s->changed = 1;
    return CVR_OK;
}

/* A batch of training is drawn at once, one of a validation when that is over. */
static int32_t take_tiles(pictures *t, const sheet_kind *kind, const cvr_batch_event *e, cvr_error *err) {
    picture_sheet_clear(&t->sheet);
    t->sheet.kind = kind;
    *t->sheet.title = '\0';
    t->validated = 0;
    file_name(t->sheet.file, e->name);
    CVR_TRY(add_tiles(t, e, err));
    return e->outputs ? CVR_OK : picture_sheet_draw(&t->sheet, err);
}

/* The first batch again, now with the scores of its pictures; where it has fewer than there is room for, the next ones
 * fill it. */
static int32_t pictures_validated(void *self, const cvr_batch_event *e, cvr_error *err) {
    pictures *const t = self;
    const int64_t before = t->validated++;
    if (t->sheet.n == 0 || sheet_kind_of(e->batch) != t->sheet.kind) return CVR_OK;
    if (before == 0) picture_sheet_clear(&t->sheet);
    return add_tiles(t, e, err);
}

static int32_t pictures_epoch(void *self, const cvr_epoch_event *e, cvr_error *err) {
    pictures *const t = self;
    (void)err;
    if (t->validated > 0 && t->sheet.n > 0 && !*t->sheet.title)
        (void)snprintf(t->sheet.title, sizeof t->sheet.title, "The first pictures of the validation, epoch %lld",
                       (long long)e->epoch);
    return CVR_OK;
}

/* Of labels the first validation is shown. */
static int32_t pictures_batch(void *self, const cvr_batch_event *e, cvr_error *err) {
    pictures *const t = self;
    const sheet_kind *const kind = sheet_kind_of(e->batch);
    const label_sheet labels = {&t->sheet.look, &t->sheet.classes};
    char name[64];
    if (kind) return take_tiles(t, kind, e, err);
    if (e->outputs && t->labels_shown) return CVR_OK;
    t->labels_shown = e->outputs != NULL;
    file_name(name, e->name);
    return label_sheet_write(&labels, e, t->sheet.folder, name, err);
}

const cvr_reporter_desc reports_pictures = {
    .struct_size = sizeof reports_pictures,
    .name = "pictures",
    .doc = "train_batch0.png and val_batch0.png: the pictures as the network sees them",
    .open = pictures_open,
    .epoch = pictures_epoch,
    .batch = pictures_batch,
    .flush = pictures_flush,
    .end = pictures_end,
    .close = pictures_close,
    .validated = pictures_validated,
};
