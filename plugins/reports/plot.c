/*
 * Drawing a panel of curves. The ticks are the "nice numbers" 1, 2, 5 x 10^k (Heckbert, Graphics Gems, 1990).
 */
#include "plot.h"
#include "results_table.h"
#include <math.h>

/* Room around the axes for labels. */
#define MARGIN_LEFT 70
#define MARGIN_RIGHT 20
#define MARGIN_TOP 44
#define MARGIN_BOTTOM 44
#define TITLE_TOP 20
#define LEGEND_LINE 24 /* the line before a name */
#define LEGEND_GAP 20  /* between two entries */
#define LEGEND_HEIGHT 18
#define MARKED_POINTS 40 /* up to so many points get a dot each */
#define LEAST_LATE 8     /* points from which on the later ones rule an axis with `late` */
#define FAR_ABOVE 1.5    /* times the highest of these is what an earlier one must pass not to count */
#define MARK 5           /* pixels of a mark of what lies above the axis */

plot_axis plot_choose_axis(double low, double high, uint32_t wanted, double least_step) {
    plot_axis a = {low, high, 0, 0, 0};
    const double most = 1e300; /* beyond, differences are no numbers any more */
    a.begin = fmax(fmin(low, most), -most);
    a.end = fmax(fmin(high, most), -most);
    /* A constant still gets a scale, wide enough for its digits to tell the ticks apart. */
    const double least = fmax(fabs(a.begin) * 1e-6, fmax(least_step, 1e-300));
    if (a.end - a.begin < least) {
        const double pad = fmax(least_step, fabs(a.begin) > 0 ? fabs(a.begin) * 0.1 : 0.1);
        a.begin -= pad;
        a.end += pad;
    }
    const double rough = a.end / wanted - a.begin / wanted;
    const double power = pow(10, floor(log10(rough)));
    const double fraction = rough / power;
    a.step = fmax((fraction <= 1 ? 1 : fraction <= 2 ? 2 : fraction <= 5 ? 5 : 10) * power, least_step);
    a.first = ceil(a.begin / a.step - 1e-9) * a.step;
    a.n = (uint32_t)(floor((a.end - a.first) / a.step + 1e-9) + 1);
    return a;
}

/* 74,630 */
static void whole_number(char label[32], double value) {
    char digits[32];
    const int n = snprintf(digits, sizeof digits, "%.0f", value);
    int at = 0;
    for (int i = 0; i < n && at < 30; i++) {
        if (i && (n - i) % 3 == 0 && digits[i - 1] != '-') label[at++] = ',';
        label[at++] = digits[i];
    }
    label[at] = '\0';
}

/* As many digits as tell the ticks apart; very large and very small numbers with an exponent. */
void plot_tick_label(char label[32], double value, double step) {
    const double size = fmax(fabs(value), fabs(step)), place_of_step = floor(log10(step) + 1e-9);
    const int decimals = (int)fmax(0, -place_of_step);
    if (fabs(value) < step / 2) {
        (void)snprintf(label, 32, "0");
    } else if (size >= 1e3 && size < 1e6 && step >= 1) {
        whole_number(label, value);
    } else if (size >= 1e5 || decimals > 4) {
        (void)snprintf(label, 32, "%.*g", (int)fmin(floor(log10(size) + 1e-9) - place_of_step + 1, 8), value);
    } else {
        (void)snprintf(label, 32, "%.*f", decimals, value);
    }
}

typedef struct frame {
    box inner;
    plot_axis x, y;
} frame;

static point place(const frame *f, double x, double y) {
    return (point){(double)f->inner.x + (x - f->x.begin) / (f->x.end - f->x.begin) * (double)f->inner.width,
                   (double)(f->inner.y + f->inner.height) -
                       (y - f->y.begin) / (f->y.end - f->y.begin) * (double)f->inner.height};
}

static double value_of(const plot *p, uint32_t s, uint64_t i) {
    const double v = p->series[s].y[i * p->stride];
    return isfinite(v) ? fmax(fmin(v, 1e300), -1e300) : NAN;
}

static int64_t draw_legend(canvas *c, const plot *p, box inner);

/* Where the axes are: below the legend. */
static box inner_box(const plot *p) {
    box in = {p->area.x + MARGIN_LEFT, p->area.y + MARGIN_TOP, p->area.width - MARGIN_LEFT - MARGIN_RIGHT,
              p->area.height - MARGIN_TOP - MARGIN_BOTTOM};
    const int64_t rows = draw_legend(NULL, p, in), more = rows > 1 ? (rows - 1) * LEGEND_HEIGHT : 0;
    in.y += more;
    in.height -= more;
    return in;
}

/* The lowest and the highest from point `first` on; `high` below `low` where there is none. */
static void find_range(const plot *p, uint64_t first, double *low, double *high) {
    *low = INFINITY;
    *high = -INFINITY;
    for (uint32_t s = 0; s < p->n_series; s++) {
        for (uint64_t i = first; i < p->n; i++) {
            *low = fmin(*low, value_of(p, s, i)); /* fmin and fmax pass over NAN */
            *high = fmax(*high, value_of(p, s, i));
        }
    }
}

