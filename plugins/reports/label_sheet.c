/*
 * A sheet of pictures that have a class, or several: each with its own below it and, where the network has said one,
 * its prediction: green when right, red when wrong. A class is a field of kind "label"; a prediction the largest of an
 * output (N, classes).
 */
#include "label_sheet.h"

#define TILE_SMALL 128 /* small pictures are made larger, by whole factors, up to this side */
#define TILE_LARGE 224 /* large ones are made smaller down to this side */
#define TILE_LEAST 64  /* room for a name */
#define GAP 12
#define LINE 15 /* of text */

typedef struct sheet {
    const cvr_tensor *image;          /* (N, C, H, W), in memory (N, H, W, C): u8, or f32 and normalised */
    const cvr_tensor *label, *output; /* NULL: there is none */
    int64_t width, height;            /* of a picture on the sheet */
    int64_t tile;                     /* width that a picture has to itself */
    int64_t columns, n;
    int64_t label_lines; /* of text below each picture */
} sheet;

static int64_t at_least(int64_t v, int64_t least) {
    return v > least ? v : least;
}

/* Class scores that go with the labels' pictures: (N, classes) f32. */
static const cvr_tensor *find_scores(const label_sheet *t, const cvr_batch_view *outputs) {
    for (uint32_t i = 0; outputs && i < outputs->n_fields; i++) {
        const cvr_tensor *const x = &outputs->fields[i]->tensor;
        if (x->dtype == CVR_F32 && x->rank == 2 && x->shape[1] == t->classes->n) return x;
    }
    return NULL;
}

/* Row i's class, in either of the forms that a label or the network's scores have. */
static int64_t class_at(const cvr_tensor *t, int64_t i) {
    if (t->dtype == CVR_I64) return ((const int64_t *)t->data)[i];
    return cvr_argmax((const float *)t->data + i * t->shape[1], t->shape[1]);
}

/* Whether row i's label has a share that is neither nothing nor all, as mixing leaves it. */
static int32_t is_mixed(const cvr_tensor *label, int64_t i) {
    for (int64_t k = 0; label && label->dtype == CVR_F32 && k < label->shape[1]; k++) {
        const float share = ((const float *)label->data)[i * label->shape[1] + k];
        if (share > 0 && share < 1) return 1;
    }
    return 0;
}

/* Two lines where any label of the sheet is mixed. */
static int64_t label_lines(const cvr_tensor *label, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (is_mixed(label, i)) return 2;
    }
    return label ? 1 : 0;
}

/* Whether class k is row i's, or one of them. */
static int32_t is_class_of(const cvr_tensor *t, int64_t i, int64_t k) {
    if (t->dtype != CVR_F32) return class_at(t, i) == k;
    const float share = ((const float *)t->data)[i * t->shape[1] + k];
    return share >= 0.5f || (share > 0 && class_at(t, i) == k);
}

static sheet lay_out(const label_sheet *t, const cvr_batch_event *e) {
    sheet s = {.image = batch_image(e->batch),
               .label = batch_kind(e->batch, CVR_FIELD_LABEL),
               .output = find_scores(t, e->outputs)};
    const cvr_tensor *const x = s.image;
    if (!x) return s;
    const int64_t height = x->shape[2], width = x->shape[3];
    const int64_t longer = at_least(width, height), factor = at_least(TILE_SMALL / longer, 1);
    s.width = width * factor;
    s.height = height * factor;
    if (longer > TILE_LARGE) {
        s.width = at_least((width * TILE_LARGE + longer / 2) / longer, 1);
        s.height = at_least((height * TILE_LARGE + longer / 2) / longer, 1);
    }
    s.tile = at_least(s.width, TILE_LEAST);
    const int64_t most = at_least(s.width, s.height) <= TILE_SMALL ? 32 : 16;
    s.n = x->shape[0] < most ? x->shape[0] : most;
    s.columns = most / 4;
    if (s.columns > s.n) s.columns = s.n;
    s.label_lines = label_lines(s.label, s.n);
    return s;
}

static void draw_text(canvas *c, const sheet *s, const char *words, point at, colour ink) {
    char label[4 * TILE_LARGE / CANVAS_LETTER_WIDTH];
    canvas_cut(label, sizeof label, words, s->tile / CANVAS_LETTER_WIDTH);
    canvas_text(c, (int64_t)at.x, (int64_t)at.y, label, (canvas_text_style){ink, 0, 0});
}

