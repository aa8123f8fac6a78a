/* A picture with its objects as a file of its own, and the legend of their classes. */
#include "boxes_parts.h"

#define SMALL 640 /* pictures are shown larger, by a whole factor, up to this side */
#define MARGIN 8
#define LEAST_WIDTH 200 /* of the legend */
#define WORDS 128

/* ---- the legend ---- */

typedef struct class_count {
    int64_t klass, n;
    const char *name;
} class_count;

typedef struct class_counts {
    const cvr_host *host;
    class_count *each; /* the most frequent first */
    legend_entry *entries;
    char (*words)[WORDS];
    int64_t n;
} class_counts;

static void close_counts(class_counts *t) {
    if (t->each) t->host->free(t->host, t->each);
    if (t->entries) t->host->free(t->host, t->entries);
    if (t->words) t->host->free(t->host, t->words);
}

static void count(class_counts *t, const drawn_box *b) {
    int64_t at = 0;
    while (at < t->n && t->each[at].klass != b->klass) at++;
    if (at == t->n) t->each[t->n++] = (class_count){b->klass, 0, b->name};
    const class_count one = {b->klass, t->each[at].n + 1, t->each[at].name};
    for (; at > 0 && t->each[at - 1].n < one.n; at--) t->each[at] = t->each[at - 1];
    t->each[at] = one;
}

static int32_t open_counts(class_counts *t, const drawn_box *boxes, int64_t n, cvr_error *err) {
    const uint64_t room = (uint64_t)n + 1;
    t->each = t->host->alloc(t->host, room * sizeof *t->each, 16);
    if (!t->each) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a legend");
    for (int64_t i = 0; i < n; i++) count(t, &boxes[i]);
    t->entries = t->host->alloc(t->host, ((uint64_t)t->n + 1) * sizeof *t->entries, 16);
    t->words = t->host->alloc(t->host, ((uint64_t)t->n + 1) * sizeof *t->words, 16);
    if (!t->entries || !t->words) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a legend");
    for (int64_t i = 0; i < t->n; i++) {
        const class_count *const k = &t->each[i];
        char name[WORDS];
        if (k->name && canvas_can_draw(k->name))
            canvas_cut(name, sizeof name - 24, k->name, 32);
        else
            (void)snprintf(name, sizeof name, "class %lld", (long long)k->klass);
        (void)snprintf(t->words[i], WORDS, "%.*s %lld", WORDS - 24, name, (long long)k->n);
        t->entries[i] = (legend_entry){object_colour(k->klass), t->words[i]};
    }
    return CVR_OK;
}

int32_t boxes_legend(canvas *c, const cvr_host *host, box area, int64_t scale, const drawn_box *boxes, int64_t n,
                     int64_t *height, cvr_error *err) {
    class_counts t = {.host = host};
    int32_t status;
    CVR_TRY_OUT(open_counts(&t, boxes, n, err));
    *height = class_legend(c, area, scale, t.entries, t.n);
out:
    close_counts(&t);
    return status;
}

/* ---- the picture ---- */

static void copy_picture(canvas *c, const cvr_image *from, int64_t grow) {
    const int64_t channels = from->channels;
    for (int64_t y = 0; y < from->height * grow; y++) {
        uint8_t *out = c->image.data + y * c->image.width * 3;
        for (int64_t x = 0; x < from->width * grow; x++) {
            const uint8_t *const p = from->data + (y / grow * from->width + x / grow) * channels;
            *out++ = p[0];
            *out++ = p[channels < 3 ? 0 : 1];
            *out++ = p[channels < 3 ? 0 : 2];
        }
    }
}

/* Below the picture, which keeps its pixels; a canvas of another height. */
static int32_t add_legend(canvas *c, boxes_view v, const drawn_box *boxes, int64_t n, cvr_error *err) {
    const canvas old = *c;
    const int64_t margin = MARGIN * v.scale, least = LEAST_WIDTH * v.scale;
    const int64_t width = v.at.width > least ? v.at.width : least;
    const box area = {margin, v.at.height + margin, width - 2 * margin, 0};
    int64_t height;
    canvas wider;
    CVR_TRY(boxes_legend(NULL, c->host, area, v.scale, boxes, n, &height, err));
    CVR_TRY(canvas_open(&wider, old.host, width, v.at.height + height + 2 * margin - 4 * v.scale, err));
    for (int64_t y = 0; y < v.at.height; y++)
        memcpy(wider.image.data + y * width * 3, old.image.data + y * v.at.width * 3, (size_t)v.at.width * 3);
    canvas_close(c);
    *c = wider;
    return boxes_legend(c, c->host, area, v.scale, boxes, n, &height, err);
}

int32_t boxes_picture(canvas *c, const cvr_host *host, const cvr_image *picture, const drawn_box *boxes, int64_t n,
                      cvr_error *err) {
    const int64_t longer = picture->width > picture->height ? picture->width : picture->height, fit = SMALL / longer,
                  grow = fit > 1 ? fit : 1;
    const boxes_view v = {.at = {0, 0, picture->width * grow, picture->height * grow},
                          .height = picture->height,
                          .width = picture->width,
                          .scale = boxes_scale(picture->width * grow, picture->height * grow)};
    int64_t left_out;
    int32_t status;
    CVR_TRY(canvas_open(c, host, v.at.width, v.at.height, err));
    copy_picture(c, picture, grow);
    CVR_TRY_OUT(boxes_draw(c, &v, boxes, n, &left_out, err));
    if (left_out > 0) CVR_TRY_OUT(add_legend(c, v, boxes, n, err));
out:
    if (status != CVR_OK) canvas_close(c);
    return status;
}

int32_t boxes_png(const cvr_host *host, const cvr_image *picture, const drawn_box *boxes, int64_t n, cvr_sink_fn sink,
                  void *ctx, cvr_error *err) {
    const cvr_image_service *const images = host->get(host, CVR_SERVICE_IMAGE);
    canvas c;
    if (!images) return cvr_fail(err, CVR_ERR_NOTFOUND, "this host writes no pictures (%s)", CVR_SERVICE_IMAGE);
    CVR_TRY(boxes_picture(&c, host, picture, boxes, n, err));
    const int32_t status = images->encode(images, "png", &c.image, sink, ctx, err);
    canvas_close(&c);
    return status;
}