/* What the later points come to: without the first quarter; or half, or three quarters, while those are of another
 * order of magnitude than the last. */
static double late_high(const plot *p) {
    double low, last, high = 0;
    find_range(p, p->n - p->n / 4, &low, &last);
    for (uint64_t quarters = 1; quarters < 4; quarters++) {
        find_range(p, p->n * quarters / 4, &low, &high);
        if (!(high > 10 * last)) break;
    }
    return high;
}

/* A little air above and below, unless that would cross zero. */
static frame choose_frame(const plot *p) {
    double low, high;
    find_range(p, 0, &low, &high);
    const double late = p->late && p->n >= LEAST_LATE ? late_high(p) : 0;
    if (late > 0 && high > FAR_ABOVE * late) high = late;
    if (low > high) low = 0, high = 1;
    const double air = (high - low) * 0.05, bound = p->bound > 0 && high <= p->bound ? p->bound : INFINITY;
    double top = fmin(high + air, bound);
    double bottom = p->from_zero || (low >= 0 && low - air < 0) ? fmin(low, 0) : low - air;
    if (low == high && high == bound) bottom = bound * 0.9;          /* a constant that lies on it */
    if (low == 0 && high == 0 && p->bound > 0) top = 0.1 * p->bound; /* what is bound above is not negative */
    frame f = {.inner = inner_box(p)};
    f.x = plot_choose_axis(p->n ? p->x[0] : 0, p->n ? p->x[(p->n - 1) * p->stride] : 1, 8, 1);
    f.y = plot_choose_axis(bottom, top, 5, 0);
    return f;
}

static void draw_axes(canvas *c, const frame *f) {
    const box in = f->inner;
    char label[32];
    for (uint32_t i = 0; i < f->x.n; i++) {
        const double value = f->x.first + i * f->x.step;
        const int64_t x = (int64_t)place(f, value, f->y.begin).x;
        canvas_fill(c, (box){x, in.y, 1, in.height}, CANVAS_GRID);
        canvas_fill(c, (box){x, in.y + in.height, 1, 4}, CANVAS_FAINT);
        plot_tick_label(label, value, f->x.step);
        canvas_text(c, x - canvas_text_width(label) / 2, in.y + in.height + 8, label,
                    (canvas_text_style){CANVAS_FAINT, 0, 0});
    }
    for (uint32_t i = 0; i < f->y.n; i++) {
        const double value = f->y.first + i * f->y.step;
        const int64_t y = (int64_t)place(f, f->x.begin, value).y;
        canvas_fill(c, (box){in.x, y, in.width, 1}, CANVAS_GRID);
        canvas_fill(c, (box){in.x - 4, y, 4, 1}, CANVAS_FAINT);
        plot_tick_label(label, value, f->y.step);
        canvas_text(c, in.x - 8 - canvas_text_width(label), y - CANVAS_CAPITAL / 2, label,
                    (canvas_text_style){CANVAS_FAINT, 0, 0});
    }
    canvas_fill(c, (box){in.x, in.y, 1, in.height}, CANVAS_FAINT);
    canvas_fill(c, (box){in.x, in.y + in.height, in.width, 1}, CANVAS_FAINT);
    canvas_text(c, in.x + (in.width - canvas_text_width("epoch")) / 2, in.y + in.height + 26, "epoch",
                (canvas_text_style){CANVAS_FAINT, 0, 0});
}

static int32_t is_above(const frame *f, point p) {
    return p.y < (double)f->inner.y - 0.5;
}

/* Where the line between a point within the axes and one above them leaves them. */
static point at_top(const frame *f, point a, point b) {
    const double top = (double)f->inner.y, share = (top - a.y) / (b.y - a.y);
    return (point){a.x + share * (b.x - a.x), top};
}

static void draw_segment(canvas *c, const frame *f, point a, point b, colour ink) {
    if (is_above(f, a) && is_above(f, b)) return;
    canvas_line(c, is_above(f, a) ? at_top(f, b, a) : a, is_above(f, b) ? at_top(f, a, b) : b, 1.8, ink);
}

/* An arrow's head at the upper edge, for a point that lies above it. */
static void mark_above(canvas *c, const frame *f, double x, colour ink) {
    const point tip = {x, (double)f->inner.y}, left = {x - MARK, tip.y + MARK}, right = {x + MARK, tip.y + MARK};
    canvas_line(c, left, tip, 1.8, ink);
    canvas_line(c, right, tip, 1.8, ink);
}

/* Whether a value was computed there, and is none that can be drawn. */
static int32_t breaks(double v) {
    return isinf(v) || results_is_nan(v);
}

