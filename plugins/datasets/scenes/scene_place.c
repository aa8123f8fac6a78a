/*
 * Which items lie where. They are laid down from the nearest to the farthest, so that what is seen of an item is final
 * once it has its place: it lies behind all that came before it.
 */
#include "scenes.h"

#define POSES 4  /* that are tried for an item */
#define PLACES 6 /* that are tried for a pose */
#define SEEN 30  /* percent of an item's pixels that must be seen */

typedef struct placing {
    const scenes *d;
    cvr_rng rng;
    cutout cut;
    uint8_t *patch;         /* the item's mask */
    int32_t x1, y1, x2, y2; /* box of the item in its patch */
    int32_t pixels;         /* of the item */
} placing;

/* A patch holds its picture however it is turned. */
static int64_t largest_patch(const scenes *d) {
    return (int64_t)(PICTURE * d->a.item_scale[1] * 1.4143) + 4;
}

uint64_t scene_scratch(const scenes *d) {
    return (uint64_t)(d->side * d->side + largest_patch(d) * largest_patch(d));
}

/* Widens the box to take in pixel (x, y). */
static inline void include(int32_t x, int32_t y, int32_t *x1, int32_t *y1, int32_t *x2, int32_t *y2) {
    if (x < *x1) *x1 = x;
    if (y < *y1) *y1 = y;
    if (x >= *x2) *x2 = x + 1;
    if (y >= *y2) *y2 = y + 1;
}

/* `upright`: not turned, so that what fits in the scene at all does. */
static void draw_pose(placing *p, scene_item *item, int32_t upright) {
    const scene_attrs *const a = &p->d->a;
    const double scale = a->item_scale[0] + (a->item_scale[1] - a->item_scale[0]) * cvr_rng_uniform(&p->rng);
    const double turn = (2 * cvr_rng_uniform(&p->rng) - 1) * a->rotate * (3.14159265358979323846 / 180);
    const double angle = upright ? 0 : turn;
    const int32_t mirrored = cvr_rng_below(&p->rng, 2) && a->flip ? -1 : 1;
    const double c = cos(angle), s = sin(angle);
    item->scale = (int32_t)lround(scale * 256);
    item->matrix[0] = mirrored * (int32_t)lround(c / scale * 65536);
    item->matrix[1] = mirrored * (int32_t)lround(s / scale * 65536);
    item->matrix[2] = (int32_t)lround(-s / scale * 65536);
    item->matrix[3] = (int32_t)lround(c / scale * 65536);
    item->size = (int32_t)ceil(PICTURE * scale * (fabs(c) + fabs(s)) - 1e-6) + 2;
}

/* The item in its pose, and the box around it. */
static void make_patch(placing *p, const scene_item *item) {
    const int32_t size = item->size;
    scene_item_mask(item, &p->cut, p->patch);
    p->x1 = p->y1 = size;
    p->x2 = p->y2 = p->pixels = 0;
    for (int32_t y = 0; y < size; y++) {
        for (int32_t x = 0; x < size; x++) {
            if (!p->patch[y * size + x]) continue;
            p->pixels++;
            include(x, y, &p->x1, &p->y1, &p->x2, &p->y2);
        }
    }
}

/* Whether the box of `b` overlaps that of an item before it by more than is allowed. */
static int32_t crowds(const scene *s, const scene_item *b, double most) {
    for (int32_t i = 0; i < s->n; i++) {
        const scene_item *const a = &s->items[i];
        const int64_t w = (a->x2 < b->x2 ? a->x2 : b->x2) - (a->x1 > b->x1 ? a->x1 : b->x1);
        const int64_t h = (a->y2 < b->y2 ? a->y2 : b->y2) - (a->y1 > b->y1 ? a->y1 : b->y1);
        if (w <= 0 || h <= 0) continue;
        const int64_t sum = (int64_t)(a->x2 - a->x1) * (a->y2 - a->y1) + (int64_t)(b->x2 - b->x1) * (b->y2 - b->y1);
        if ((double)(w * h) > most * (double)(sum - w * h)) return 1;
    }
    return 0;
}

