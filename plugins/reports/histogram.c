/* Drawing panels of counts. */
#include "histogram.h"
#include "plot.h"

#define MARGIN_LEFT 64
#define MARGIN_RIGHT 16
#define MARGIN_TOP 34
#define MARGIN_BOTTOM 46
#define BAR ((colour){31, 110, 196})

colour report_shade(double share) {
    const double s = share > 0 ? 0.06 + 0.94 * share : 0;
    return (colour){(uint8_t)(250 - 228 * s + 0.5), (uint8_t)(251 - 181 * s + 0.5), (uint8_t)(253 - 99 * s + 0.5)};
}

static box inner_of(box area) {
    return (box){area.x + MARGIN_LEFT, area.y + MARGIN_TOP, area.width - MARGIN_LEFT - MARGIN_RIGHT,
                 area.height - MARGIN_TOP - MARGIN_BOTTOM};
}

static int64_t largest(const int64_t *counts, int64_t n) {
    int64_t most = 0;
    for (int64_t i = 0; i < n; i++) most = counts[i] > most ? counts[i] : most;
    return most;
}

static void draw_titles(canvas *c, box in, const char *title, const char *x_name) {
    canvas_text(c, in.x, in.y - 22, title, (canvas_text_style){CANVAS_INK, 0, 1});
    canvas_text(c, in.x + (in.width - canvas_text_width(x_name)) / 2, in.y + in.height + 28, x_name,
                (canvas_text_style){CANVAS_FAINT, 0, 0});
}

static void draw_scale(canvas *c, box in, const plot_axis *y) {
    char label[32];
    for (uint32_t i = 0; i < y->n; i++) {
        const double value = y->first + i * y->step;
        const int64_t at = in.y + in.height - (int64_t)(value / y->end * (double)in.height + 0.5);
        canvas_fill(c, (box){in.x, at, in.width, 1}, CANVAS_GRID);
        plot_tick_label(label, value, y->step);
        canvas_text(c, in.x - 8 - canvas_text_width(label), at - CANVAS_CAPITAL / 2, label,
                    (canvas_text_style){CANVAS_FAINT, 0, 0});
    }
}

void histogram_draw(canvas *c, const histogram *h) {
    const box in = inner_of(h->area);
    const int64_t most = largest(h->counts, h->n);
    const plot_axis y = plot_choose_axis(0, most > 0 ? 1.05 * (double)most : 1, 4, 1);
    draw_scale(c, in, &y);
    for (int64_t i = 0; i < h->n; i++) {
        const int64_t left = i * in.width / h->n, right = (i + 1) * in.width / h->n;
        int64_t high = (int64_t)((double)h->counts[i] / y.end * (double)in.height + 0.5);
        if (high == 0 && h->counts[i] > 0) high = 1;
        canvas_fill(c, (box){in.x + left + 1, in.y + in.height - high, right - left > 2 ? right - left - 1 : 1, high},
                    BAR);
    }
    canvas_fill(c, (box){in.x, in.y + in.height, in.width, 1}, CANVAS_FAINT);
    for (uint32_t i = 0; i < h->n_ticks; i++) {
        const int64_t x = in.x + (int64_t)(h->at[i] / (double)h->n * (double)in.width);
        canvas_fill(c, (box){x, in.y + in.height, 1, 4}, CANVAS_FAINT);
        canvas_text(c, x - canvas_text_width(h->label[i]) / 2, in.y + in.height + 8, h->label[i],
                    (canvas_text_style){CANVAS_FAINT, 0, 0});
    }
    draw_titles(c, in, h->title, h->x_name);
}

void heat_map_draw(canvas *c, const heat_map *m) {
    box in = inner_of(m->area);
    const int64_t most = largest(m->counts, m->side * m->side);
    const int64_t side = in.width < in.height ? in.width : in.height;
    in.width = in.height = side;
    for (int64_t y = 0; y < side; y++) {
        for (int64_t x = 0; x < side; x++) {
            const int64_t count = m->counts[y * m->side / side * m->side + x * m->side / side];
            canvas_blend(c, in.x + x, in.y + y, report_shade(most > 0 ? (double)count / (double)most : 0), 1);
        }
    }
    canvas_frame(c, (box){in.x - 1, in.y - 1, side + 2, side + 2}, CANVAS_GRID);
    draw_titles(c, in, m->title, m->x_name);
}
