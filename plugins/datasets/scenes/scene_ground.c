/*
 * The ground: two colours of one family, mixed by value noise of three sizes (Perlin's fractal sum) and a slope, and a
 * pattern of stripes, lines, checks, weave or wood in light and shade. Eight bits are kept after the point.
 */
#include "scenes.h"

#define OCTAVES 3

/* Random numbers on a grid of (cells + 1)^2 points, in between them a smooth curve. */
typedef struct octave {
    int32_t cells, weight;
    uint8_t *grid;            /* (cells + 1, cells + 1) */
    uint8_t *row;             /* (cells + 1): between two rows of the grid */
    const uint16_t *cell, *t; /* (side): the cell that a pixel lies in, and how far, 0..256 */
} octave;

#define PATTERN_NONE 0
#define PATTERN_STRIPES 1
#define PATTERN_LINES 2
#define PATTERN_CHECKS 3
#define PATTERN_WEAVE 4
#define PATTERN_WOOD 5
#define PATTERNS 6

typedef struct ground {
    int64_t side;
    octave octaves[OCTAVES];
    uint8_t first[3], second[3]; /* colours */
    int32_t contrast;            /* 0..256 */
    int32_t slope_x, slope_y;    /* of the mixture, per pixel, 16.16 */
    int32_t pattern, depth;      /* of its light and shade */
    int32_t wave_x, wave_y;      /* phase per pixel; 256 are one period; 24.8 */
} ground;

void scene_colour(int32_t hue, int32_t saturation, int32_t value, uint8_t rgb[3]) {
    const int32_t sector = hue / 256 % 6, f = hue % 256;
    const int32_t low = value * (255 - saturation) / 255;
    const int32_t up = low + (value - low) * f / 255, down = value - (value - low) * f / 255;
    const int32_t table[6][3] = {{value, up, low},   {down, value, low}, {low, value, up},
                                 {low, down, value}, {up, low, value},   {value, low, down}};
    for (int i = 0; i < 3; i++) rgb[i] = (uint8_t)table[sector][i];
}

static int32_t cells_of(int octave_number) {
    static const int32_t cells[OCTAVES] = {3, 9, 26};
    return cells[octave_number];
}

/* Grids, one row each, and two numbers of 16 bits for each column. */
uint64_t scene_ground_scratch(const scenes *d) {
    uint64_t bytes = 0;
    for (int i = 0; i < OCTAVES; i++) {
        const uint64_t points = (uint64_t)cells_of(i) + 1;
        bytes += (uint64_t)d->side * 2 * sizeof(uint16_t) + points * points + points;
    }
    return bytes;
}

/* 3t^2 - 2t^3 of t in 0..255, as 0..256. */
static uint16_t smooth(int32_t t) {
    return (uint16_t)(t * t * (3 * 256 - 2 * t) >> 16);
}

static void draw_octaves(ground *g, cvr_rng *rng, void *scratch) {
    static const int32_t weights[OCTAVES] = {120, 84, 52}; /* sum 256 */
    uint16_t *columns = scratch;
    uint8_t *bytes = (uint8_t *)(columns + 2 * OCTAVES * g->side);
    for (int i = 0; i < OCTAVES; i++) {
        octave *const o = &g->octaves[i];
        const int32_t n = cells_of(i), points = (n + 1) * (n + 1);
        uint16_t *const cell = columns, *const t = columns + g->side;
        *o = (octave){n, weights[i], bytes, bytes + points, cell, t};
        columns += 2 * g->side;
        bytes += points + n + 1;
        for (int32_t k = 0; k < points; k++) o->grid[k] = (uint8_t)cvr_rng_u32(rng);
        for (int64_t x = 0; x < g->side; x++) {
            const int64_t at = (2 * x + 1) * n * 128 / g->side; /* of the pixel's centre, 24.8 */
            cell[x] = (uint16_t)(at >> 8);
            t[x] = smooth((int32_t)(at & 255));
        }
    }
}

static void draw_colours(ground *g, cvr_rng *rng) {
    const int32_t hue = scene_draw(rng, 0, 1535), turn = scene_draw(rng, -160, 160);
    const int32_t saturation = scene_draw(rng, 20, 110), value = scene_draw(rng, 60, 190);
    const int32_t lighter = scene_draw(rng, 40, 90) * (value > 125 ? -1 : 1);
    scene_colour(hue, saturation, value, g->first);
    scene_colour((hue + turn + 1536) % 1536, scene_draw(rng, 20, 110), value + lighter, g->second);
}

static void draw_pattern(ground *g, cvr_rng *rng) {
    const double angle = cvr_rng_uniform(rng) * 6.283185307179586, period = 6 + 14 * cvr_rng_uniform(rng);
    g->pattern = scene_draw(rng, 0, PATTERNS - 1);
    g->depth = scene_draw(rng, 12, 34);
    g->wave_x = (int32_t)lround(cos(angle) * 65536 / period);
    g->wave_y = (int32_t)lround(sin(angle) * 65536 / period);
    const double steep = cvr_rng_uniform(rng) * 128 * 65536 / (double)g->side,
                 to = cvr_rng_uniform(rng) * 6.283185307179586;
    g->slope_x = (int32_t)lround(cos(to) * steep);
    g->slope_y = (int32_t)lround(sin(to) * steep);
}

