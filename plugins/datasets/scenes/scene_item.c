/*
 * One item: cut out of its picture, then scaled, turned and mirrored in one step by bilinear sampling. Coordinates are
 * 16.16 fixed point.
 */
#include "scenes.h"

/* Around an item pictures are 0 but for traces that their making left. */
#define DARK 8
/* Pixels that hang together but are fewer are such traces, too. */
#define SPECK 8

#define OUTSIDE 2
#define ITEM 3

/* Turns the pixels of value `from` that hang together with `start`, by their sides, into `to`. Returns how many. */
static int32_t spread(uint8_t *map, int32_t start, uint8_t from, uint8_t to) {
    static const int32_t steps[4] = {-CUT, -1, 1, CUT};
    int16_t stack[CUT * CUT]; /* a pixel is pushed once, when it turns */
    int32_t n = 0, count = 0;
    map[start] = to;
    stack[n++] = (int16_t)start;
    for (; n > 0; count++) {
        const int32_t at = stack[--n], x = at % CUT;
        for (int i = 0; i < 4; i++) {
            const int32_t next = at + steps[i];
            if (next < 0 || next >= CUT * CUT || (x == 0 && i == 1) || (x == CUT - 1 && i == 2)) continue;
            if (map[next] != from) continue;
            map[next] = to;
            stack[n++] = (int16_t)next;
        }
    }
    return count;
}

/* What is dark and hangs together with the border is not the item; what is dark inside of it is. */
static void find_inside(const uint8_t *value, uint8_t *inside) {
    for (int i = 0; i < CUT * CUT; i++) inside[i] = value[i] >= DARK;
    (void)spread(inside, 0, 0, OUTSIDE);
    for (int i = 0; i < CUT * CUT; i++) inside[i] = inside[i] == OUTSIDE ? OUTSIDE : 1;
    for (int32_t i = 0; i < CUT * CUT; i++) {
        if (inside[i] == 1 && spread(inside, i, 1, ITEM) < SPECK) (void)spread(inside, i, ITEM, OUTSIDE);
    }
    for (int i = 0; i < CUT * CUT; i++) inside[i] = inside[i] == ITEM;
}

void scene_cut_out(const uint8_t *picture, cutout *c) {
    memset(c->value, 0, sizeof c->value);
    for (int y = 0; y < PICTURE; y++) memcpy(c->value + (y + 1) * CUT + 1, picture + y * PICTURE, PICTURE);
    find_inside(c->value, c->inside);
}

/* A walk over the patch: where its pixels lie in the cutout. `u` and `v` are those of the first pixel of a row. */
typedef struct path_walk {
    int32_t u, v;
} path_walk;

static path_walk row_start(const scene_item *item, int32_t y) {
    const int32_t *const m = item->matrix;
    const int32_t dx = 1 - item->size, dy = 2 * y + 1 - item->size; /* from the centre, in halves of a pixel */
    /* The centre, less half a pixel as samples lie in the middle of theirs, and one more for the border. */
    const int32_t centre = (PICTURE / 2 << 16) - (1 << 15) + (1 << 16);
    return (path_walk){(m[0] * dx + m[1] * dy) / 2 + centre, (m[2] * dx + m[3] * dy) / 2 + centre};
}

/* How much of a place is the item, 0..65536; `value`, where not NULL, gets its grey there. */
static inline uint32_t sample(const cutout *c, int32_t u, int32_t v, uint32_t *value) {
    const int32_t x = u >> 16, y = v >> 16;
    if (x < 0 || y < 0 || x >= CUT - 1 || y >= CUT - 1) return 0;
    const uint8_t *const in = c->inside + y * CUT + x;
    const uint32_t fx = (uint32_t)u >> 8 & 255, fy = (uint32_t)v >> 8 & 255;
    const uint32_t w[4] = {(256 - fx) * (256 - fy) * in[0], fx * (256 - fy) * in[1], (256 - fx) * fy * in[CUT],
                           fx * fy * in[CUT + 1]};
    const uint32_t cover = w[0] + w[1] + w[2] + w[3];
    if (value && cover) {
        const uint8_t *const g = c->value + y * CUT + x;
        /* Only the item's own pixels count, so that its edge does not darken. */
        *value = (w[0] * g[0] + w[1] * g[1] + w[2] * g[CUT] + w[3] * g[CUT + 1]) / cover;
    }
    return cover;
}

void scene_item_mask(const scene_item *item, const cutout *c, uint8_t *mask) {
    for (int32_t y = 0; y < item->size; y++) {
        path_walk at = row_start(item, y);
        for (int32_t x = 0; x < item->size; x++) {
            *mask++ = sample(c, at.u, at.v, NULL) >= 1u << 15;
            at.u += item->matrix[0];
            at.v += item->matrix[2];
        }
    }
}

/* An edge one pixel wide whatever the scale; a pixel of the mask is covered by half or more. 0..256. */
static int32_t opacity(uint32_t cover, int32_t scale) {
    return scene_clamp((int32_t)((((int64_t)cover - (1 << 15)) * scale) >> 16) + 128, 0, 256);
}

void scene_item_paint(const scene_item *item, const cutout *c, uint8_t *rgb, int64_t side) {
    for (int32_t y = 0; y < item->size; y++) {
        path_walk at = row_start(item, y);
        if (item->top + y < 0 || item->top + y >= side) continue;
        for (int32_t x = 0; x < item->size; x++, at.u += item->matrix[0], at.v += item->matrix[2]) {
            uint32_t grey = 0;
            const uint32_t cover = sample(c, at.u, at.v, &grey);
            const int32_t on = cover ? opacity(cover, item->scale) : 0;
            if (on == 0 || item->left + x < 0 || item->left + x >= side) continue;
            uint8_t *const to = rgb + ((item->top + y) * side + item->left + x) * 3;
            const int32_t light = 64 + (int32_t)grey * 192 / 255; /* so that black shoes keep their colour */
            for (int k = 0; k < 3; k++) {
                const int32_t colour = item->tint[k] * light >> 8;
                to[k] = (uint8_t)(to[k] + ((colour - to[k]) * on >> 8));
            }
        }
    }
}