static void draw_series(canvas *c, const plot *p, const frame *f, uint32_t s) {
    const colour ink = p->series[s].ink;
    point last = {0, 0};
    uint64_t drawn = 0;
    int32_t joined = 0;
    for (uint64_t i = 0; i < p->n; i++) {
        const double y = value_of(p, s, i);
        if (breaks(p->series[s].y[i * p->stride])) joined = 0;
        if (isnan(y)) continue;
        const point at = place(f, p->x[i * p->stride], y);
        if (joined) draw_segment(c, f, last, at, ink);
        if (is_above(f, at))
            mark_above(c, f, at.x, ink);
        else if (p->n <= MARKED_POINTS)
            canvas_disc(c, at, 3, ink);
        last = at;
        joined = 1;
        drawn++;
    }
    if (drawn == 1 && !is_above(f, last)) canvas_disc(c, last, 3, ink);
}

/* How far what is above the axes goes. */
static void tell_highest(canvas *c, const plot *p, const frame *f) {
    double low, high;
    char words[64];
    find_range(p, 0, &low, &high);
    if (!(high > f->y.end) || !is_above(f, place(f, f->x.end, high))) return;
    (void)snprintf(words, sizeof words, "above the edge: up to %.4g", high);
    canvas_text(c, f->inner.x + f->inner.width - canvas_text_width(words), f->inner.y + 3 * MARK, words,
                (canvas_text_style){CANVAS_FAINT, 0, 0});
}

/* What the legend says of a series: its name and its last value; empty where it has none. */
static void legend_label(const plot *p, uint32_t s, char label[96]) {
    char number[32];
    double last = NAN;
    for (uint64_t i = 0; i < p->n; i++) {
        const double v = p->series[s].y[i * p->stride];
        if (!isnan(v) || breaks(v)) last = v;
    }
    (void)snprintf(number, sizeof number, "%.4g", last);
    if (fabs(last) >= 1000 && fabs(last) < 1e7) whole_number(number, last); /* rather than 7.463e+04 */
    label[0] = '\0';
    if (!isnan(last) || breaks(last))
        (void)snprintf(label, 96, "%.24s %s", p->series[s].name, isnan(last) ? "nan" : number);
}

/* The series `first` and those behind it that fit into `room` beside each other, at least one: the end of them, and
 * how wide they are. */
static uint32_t legend_row(const plot *p, uint32_t first, int64_t room, int64_t *width) {
    uint32_t s = first;
    *width = 0;
    for (; s < p->n_series; s++) {
        char label[96];
        legend_label(p, s, label);
        const int64_t more = *label ? LEGEND_LINE + canvas_text_width(label) + (*width ? LEGEND_GAP : 0) : 0;
        if (*width && *width + more > room) break;
        *width += more;
    }
    return s;
}

static void draw_legend_row(canvas *c, const plot *p, uint32_t first, uint32_t end, int64_t x, int64_t y) {
    for (uint32_t s = first; s < end; s++) {
        char label[96];
        legend_label(p, s, label);
        if (!*label) continue;
        const double middle = (double)y + 5;
        canvas_line(c, (point){(double)x, middle}, (point){(double)x + 16, middle}, 3, p->series[s].ink);
        canvas_text(c, x + LEGEND_LINE, y, label, (canvas_text_style){CANVAS_INK, 0, 0});
        x += LEGEND_LINE + canvas_text_width(label) + LEGEND_GAP;
    }
}

/* In the order of the series, each row up to the right edge: beside the title, then below it. Returns the rows;
 * draws nothing where there is no canvas. */
static int64_t draw_legend(canvas *c, const plot *p, const box inner) {
    int64_t rows = 0;
    for (uint32_t s = 0; s < p->n_series; rows++) {
        const int64_t room = inner.width - (rows ? 0 : canvas_text_width(p->title) + LEGEND_GAP);
        int64_t width;
        const uint32_t end = legend_row(p, s, room, &width);
        if (c)
            draw_legend_row(c, p, s, end, inner.x + inner.width - width, p->area.y + TITLE_TOP + rows * LEGEND_HEIGHT);
        s = end;
    }
    return rows;
}

void plot_draw(canvas *c, const plot *p) {
    const frame f = choose_frame(p);
    int32_t anything = 0;
    draw_axes(c, &f);
    for (uint32_t s = 0; s < p->n_series; s++) {
        draw_series(c, p, &f, s);
        for (uint64_t i = 0; i < p->n && !anything; i++) anything = !isnan(value_of(p, s, i));
    }
    if (p->late) tell_highest(c, p, &f);
    canvas_text(c, f.inner.x, p->area.y + TITLE_TOP, p->title, (canvas_text_style){CANVAS_INK, 0, 1});
    (void)draw_legend(c, p, f.inner);
    if (anything) return;
    canvas_text(c, f.inner.x + (f.inner.width - canvas_text_width("no values yet")) / 2, f.inner.y + f.inner.height / 2,
                "no values yet", (canvas_text_style){CANVAS_FAINT, 0, 0});
}
