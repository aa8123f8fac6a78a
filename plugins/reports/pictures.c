/*
 * The reporter "pictures": a sheet of the first pictures of a batch, as they were before `(x - mean) / std`, each with
 * its class below it and, where the network has said one, its prediction: green when right, red when wrong.
 */
#include "report_file.h"
#include "reports.h"

#define TILE_SMALL 128 /* small pictures are made larger, by whole factors, up to this side */
#define TILE_LARGE 224 /* large ones are made smaller down to this side */
#define TILE_LEAST 64  /* room for a name */
#define GAP 12
#define LINE 15 /* of text */

typedef struct pictures {
    const cvr_host *host;
    char folder[REPORT_PATH];
    report_classes classes;
    int64_t n_channels;
    double *mean, *std;
} pictures;

static void pictures_close(void *self) {
    pictures *const t = self;
    const cvr_host *const host = t->host;
    report_classes_free(&t->classes, host);
    if (t->mean) host->free(host, t->mean);
    if (t->std) host->free(host, t->std);
    host->free(host, t);
}

/* `n` numbers; `otherwise` where none are given. */
static double *copy_numbers(const cvr_host *host, const double *from, int64_t n, double otherwise) {
    double *const copy = host->alloc(host, (uint64_t)(n + 1) * sizeof *copy, 16);
    for (int64_t i = 0; copy && i < n; i++) copy[i] = from ? from[i] : otherwise;
    return copy;
}

static int32_t pictures_open(const cvr_run_info *info, void **self, cvr_error *err) {
    pictures *const t = report_calloc(info->host, sizeof *t);
    if (!t) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    t->host = info->host;
    t->n_channels = info->n_channels > 0 ? info->n_channels : 0;
    t->mean = copy_numbers(t->host, info->mean, t->n_channels, 0);
    t->std = copy_numbers(t->host, info->std, t->n_channels, 1);
    int32_t status = t->mean && t->std ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    if (status == CVR_OK) {
        status = report_classes_copy(&t->classes, t->host, info->n_classes, info->class_names, err);
    }
    const int n = snprintf(t->folder, sizeof t->folder, "%s", info->folder);
    if (status == CVR_OK && (n < 0 || n >= REPORT_PATH)) {
        status = cvr_fail(err, CVR_ERR_INVALID, "the path of the run folder is too long; choose a shorter one");
    }
    if (status != CVR_OK) {
        pictures_close(t);
        return status;
    }
    *self = t;
    return CVR_OK;
}

typedef struct sheet {
    const cvr_batch_event *e;
    int64_t width, height; /* of a picture on the sheet */
    int64_t tile;          /* width that a picture has to itself */
    int64_t columns, n;
} sheet;

static int64_t at_least(int64_t v, int64_t least) {
    return v > least ? v : least;
}

static sheet lay_out(const cvr_batch_event *e) {
    const int64_t longer = at_least(e->width, e->height);
    const int64_t factor = at_least(TILE_SMALL / longer, 1);
    sheet s = {.e = e, .width = e->width * factor, .height = e->height * factor};
    if (longer > TILE_LARGE) {
        s.width = at_least((e->width * TILE_LARGE + longer / 2) / longer, 1);
        s.height = at_least((e->height * TILE_LARGE + longer / 2) / longer, 1);
    }
    s.tile = at_least(s.width, TILE_LEAST);
    const int64_t most = at_least(s.width, s.height) <= TILE_SMALL ? 32 : 16;
    s.n = e->n < most ? e->n : most;
    s.columns = most / 4;
    if (s.columns > s.n) s.columns = s.n;
    return s;
}

/* Mean of a channel over the part of the picture that pixel (x, y) of the sheet shows. */
static double area_mean(const sheet *s, int64_t i, int64_t channel, int64_t x, int64_t y) {
    const cvr_batch_event *const e = s->e;
    const double left = (double)x * (double)e->width / (double)s->width;
    const double right = (double)(x + 1) * (double)e->width / (double)s->width;
    const double top = (double)y * (double)e->height / (double)s->height;
    const double bottom = (double)(y + 1) * (double)e->height / (double)s->height;
    double sum = 0, weight = 0;
    for (int64_t v = (int64_t)top; v < e->height && (double)v < bottom; v++) {
        const double tall = ((double)(v + 1) < bottom ? (double)(v + 1) : bottom) - ((double)v > top ? (double)v : top);
        for (int64_t u = (int64_t)left; u < e->width && (double)u < right; u++) {
            const double wide =
                ((double)(u + 1) < right ? (double)(u + 1) : right) - ((double)u > left ? (double)u : left);
            sum += tall * wide * (double)e->pixels[((i * e->height + v) * e->width + u) * e->channels + channel];
            weight += tall * wide;
        }
    }
    return weight > 0 ? sum / weight : 0;
}

