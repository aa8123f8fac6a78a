/*
 * random_perspective (torchvision v2 RandomPerspective): the corners move inwards, and the picture with them. params:
 * [0] 1 where it is done, [1] to [8] x and y of where the corners go, clockwise from the top left.
 */
#include "../image_move.h"
#include "../image_warp.h"
#include "../transforms.h"
#include <math.h>

typedef struct random_perspective_attrs {
    double distortion_scale, p;
    int64_t interpolation;
    fill_attr fill;
    int64_t mask_fill;
} random_perspective_attrs;

static int32_t check(const void *self, cvr_error *err) {
    return image_fill_given(&((const random_perspective_attrs *)self)->fill, "random_perspective", err);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_perspective_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    const int64_t side[2] = {im.w, im.h};
    memset(params, 0, 9 * sizeof *params);
    params[0] = draw_chance(rng, a->p);
    for (int k = 0; k < 8 && params[0] != 0; k++) {
        const int corner = k / 2, axis = k % 2, far = axis ? corner >= 2 : corner == 1 || corner == 2;
        const int64_t bound = (int64_t)(a->distortion_scale * (double)(side[axis] / 2)) + 1;
        const int64_t in = (int64_t)cvr_rng_below(rng, (uint64_t)bound);
        params[1 + k] = (double)(far ? side[axis] - bound + in : in);
    }
    return CVR_OK;
}

/* Solves m x = right for 8 unknowns, by Gauss's elimination with the largest pivot of a column; m: (8, 9), the right
 * side last. False where there is no solution. */
static int32_t solve(double m[8][9], double x[8]) {
    for (int i = 0; i < 8; i++) {
        int best = i;
        for (int k = i + 1; k < 8; k++)
            if (fabs(m[k][i]) > fabs(m[best][i])) best = k;
        if (fabs(m[best][i]) < 1e-12) return 0;
        for (int c = 0; c < 9; c++) {
            const double t = m[i][c];
            m[i][c] = m[best][c];
            m[best][c] = t;
        }
        for (int k = i + 1; k < 8; k++) {
            const double share = m[k][i] / m[i][i];
            for (int c = i; c < 9; c++) m[k][c] -= share * m[i][c];
        }
    }
    for (int i = 7; i >= 0; i--) {
        double rest = m[i][8];
        for (int c = i + 1; c < 8; c++) rest -= m[i][c] * x[c];
        x[i] = rest / m[i][i];
    }
    return 1;
}

/* Output to input: x = (k0 x + k1 y + k2) / (k6 x + k7 y + 1), y likewise; f32 numbers, as torchvision rounds them. */
static int32_t coefficients_of(const image *im, const double *corners, double k[8]) {
    const double right = (double)(im->w - 1), bottom = (double)(im->h - 1);
    const double start[4][2] = {{0, 0}, {right, 0}, {right, bottom}, {0, bottom}};
    double m[8][9];
    for (int i = 0; i < 4; i++) {
        const double x = corners[2 * i], y = corners[2 * i + 1], u = start[i][0], v = start[i][1];
        const double rows[2][9] = {{x, y, 1, 0, 0, 0, -u * x, -u * y, u}, {0, 0, 0, x, y, 1, -v * x, -v * y, v}};
        memcpy(m[2 * i], rows, sizeof rows);
    }
    if (!solve(m, k)) return 0;
    for (int i = 0; i < 8; i++) k[i] = (float)k[i];
    return k[0] * k[4] - k[1] * k[3] != 0;
}

/* Input to output, scaled so that the last number is 1. */
static void inverse_of(const double k[8], double g[9]) {
    const double d = k[0] * k[4] - k[1] * k[3];
    const double inverse[9] = {
        (k[4] - k[5] * k[7]) / d,         (-k[1] + k[2] * k[7]) / d,        (k[1] * k[5] - k[2] * k[4]) / d,
        (-k[3] + k[5] * k[6]) / d,        (k[0] - k[2] * k[6]) / d,         (-k[0] * k[5] + k[2] * k[3]) / d,
        (-k[4] * k[6] + k[3] * k[7]) / d, (-k[0] * k[7] + k[1] * k[6]) / d, 1};
    memcpy(g, inverse, sizeof inverse);
}

typedef struct perspective {
    const random_perspective_attrs *a;
    int64_t w, h;
    double k[8];
    float forward[9];
} perspective;

/* In float, the roundings as torchvision has them: the grid in -1..1 first. */
static void perspective_row(const void *how, int64_t y, int64_t w, float *sx, float *sy) {
    const perspective *const p = how;
    const float half[2] = {(float)(0.5 * (double)p->w), (float)(0.5 * (double)p->h)};
    float m[8];
    for (int i = 0; i < 8; i++) m[i] = i < 6 ? (float)p->k[i] / half[i / 3] : (float)p->k[i];
    const float by = (float)y + 0.5f;
    for (int64_t x = 0; x < w; x++) {
        const float bx = (float)x + 0.5f, depth = bx * m[6] + by * m[7] + 1;
        const float gx = (bx * m[0] + by * m[1] + m[2]) / depth - 1, gy = (bx * m[3] + by * m[4] + m[5]) / depth - 1;
        sx[x] = ((gx + 1) * (float)p->w - 1) / 2;
        sy[x] = ((gy + 1) * (float)p->h - 1) / 2;
    }
}

static int32_t perspective_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                                  cvr_error *err) {
    const perspective *const p = how;
    const image_warp warp = {p, perspective_row, classes ? INTERPOLATION_NEAREST : p->a->interpolation,
                             classes ? classes : &p->a->fill};
    if (!classes) CVR_TRY(image_check_fill(im, &p->a->fill, err));
    CVR_TRY(image_new(s, im, im->h, im->w, im->c, out, err));
    return image_warp_run(s, &warp, im, out, err);
}

static void perspective_box(const void *how, float *box) {
    const perspective *const p = how;
    image_warp_box(p->forward, p->w, p->h, box);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const random_perspective_attrs *const a = self;
    perspective how = {.a = a};
    image_motion m = {.how = &how, .pixels = perspective_pixels, .box = perspective_box, .mask_fill = a->mask_fill};
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    how.w = im.w;
    how.h = im.h;
    /* A picture of a pixel's width has corners in one line: it stays. */
    if (params[0] == 0 || !coefficients_of(&im, params + 1, how.k)) return CVR_OK;
    inverse_of(how.k, m.matrix);
    for (int i = 0; i < 9; i++) how.forward[i] = (float)m.matrix[i];
    return image_move(s, &m, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "distortion_scale", "0.5", "how far corners may move, as a share of half a side",
             CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "p", "0.5", "probability", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(CHOICE, "interpolation", "bilinear", "how pixels are found between pixels",
             .choices = INTERPOLATION_MODES),
    &image_attr_fill,
    &image_attr_mask_fill,
};

const cvr_augment_desc transform_random_perspective = {
    .struct_size = sizeof transform_random_perspective,
    .name = "random_perspective",
    .doc = "Seen from a random angle, with probability p",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 9,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