/* Counts what would be seen of the item, and puts the box around that. */
static void look(const placing *p, const scene *s, scene_item *item) {
    const int32_t side = (int32_t)p->d->side;
    item->seen = 0;
    item->x1 = item->y1 = side;
    item->x2 = item->y2 = 0;
    for (int32_t y = p->y1; y < p->y2; y++) {
        const uint8_t *const mask = p->patch + y * item->size;
        const uint8_t *const owner = s->owner + (int64_t)(item->top + y) * side + item->left;
        for (int32_t x = p->x1; x < p->x2; x++) {
            if (!mask[x] || owner[x]) continue;
            item->seen++;
            include(item->left + x, item->top + y, &item->x1, &item->y1, &item->x2, &item->y2);
        }
    }
}

/* A place for the item where it is seen well enough; 0 where none was found. */
static int32_t find_place(placing *p, const scene *s, scene_item *item) {
    const int32_t side = (int32_t)p->d->side, w = p->x2 - p->x1, h = p->y2 - p->y1;
    if (p->pixels == 0 || w > side || h > side) return 0;
    for (int i = 0; i < PLACES; i++) {
        item->left = scene_draw(&p->rng, 0, side - w) - p->x1;
        item->top = scene_draw(&p->rng, 0, side - h) - p->y1;
        item->x1 = item->left + p->x1;
        item->y1 = item->top + p->y1;
        item->x2 = item->x1 + w;
        item->y2 = item->y1 + h;
        if (crowds(s, item, p->d->a.overlap)) continue;
        look(p, s, item);
        /* What is hidden narrows the box, which then may overlap another by more. */
        if ((int64_t)item->seen * 100 >= (int64_t)p->pixels * SEEN && !crowds(s, item, p->d->a.overlap)) return 1;
    }
    return 0;
}

static void put_down(const placing *p, scene *s, const scene_item *item) {
    const int64_t side = p->d->side;
    s->items[s->n++] = *item;
    for (int32_t y = p->y1; y < p->y2; y++) {
        uint8_t *const owner = s->owner + (item->top + y) * side + item->left;
        for (int32_t x = p->x1; x < p->x2; x++) {
            if (p->patch[y * item->size + x] && !owner[x]) owner[x] = (uint8_t)s->n;
        }
    }
}

static void place_item(placing *p, scene *s) {
    scene_item item;
    memset(&item, 0, sizeof item);
    item.picture = (int64_t)cvr_rng_below(&p->rng, (uint64_t)p->d->n_pictures);
    item.label = p->d->labels[item.picture];
    const int32_t hue = scene_draw(&p->rng, 0, 1535), saturation = scene_draw(&p->rng, 96, 220);
    scene_colour(hue, p->d->a.colour ? saturation : 0, scene_draw(&p->rng, 208, 255), item.tint);
    scene_cut_out(p->d->pictures + item.picture * PICTURE_PIXELS, &p->cut);
    for (int i = 0; i < POSES; i++) {
        draw_pose(p, &item, i == POSES - 1);
        make_patch(p, &item);
        if (!find_place(p, s, &item)) continue;
        put_down(p, s, &item);
        return;
    }
}

void scene_place(const scenes *d, int64_t index, uint8_t *scratch, scene *out) {
    placing p = {.d = d, .patch = scratch + d->side * d->side};
    cvr_rng_start(&p.rng, scene_key(d, STREAM_PLACE), (uint64_t)index);
    out->n = 0;
    out->owner = scratch;
    memset(out->owner, 0, (size_t)(d->side * d->side));
    const int32_t want = scene_draw(&p.rng, (int32_t)d->a.objects[0], (int32_t)d->a.objects[1]);
    for (int32_t i = 0; i < want; i++) place_item(&p, out);
}