/* 0 to 255 and back within a period of 256. */
static inline int32_t triangle(int32_t phase) {
    const int32_t p = phase & 255;
    return p < 128 ? 2 * p : 511 - 2 * p;
}

/* Light and shade at a pixel, -128..127. `along` and `across` are phases, 24.8. */
static inline int32_t pattern_at(int32_t pattern, int32_t along, int32_t across, int32_t noise) {
    const int32_t a = along >> 8, b = across >> 8;
    switch (pattern) {
    case PATTERN_STRIPES: return triangle(a) - 128;
    case PATTERN_LINES: return (a & 255) < 36 ? -128 : 20;
    case PATTERN_CHECKS: return ((a ^ b) & 128) ? 64 : -64;
    case PATTERN_WEAVE: return (triangle(2 * a) + triangle(2 * b)) / 2 - 128;
    case PATTERN_WOOD: return triangle(a / 4 + 5 * noise / 2) - 128;
    default: return 0;
    }
}

/* The octaves' rows at height y: each between the two rows of its grid. */
static void start_row(ground *g, int64_t y) {
    for (int i = 0; i < OCTAVES; i++) {
        octave *const o = &g->octaves[i];
        const int32_t points = o->cells + 1, t = o->t[y]; /* the picture is square: columns serve for rows */
        const uint8_t *const above = o->grid + o->cell[y] * points, *const below = above + points;
        for (int32_t k = 0; k < points; k++) o->row[k] = (uint8_t)(above[k] + ((below[k] - above[k]) * t >> 8));
    }
}

/* The sum of the octaves, 0..255. */
static inline int32_t noise_at(const ground *g, int64_t x) {
    int32_t sum = 0;
    for (int i = 0; i < OCTAVES; i++) {
        const octave *const o = &g->octaves[i];
        const uint8_t *const p = o->row + o->cell[x];
        sum += (p[0] * 256 + (p[1] - p[0]) * o->t[x]) * o->weight;
    }
    return sum >> 16;
}

static void paint_row(ground *g, int64_t y, uint8_t *rgb) {
    const int64_t half = g->side / 2;
    start_row(g, y);
    for (int64_t x = 0; x < g->side; x++) {
        const int32_t dx = (int32_t)(x - half), dy = (int32_t)(y - half);
        const int32_t noise = noise_at(g, x), slope = (g->slope_x * dx + g->slope_y * dy) >> 16;
        const int32_t mixed = scene_clamp(2 * (noise - 128) + 128 + slope, 0, 255) * g->contrast >> 8;
        const int32_t along = g->wave_x * dx + g->wave_y * dy, across = g->wave_y * dx - g->wave_x * dy;
        const int32_t light = (pattern_at(g->pattern, along, across, noise) * g->depth * g->contrast) >> 15;
        for (int k = 0; k < 3; k++) {
            const int32_t colour = g->first[k] + ((g->second[k] - g->first[k]) * mixed >> 8);
            rgb[3 * x + k] = (uint8_t)scene_clamp(colour + light, 0, 255);
        }
    }
}

void scene_ground(const scenes *d, int64_t index, void *scratch, uint8_t *rgb) {
    ground g = {.side = d->side, .contrast = (int32_t)lround(d->a.texture * 256)};
    cvr_rng rng;
    cvr_rng_start(&rng, scene_key(d, STREAM_GROUND), (uint64_t)index);
    draw_colours(&g, &rng);
    draw_pattern(&g, &rng);
    draw_octaves(&g, &rng, scratch);
    for (int64_t y = 0; y < d->side; y++) paint_row(&g, y, rgb + 3 * y * d->side);
}

/* Neighbouring sums of four random bytes: three numbers with a triangular distribution, of standard deviation 104.5. */
void scene_noise(const scenes *d, int64_t index, uint8_t *rgb) {
    const int32_t scale = (int32_t)lround(d->a.noise * 255 / 104.5 * 65536);
    cvr_rng rng;
    if (scale == 0) return;
    cvr_rng_start(&rng, scene_key(d, STREAM_NOISE), (uint64_t)index);
    for (int64_t i = 0; i < d->side * d->side; i++) {
        const uint32_t four = cvr_rng_u32(&rng);
        for (int k = 0; k < 3; k++) {
            const int32_t sum = (int32_t)(four >> 8 * k & 255) + (int32_t)(four >> (8 * k + 8) & 255) - 255;
            rgb[3 * i + k] = (uint8_t)scene_clamp(rgb[3 * i + k] + (sum * scale >> 16), 0, 255);
        }
    }
}
