/* Pictures whose pixels have classes: the picture, the truth and what the network says, as colours over it. */
#include "picture_sheet.h"

#define SMALL 192  /* small pictures are shown larger, by whole factors, up to this side */
#define LARGE 256  /* large ones are made smaller down to this side */
#define COVER 0.65 /* how much of a pixel its class's colour takes */

static int64_t at_least(int64_t v, int64_t least) {
    return v > least ? v : least;
}

static int32_t shows(const cvr_batch_view *b) {
    return batch_mask(b) != NULL;
}

/* Its own size, or the largest that is shown. */
static view_size size_of(const batch_picture *p) {
    const int64_t longer = at_least(p->height, p->width);
    if (longer <= LARGE) return (view_size){p->height, p->width};
    return (view_size){at_least((p->height * LARGE + longer / 2) / longer, 1),
                       at_least((p->width * LARGE + longer / 2) / longer, 1)};
}

static uint8_t as_class(int64_t k, int64_t n_classes) {
    return k >= 0 && k < n_classes && k < PICTURE_IGNORED ? (uint8_t)k : PICTURE_IGNORED;
}

static uint8_t mix(uint8_t below, uint8_t above) {
    return (uint8_t)(below + (above - below) * COVER + 0.5);
}

/* The class's colour over a pixel that is grey there, so that it is the legend's. */
static void put_class(sheet_tile *t, int64_t pane, int64_t at, colour plain, uint8_t k) {
    const uint8_t grey = (uint8_t)((299 * plain.r + 587 * plain.g + 114 * plain.b) / 1000);
    const colour ink = class_colour(k);
    memcpy(sheet_pane(t, pane) + 3 * at, (const uint8_t[]){mix(grey, ink.r), mix(grey, ink.g), mix(grey, ink.b)}, 3);
    t->seen[k] = 1;
}

/* What is said of a pixel that does not count is not shown. */
static int32_t fill(const picture_sheet *s, sheet_tile *t, const cvr_batch_event *e, int64_t i, cvr_error *err) {
    const cvr_tensor *const mask = batch_mask(e->batch), *const scores =
                                                             batch_pixel_scores(e->outputs, s->classes.n, mask);
    const batch_picture from = batch_picture_at(e->batch, i);
    const view_size size = size_of(&from);
    CVR_TRY(sheet_tile_open(t, s->look.host, scores ? 3 : 2, size, err));
    t->factor = at_least(SMALL / at_least(t->width, t->height), 1);
    for (int64_t y = 0, at = 0; y < t->height; y++) {
        for (int64_t x = 0; x < t->width; x++, at++) {
            const int64_t v = (2 * y + 1) * from.height / (2 * t->height),
                          u = (2 * x + 1) * from.width / (2 * t->width),
                          pixel = (i * mask->shape[1] + v) * mask->shape[2] + u;
            const colour c = picture_pixel(&s->look, &from, size, x, y);
            const uint8_t truth = as_class(((const int64_t *)mask->data)[pixel], s->classes.n);
            memcpy(sheet_pane(t, 0) + 3 * at, (const uint8_t[]){c.r, c.g, c.b}, 3);
            put_class(t, 1, at, c, truth);
            if (!scores) continue;
            const float *const of = (const float *)scores->data + pixel * scores->pixel_stride;
            put_class(t, 2, at, c,
                      truth == PICTURE_IGNORED ? truth : as_class(cvr_argmax(of, s->classes.n), s->classes.n));
        }
    }
    sheet_tile_name(e->batch, i, t->captions[0], SHEET_CAPTION);
    (void)snprintf(t->captions[1], SHEET_CAPTION, "truth");
    if (scores) sheet_tile_said(e, i, t->captions[2], SHEET_CAPTION);
    return CVR_OK;
}

const sheet_kind sheet_of_masks = {
    .shows = shows, .fill = fill, .colour_of = class_colour, .most = 8, .most_single = 8};
