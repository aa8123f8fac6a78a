/*
 * The overlay: each class's colour over the picture's pixels, which are grey there so that it is the legend's, its
 * outline in full colour, the legend below. A class named background is left as the picture is. A small picture is
 * shown larger, by a whole factor; the legend grows with a large one, so that it can be read when that is shown small.
 */
#include "segment_overlay.h"
#include "../../drawing/class_colours.h"

#define ALPHA 0.5
#define MARGIN 8
#define USUAL_WIDTH 700 /* pictures up to about this width have a legend of its usual size */
#define LEAST_WIDTH 200 /* of the legend */
#define SMALL 320       /* pictures are made larger up to this side */

int64_t segment_shares(const segment_mask *m, int64_t n_classes, segment_share shares[SEGMENT_IGNORED]) {
    int64_t n = 0;
    for (int64_t k = 0; k < n_classes; k++) {
        int64_t at = n;
        const segment_share s = {k, m->count[k] ? (double)m->count[k] / (double)m->seen : 0};
        if (m->count[k] == 0) continue;
        for (; at > 0 && shares[at - 1].share < s.share; at--) shares[at] = shares[at - 1];
        shares[at] = s;
        n++;
    }
    return n;
}

static int32_t is_background(const char *name) {
    static const char word[] = "background";
    size_t i = 0;
    name += *name == '_';
    while (word[i] && (name[i] | 0x20) == word[i]) i++;
    return word[i] == '\0' && (name[i] == '\0' || name[i] == '_');
}

/* Whether a neighbour above or to the left is of another class. */
static int32_t is_edge(const segment_mask *m, int64_t x, int64_t y, int64_t thick) {
    const uint8_t k = m->classes[y * m->width + x];
    for (int64_t d = 1; d <= thick; d++) {
        if (x >= d && m->classes[y * m->width + x - d] != k) return 1;
        if (y >= d && m->classes[(y - d) * m->width + x] != k) return 1;
    }
    return 0;
}

/* A size of drawing: pixels of the sheet for one of the picture, and how thick an outline is. */
typedef struct overlay_scale {
    int64_t grow, thick, legend;
} overlay_scale;

static overlay_scale scale_of(const segment_mask *m) {
    const int64_t longer = m->width > m->height ? m->width : m->height, grow = SMALL / longer,
                  large = (m->width + USUAL_WIDTH / 2) / USUAL_WIDTH;
    return (overlay_scale){grow > 1 ? grow : 1, large > 1 ? large : 1, large > 1 ? large : 1};
}

static colour pixel_of(const cvr_image *picture, int64_t i) {
    const uint8_t *const p = picture->data + i * picture->channels;
    return picture->channels < 3 ? (colour){p[0], p[0], p[0]} : (colour){p[0], p[1], p[2]};
}

static colour without_colour(colour c) {
    const uint8_t grey = (uint8_t)((299 * c.r + 587 * c.g + 114 * c.b) / 1000);
    return (colour){grey, grey, grey};
}

static void draw_picture(canvas *c, const cvr_task_info *info, const segment_mask *m, const cvr_image *picture,
                         overlay_scale scale) {
    for (int64_t i = 0; i < m->height * scale.grow; i++) {
        for (int64_t j = 0; j < m->width * scale.grow; j++) {
            const int64_t y = i / scale.grow, x = j / scale.grow;
            const colour pixel = pixel_of(picture, y * m->width + x);
            const uint8_t k = m->classes[y * m->width + x];
            const int32_t plain = k != SEGMENT_IGNORED && is_background(info->class_names[k]);
            canvas_blend(c, j, i, plain || k == SEGMENT_IGNORED ? pixel : without_colour(pixel), 1);
            if (!plain) canvas_blend(c, j, i, class_colour(k), is_edge(m, x, y, scale.thick) ? 1 : ALPHA);
        }
    }
}

void segment_percent(char text[16], double share) {
    if (share < 0.0005)
        (void)snprintf(text, 16, "< 0.1 %%");
    else
        (void)snprintf(text, 16, "%.1f %%", 100 * share);
}

static void share_words(char words[64], const char *name, double share) {
    char percent[16];
    segment_percent(percent, share);
    (void)snprintf(words, 64, "%.46s %s", name, percent);
}

static int32_t draw(canvas *c, const cvr_task_info *info, const segment_mask *m, const cvr_image *picture,
                    cvr_error *err) {
    segment_share shares[SEGMENT_IGNORED];
    legend_entry entries[SEGMENT_IGNORED];
    char words[SEGMENT_IGNORED][64];
    const overlay_scale scale = scale_of(m);
    const int64_t n = segment_shares(m, info->n_classes, shares);
    for (int64_t i = 0; i < n; i++) {
        share_words(words[i], info->class_names[shares[i].klass], shares[i].share);
        entries[i] = (legend_entry){class_colour(shares[i].klass), words[i]};
    }
    const int64_t wide = m->width * scale.grow, width = wide > LEAST_WIDTH ? wide : LEAST_WIDTH,
                  top = m->height * scale.grow;
    const int64_t margin = MARGIN * scale.legend;
    const box area = {margin, top + margin, width - 2 * margin, 0};
    const int64_t below = class_legend(NULL, area, scale.legend, entries, n) + 2 * margin - 4 * scale.legend;
    CVR_TRY(canvas_open(c, info->host, width, top + below, err));
    draw_picture(c, info, m, picture, scale);
    (void)class_legend(c, area, scale.legend, entries, n);
    return CVR_OK;
}

int32_t segment_overlay_write(const cvr_task_info *info, const segment_mask *m, const cvr_prediction_sink *sink,
                              cvr_error *err) {
    const cvr_image *const picture = sink->picture;
    canvas c = {.host = NULL};
    int32_t status;
    if (!picture || picture->width != m->width || picture->height != m->height) return CVR_OK;
    CVR_TRY_OUT(draw(&c, info, m, picture, err));
    CVR_TRY_OUT(segment_write_png(info->host, &c.image, "_overlay.png", sink, NULL, err));
out:
    if (c.host) canvas_close(&c);
    return status;
}
