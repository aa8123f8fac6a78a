/*
 * The plates: name and score of an object on its colour. They are placed one after the other, the most certain or
 * largest object first, each where it costs least: other plates and small objects below it cost, the object itself a
 * little. One that finds no place off the others is left out; in a crowd, so is one that would cost much, and what
 * comes after the plates have taken their share of the picture.
 */
#include "boxes_parts.h"
#include <math.h>
#include <stdlib.h>

#define PAD 4           /* left and right of the letters */
#define ABOVE 3         /* and over them, where accents are */
#define HEIGHT 16       /* of a plate */
#define MOST_LETTERS 40 /* of a name */
#define FEW 12          /* so many objects have a plate each, whatever it hides of them */
#define TOUCH 0.02      /* of a plate, which may lie on another: more cannot be read */
#define SHARE 0.25      /* of the picture that plates may take; more is a crowd */
#define CROWD_SHARE 0.1 /* that they may take in a crowd */
#define CROWD_COST 0.3  /* that one may cost there */
#define LOOKED_AT 2000  /* objects; of more, what a plate hides is not counted */

typedef struct plate {
    const shown_box *of;
    double rank; /* the highest first */
    box area;
    int32_t placed, cut; /* cut: not all of the name is on it */
    char words[BOX_WORDS];
} plate;

typedef struct plates {
    const shown_boxes *s;
    plate *each;
    int64_t n, placed;
    int32_t crowded;
} plates;

static double overlap(box a, box b) {
    const int64_t left = a.x > b.x ? a.x : b.x, top = a.y > b.y ? a.y : b.y;
    const int64_t right = a.x + a.width < b.x + b.width ? a.x + a.width : b.x + b.width;
    const int64_t bottom = a.y + a.height < b.y + b.height ? a.y + a.height : b.y + b.height;
    return right > left && bottom > top ? (double)(right - left) * (double)(bottom - top) : 0;
}

static double size_of(box a) {
    return (double)a.width * (double)a.height;
}

static void write_score(plate *p, double score) {
    p->words[0] = '\0';
    p->cut = 1;
    if (score >= 0) (void)snprintf(p->words, sizeof p->words, "%.2f", score > 99 ? 99 : score);
}

/* "person 0.87"; the score is whole however long the name, and left out where there is no room for it. */
static void write_words(plate *p, const drawn_box *b, int64_t letters) {
    char score[16] = "", number[32];
    const int32_t named = b->name && canvas_can_draw(b->name);
    (void)snprintf(number, sizeof number, "class %lld", (long long)b->klass);
    if (b->score >= 0 && letters > 7) (void)snprintf(score, sizeof score, " %.2f", b->score > 99 ? 99 : b->score);
    const int64_t room = letters - (int64_t)strlen(score), most = room < MOST_LETTERS ? room : MOST_LETTERS;
    canvas_cut(p->words, sizeof p->words - sizeof score, named ? b->name : number, most > 1 ? most : 1);
    p->cut = room < MOST_LETTERS && canvas_letters(named ? b->name : number) > room;
    (void)snprintf(p->words + strlen(p->words), sizeof score, "%s", score);
}

static void measure(plate *p, int64_t scale) {
    const int64_t width = canvas_text_width(p->words);
    p->area.width = width > 0 ? (width + 2 * PAD) * scale : 0;
    p->area.height = HEIGHT * scale;
}

/* Where all are of one class, the legend has its name, and the score alone hides less. */
static void leave_names_out(plates *t) {
    for (int64_t i = 1; i < t->n; i++)
        if (t->each[i].of->of->klass != t->each[0].of->of->klass) return;
    for (int64_t i = 0; i < t->n; i++) {
        write_score(&t->each[i], t->each[i].of->of->score);
        measure(&t->each[i], t->s->scale);
    }
}

static int by_rank(const void *a, const void *b) {
    const plate *const x = a, *const y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? 1 : -1;
    return x->of->index < y->of->index ? -1 : 1;
}

static void open_plates(plates *t) {
    const shown_boxes *const s = t->s;
    const int64_t k = s->scale, letters = (s->picture.width / k - 2 * PAD) / CANVAS_LETTER_WIDTH;
    double all = 0;
    for (int64_t i = 0; i < s->n; i++) {
        plate *const p = &t->each[i];
        *p = (plate){.of = &s->each[i]};
        p->rank = p->of->of->score >= 0 ? p->of->of->score : p->of->size;
        if (p->of->of->unnamed)
            write_score(p, p->of->of->score);
        else
            write_words(p, p->of->of, letters);
        measure(p, k);
        all += size_of(p->area);
    }
    t->n = s->n;
    t->crowded = t->n > FEW && all > SHARE * size_of(s->picture);
    if (t->crowded) leave_names_out(t);
    qsort(t->each, (size_t)t->n, sizeof *t->each, by_rank);
}

/* ---- places ---- */

static int64_t clamp(int64_t v, int64_t low, int64_t high) {
    return v > high ? (high < low ? low : high) : v < low ? low : v;
}

/* Where a plate may lie: at an edge of the object, aligned with a corner or beside it, and `down` plates further on. */
typedef struct plate_place {
    enum { LEFT_EDGE, RIGHT_EDGE, BESIDE_RIGHT, BESIDE_LEFT } across;
    enum { TOP_EDGE, BOTTOM_EDGE } from;
    int32_t down; /* plates; -1 at the top edge lies just above it */
} plate_place;

