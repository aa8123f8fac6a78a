#include "detect_sets.h"
#include <stdlib.h>

#define MOST_RUNS (2 * SET_WIDTH + 2) /* of a mask */

int64_t draw_below(detect_draw *d, int64_t n) {
    d->x = d->x * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((d->x >> 33) % (uint64_t)n);
}

/* A mask while it is made, column by column. */
typedef struct runs {
    uint32_t *at;
    uint32_t n, inside, run;
} runs;

static void add_run(runs *r, int64_t n, uint32_t inside) {
    if (inside != r->inside) {
        r->at[r->n++] = r->run;
        r->inside = inside;
        r->run = 0;
    }
    r->run += (uint32_t)n;
}

static int64_t clamp(int64_t y) {
    return y < 0 ? 0 : y > SET_HEIGHT ? SET_HEIGHT : y;
}

/* A whole rectangle, a diamond, stairs. */
static void column_of(int64_t kind, const int64_t b[4], int64_t column, int64_t *top, int64_t *bottom) {
    const int64_t x = b[0], y = b[1], w = b[2], h = b[3];
    *top = *bottom = 0;
    if (column < x || column >= x + w) return;
    *top = y;
    *bottom = y + h;
    if (kind == 1) {
        const int64_t half = h * (w - llabs(2 * (column - x) + 1 - w)) / (2 * w);
        *top = y + h / 2 - half;
        *bottom = y + h / 2 + half;
    }
    if (kind == 2) *top = y + (column - x) * h / (2 * w);
    *top = clamp(*top);
    *bottom = clamp(*bottom);
}

static rle_view make_mask(detect_set *s, int64_t kind, const double box[4]) {
    runs r = {s->runs + s->n_runs, 0, 0, 0};
    int64_t b[4], top, bottom;
    for (int i = 0; i < 4; i++) b[i] = (int64_t)box[i];
    for (int64_t column = 0; column < SET_WIDTH; column++) {
        column_of(kind, b, column, &top, &bottom);
        if (bottom <= top) {
            add_run(&r, SET_HEIGHT, 0);
            continue;
        }
        if (top) add_run(&r, top, 0);
        add_run(&r, bottom - top, 1);
        if (bottom < SET_HEIGHT) add_run(&r, SET_HEIGHT - bottom, 0);
    }
    r.at[r.n++] = r.run;
    s->n_runs += r.n;
    return (rle_view){r.at, r.n};
}

static double quarter(detect_draw *d, int64_t n) {
    const double whole = (double)draw_below(d, n);
    return whole + (double)draw_below(d, 4) / 4;
}

static double make_side(detect_draw *d) {
    static const int64_t sizes[] = {24, 80, 190};
    return 1 + quarter(d, sizes[draw_below(d, 3)]);
}

static void make_box(detect_draw *d, double box[4]) {
    box[0] = quarter(d, 200);
    box[1] = quarter(d, 160);
    box[2] = make_side(d);
    box[3] = make_side(d);
}

static void make_object(detect_set *s, detect_draw *d, coco_truth *o, int64_t id) {
    *o = (coco_truth){.id = id, .klass = draw_below(d, s->n_classes)};
    make_box(d, o->box);
    o->area = o->box[2] * o->box[3];
    if (draw_below(d, 3) == 0) o->area *= 0.75;
    o->crowd = draw_below(d, 8) == 0;
    o->mask = make_mask(s, draw_below(d, 3), o->box);
}

static void move_box(detect_draw *d, const double near[4], double box[4]) {
    for (int i = 0; i < 2; i++) box[i] = near[i] + (double)draw_below(d, 17) / 4 - 2;
    for (int i = 2; i < 4; i++) {
        box[i] = near[i] + (double)draw_below(d, 25) / 4 - 3;
        if (box[i] < 1) box[i] = 1;
    }
}

static void make_found(detect_set *s, detect_draw *d, coco_found *f, const coco_picture *p) {
    *f = (coco_found){.klass = draw_below(d, s->n_classes)};
    if (p->n_truth && draw_below(d, 3)) {
        const coco_truth *const near = &p->truth[draw_below(d, (int64_t)p->n_truth)];
        if (draw_below(d, 4)) f->klass = near->klass;
        move_box(d, near->box, f->box);
    } else {
        make_box(d, f->box);
    }
    f->score = (double)(1 + draw_below(d, 25)) / 26;
    f->mask = make_mask(s, draw_below(d, 3), f->box);
}

void detect_set_make(detect_set *s, uint64_t seed) {
    detect_draw d = {seed};
    int64_t id = seed % 5 != 0;
    memset(s, 0, sizeof *s);
    s->runs = malloc(SET_PICTURES * (SET_OBJECTS + SET_FOUND) * MOST_RUNS * sizeof *s->runs);
    s->n_pictures = (uint64_t)(1 + draw_below(&d, 9));
    s->n_classes = 1 + draw_below(&d, 5);
    for (uint64_t i = 0; i < s->n_pictures; i++) {
        coco_picture *const p = &s->pictures[i];
        *p = (coco_picture){(int64_t)(i * 5 % 11), s->found[i], s->truth[i], 0, 0};
        for (int64_t n = draw_below(&d, 9); n > 0; n--) make_object(s, &d, &s->truth[i][p->n_truth++], id++);
        for (int64_t n = seed % 7 ? draw_below(&d, 30) : 100 + draw_below(&d, 40); n > 0; n--)
            make_found(s, &d, &s->found[i][p->n_found++], p);
    }
    s->most[0] = 1;
    s->most[1] = 10;
    s->most[2] = seed % 10 == 9 ? 50 : 100;
}

void detect_set_free(detect_set *s) {
    free(s->runs);
}