/* The classes of row i, which is not mixed: "cat, dog", as many as fit; "-" where there is none. */
static void list_classes(const label_sheet *t, const cvr_tensor *label, int64_t i, char *words, size_t size) {
    char name[REPORT_NAME];
    const int64_t classes = label->dtype == CVR_F32 ? label->shape[1] : 0;
    size_t at = 0;
    report_class_label(t->classes, class_at(label, i), name);
    (void)snprintf(words, size, "%s", classes ? "-" : name);
    for (int64_t k = 0; k < classes && at + 1 < size; k++) {
        if (!is_class_of(label, i, k)) continue;
        report_class_label(t->classes, k, name);
        at += (size_t)snprintf(words + at, size - at, "%s%s", at ? ", " : "", name);
    }
}

/* The two largest shares, a line each: "cup 62 %". */
static void draw_shares(canvas *c, const label_sheet *t, const sheet *s, int64_t i, point at) {
    const int64_t classes = s->label->shape[1];
    const float *const share = (const float *)s->label->data + i * classes;
    int64_t first = 0, second = -1;
    for (int64_t k = 1; k < classes; k++)
        if (share[k] > share[first]) first = k;
    for (int64_t k = 0; k < classes; k++)
        if (k != first && share[k] > 0.005f && (second < 0 || share[k] > share[second])) second = k;
    for (int64_t line = 0; line < 2; line++, at.y += LINE) {
        const int64_t k = line ? second : first;
        char name[REPORT_NAME], percent[16], label[4 * TILE_LARGE / CANVAS_LETTER_WIDTH];
        if (k < 0) return;
        report_class_label(t->classes, k, name);
        (void)snprintf(percent, sizeof percent, " %.0f %%", 100 * (double)share[k]);
        canvas_cut(label, sizeof label - 16, name, s->tile / CANVAS_LETTER_WIDTH - (int64_t)strlen(percent));
        (void)snprintf(label + strlen(label), sizeof label - strlen(label), "%s", percent);
        canvas_text(c, (int64_t)at.x, (int64_t)at.y, label, (canvas_text_style){CANVAS_INK, 0, 0});
    }
}

static void draw_tile(canvas *c, const label_sheet *t, const sheet *s, int64_t i, int64_t left, int64_t top) {
    static const colour right = {24, 135, 70}, wrong = {205, 45, 50};
    char words[REPORT_NAME + 8];
    const batch_picture from = {s->image, i, s->image->shape[2], s->image->shape[3]};
    point at = {(double)left, (double)(top + s->height + 4)};
    picture_draw(c, t->look, &from, (box){left + (s->tile - s->width) / 2, top, s->width, s->height});
    if (is_mixed(s->label, i)) {
        draw_shares(c, t, s, i, at);
    } else if (s->label) {
        list_classes(t, s->label, i, words, sizeof words);
        draw_text(c, s, words, at, CANVAS_INK);
    }
    at.y += (double)(s->label_lines * LINE);
    if (s->output) {
        const int64_t said = class_at(s->output, i);
        const int32_t hit = s->label && is_class_of(s->label, i, said);
        report_class_label(t->classes, said, words);
        draw_text(c, s, words, at, !s->label ? CANVAS_INK : hit ? right : wrong);
    }
}

int32_t label_sheet_write(const label_sheet *t, const cvr_batch_event *e, const char *folder, const char *file,
                          cvr_error *err) {
    const sheet s = lay_out(t, e);
    if (s.n == 0) return CVR_OK;
    const int64_t lines = s.label_lines + (s.output ? 1 : 0);
    const int64_t across = s.tile + GAP, down = s.height + 4 + lines * LINE + GAP;
    canvas c;
    CVR_TRY(
        canvas_open(&c, t->look->host, GAP + s.columns * across, GAP + (s.n + s.columns - 1) / s.columns * down, err));
    for (int64_t i = 0; i < s.n; i++) {
        draw_tile(&c, t, &s, i, GAP + i % s.columns * across, GAP + i / s.columns * down);
    }
    const int32_t status = report_save_png(&c, folder, file, err);
    canvas_close(&c);
    return status;
}