/* In the order in which they are preferred; the last ones are for objects that lie on each other. */
static const plate_place places[] = {
    {LEFT_EDGE, TOP_EDGE, -1},    {LEFT_EDGE, TOP_EDGE, 0},    {LEFT_EDGE, BOTTOM_EDGE, 0},
    {LEFT_EDGE, BOTTOM_EDGE, -1}, {RIGHT_EDGE, TOP_EDGE, -1},  {RIGHT_EDGE, BOTTOM_EDGE, 0},
    {BESIDE_RIGHT, TOP_EDGE, 0},  {BESIDE_LEFT, TOP_EDGE, 0},  {BESIDE_RIGHT, TOP_EDGE, 1},
    {BESIDE_LEFT, TOP_EDGE, 1},   {LEFT_EDGE, TOP_EDGE, -2},   {LEFT_EDGE, BOTTOM_EDGE, 1},
    {LEFT_EDGE, TOP_EDGE, 1},     {RIGHT_EDGE, TOP_EDGE, -2},  {RIGHT_EDGE, BOTTOM_EDGE, 1},
    {BESIDE_RIGHT, TOP_EDGE, 2},  {BESIDE_LEFT, TOP_EDGE, 2},  {LEFT_EDGE, TOP_EDGE, -3},
    {LEFT_EDGE, BOTTOM_EDGE, 2},  {RIGHT_EDGE, TOP_EDGE, 0},   {RIGHT_EDGE, BOTTOM_EDGE, -1},
    {LEFT_EDGE, BOTTOM_EDGE, -2}, {BESIDE_RIGHT, TOP_EDGE, 3}, {BESIDE_LEFT, TOP_EDGE, 3},
};
#define PLACES ((int32_t)(sizeof places / sizeof *places))

/* Inside the picture in any case. */
static box place_of(const shown_boxes *s, const plate *p, const plate_place *at) {
    const box b = p->of->area, in = s->picture;
    const int64_t w = p->area.width, h = p->area.height, right = b.x + b.width;
    const int64_t x = at->across == LEFT_EDGE      ? b.x
                      : at->across == RIGHT_EDGE   ? right - w
                      : at->across == BESIDE_RIGHT ? right
                                                   : b.x - w;
    const int64_t y = (at->from == TOP_EDGE ? b.y : b.y + b.height) + at->down * h;
    return (box){clamp(x, in.x, in.x + in.width - w), clamp(y, in.y, in.y + in.height - h), w, h};
}

/* How much of other objects a plate hides: shares of those that are not much larger than it. */
static double hidden(const plates *t, const plate *p, box at) {
    double sum = 0.3 * overlap(at, p->of->area) / (p->of->size + 1);
    if (t->n > LOOKED_AT) return sum;
    for (int64_t i = 0; i < t->n; i++) {
        const shown_box *const o = &t->s->each[i];
        if (o != p->of && o->size < 20 * size_of(at)) sum += overlap(at, o->area) / (o->size + 1);
    }
    return sum;
}

static double covered(const plates *t, box at) {
    double sum = 0;
    for (int64_t i = 0; i < t->n; i++)
        if (t->each[i].placed) sum += overlap(at, t->each[i].area);
    return sum / size_of(at);
}

static void place_plate(plates *t, plate *p, double *taken) {
    const double room = CROWD_SHARE * size_of(t->s->picture);
    double least = INFINITY;
    if (p->area.width == 0) return;
    if (t->crowded && *taken + size_of(p->area) > room && t->placed >= FEW / 2) return;
    for (int32_t which = 0; which < PLACES; which++) {
        const box at = place_of(t->s, p, &places[which]);
        const double over = covered(t, at), cost = 20 * over + hidden(t, p, at) + 0.02 * which;
        if (cost >= least || over > TOUCH || (t->crowded && cost > CROWD_COST && t->placed >= FEW / 2)) continue;
        least = cost;
        p->area = at;
    }
    p->placed = isfinite(least);
    t->placed += p->placed;
    if (p->placed) *taken += size_of(p->area);
}

static void draw_plate(canvas *c, const plate *p, int64_t k) {
    const colour ground = object_colour(p->of->of->klass);
    canvas_fill(c, p->area, ground);
    canvas_text_large(c, p->area.x + PAD * k, p->area.y + ABOVE * k, p->words,
                      (canvas_text_style){ink_on(ground), 0, 0}, k);
}

int64_t box_plates_draw(canvas *c, const shown_boxes *s) {
    plates t = {.s = s, .each = s->host->alloc(s->host, (uint64_t)(s->n + 1) * sizeof *t.each, 16)};
    double taken = 0;
    if (!t.each) return -1;
    open_plates(&t);
    for (int64_t i = 0; i < t.n; i++) place_plate(&t, &t.each[i], &taken);
    for (int64_t i = t.n; i-- > 0;)
        if (t.each[i].placed) draw_plate(c, &t.each[i], s->scale);
    int64_t unnamed = t.n - t.placed;
    for (int64_t i = 0; i < t.n; i++) unnamed += t.each[i].placed && t.each[i].cut;
    s->host->free(s->host, t.each);
    return unnamed;
}