static uint8_t to_byte(const pictures *t, int64_t channel, double v) {
    const double x = channel < t->n_channels ? v * t->std[channel] + t->mean[channel] : v;
    const double level = x * 255 + 0.5;
    if (!(level > 0)) return 0; /* also what is not a number */
    return level < 255 ? (uint8_t)level : 255;
}

/* Three channels are RGB; of any other number the first is shown, grey. */
static void draw_picture(canvas *c, const pictures *t, const sheet *s, int64_t i, int64_t left, int64_t top) {
    const int32_t rgb = s->e->channels == 3;
    for (int64_t y = 0; y < s->height; y++) {
        for (int64_t x = 0; x < s->width; x++) {
            const uint8_t red = to_byte(t, 0, area_mean(s, i, 0, x, y));
            colour ink = {red, red, red};
            if (rgb) ink.g = to_byte(t, 1, area_mean(s, i, 1, x, y));
            if (rgb) ink.b = to_byte(t, 2, area_mean(s, i, 2, x, y));
            canvas_blend(c, left + x, top + y, ink, 1);
        }
    }
    canvas_frame(c, (box){left - 1, top - 1, s->width + 2, s->height + 2}, CANVAS_GRID);
}

static void draw_name(canvas *c, const pictures *t, const sheet *s, int64_t class_, point at, colour ink) {
    char name[REPORT_NAME], label[TILE_LARGE / CANVAS_LETTER_WIDTH + 1];
    report_class_name(&t->classes, class_, name);
    canvas_cut(label, name, s->tile / CANVAS_LETTER_WIDTH);
    canvas_text(c, (int64_t)at.x, (int64_t)at.y, label, (canvas_text_style){ink, 0, 0});
}

static void draw_tile(canvas *c, const pictures *t, const sheet *s, int64_t i, int64_t left, int64_t top) {
    static const colour right = {24, 135, 70}, wrong = {205, 45, 50};
    const cvr_batch_event *const e = s->e;
    point at = {(double)left, (double)(top + s->height + 4)};
    draw_picture(c, t, s, i, left + (s->tile - s->width) / 2, top);
    if (e->labels) {
        draw_name(c, t, s, e->labels[i], at, CANVAS_INK);
        at.y += LINE;
    }
    if (e->predictions) {
        const int32_t hit = e->labels && e->labels[i] == e->predictions[i];
        draw_name(c, t, s, e->predictions[i], at, !e->labels ? CANVAS_INK : hit ? right : wrong);
    }
}

/* A name as part of a file's name. */
static void file_name(char out[64], const char *name) {
    (void)snprintf(out, 64, "%.60s", name);
    for (char *p = out; *p; p++) {
        const int32_t plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (!plain && *p != '-' && *p != '_') *p = '_';
    }
}

static int32_t pictures_batch(void *self, const cvr_batch_event *e, cvr_error *err) {
    const pictures *const t = self;
    if (e->n <= 0 || e->width <= 0 || e->height <= 0 || e->channels <= 0) return CVR_OK;
    const sheet s = lay_out(e);
    const int64_t lines = (e->labels ? 1 : 0) + (e->predictions ? 1 : 0);
    const int64_t across = s.tile + GAP, down = s.height + 4 + lines * LINE + GAP;
    char name[64];
    canvas c;
    int32_t status =
        canvas_open(&c, t->host, GAP + s.columns * across, GAP + (s.n + s.columns - 1) / s.columns * down, err);
    if (status != CVR_OK) return status;
    for (int64_t i = 0; i < s.n; i++) {
        draw_tile(&c, t, &s, i, GAP + i % s.columns * across, GAP + i / s.columns * down);
    }
    file_name(name, e->name);
    status = report_save_png(&c, t->folder, name, err);
    canvas_close(&c);
    return status;
}

const cvr_reporter_desc reports_pictures = {
    .struct_size = sizeof reports_pictures,
    .name = "pictures",
    .doc = "train_batch0.png and val_batch0.png: the pictures as the network sees them",
    .open = pictures_open,
    .batch = pictures_batch,
    .close = pictures_close,
};
