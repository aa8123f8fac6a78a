/* Small masks brought to a picture, against torchvision's paste_masks_in_image (tests/parity/mask_paste.py). */
#include "../../plugins/tasks/detect/mask_paste.h"
#include "detect_sets.h"
#include "support/test_host.h"
#include <criterion/criterion.h>
#include <math.h>

#define HEIGHT 75
#define WIDTH 90

static test_host h;
static cvr_error err;

static void make_small(detect_draw *d, int i, mask_small *m, float *values) {
    static const int64_t sides[] = {28, 14, 2, 1};
    m->side = sides[draw_below(d, 4)];
    m->probabilities = values;
    for (int64_t k = 0; k < m->side * m->side; k++) values[k] = (float)((double)draw_below(d, 1001) / 1000);
    double x = (double)draw_below(d, 700) / 8, y = (double)draw_below(d, 600) / 8;
    const double w = (double)draw_below(d, 1 + draw_below(d, 720)) / 8;
    const double tall = (double)draw_below(d, 1 + draw_below(d, 600)) / 8;
    if (i % 3) x -= 20, y -= 20;
    x = fmin(x, WIDTH - 1);
    y = fmin(y, HEIGHT - 1);
    m->box[0] = (float)x;
    m->box[1] = (float)y;
    m->box[2] = (float)fmax(x + w, 1);
    m->box[3] = (float)fmax(y + tall, 1);
}

Test(detect_paste, torchvision) {
    FILE *const f = fopen(CVR_GOLDEN_DIR "/mask_paste.txt", "r");
    detect_draw d = {3};
    float values[28 * 28];
    unsigned long long area, hash;
    int n = 0, some = 0;
    cr_assert(f);
    test_host_init(&h);
    rle r = {.host = &h.host};
    for (; fscanf(f, "%llu %llu", &area, &hash) == 2; n++) {
        mask_small m;
        uint64_t mine = 14695981039346656037u;
        make_small(&d, n, &m, values);
        cr_assert_eq(mask_paste(&r, &m, HEIGHT, WIDTH, &err), CVR_OK, "%s", err.message);
        for (uint64_t i = 0; i < r.n; i++) mine = (mine ^ r.runs[i]) * 1099511628211u;
        cr_expect_eq(rle_area(rle_seen(&r)), area, "mask %d: %llu pixels, torchvision has %llu", n,
                     (unsigned long long)rle_area(rle_seen(&r)), area);
        cr_expect_eq(mine, hash, "mask %d", n);
        some += area > 0;
    }
    cr_expect_eq(n, 60);
    cr_expect(some > 40, "%d masks have pixels", some);
    rle_free(&r);
    (void)fclose(f);
    cr_expect_eq(h.live, 0);
}

/* Whatever box a broken network says: a mask of the picture's size comes out. */
Test(detect_paste, any_box) {
    const float all[4] = {1, 1, 1, 1}, far[] = {1e30f, -1e30f, 0, 5, 90, 75, 1e9f, -3};
    test_host_init(&h);
    rle r = {.host = &h.host};
    for (int i = 0; i < 8 * 8 * 8; i++) {
        const mask_small m = {all, 2, {far[i % 8], far[i / 8 % 8], far[i / 64], far[(i * 5 + 1) % 8]}};
        uint64_t pixels = 0;
        cr_assert_eq(mask_paste(&r, &m, HEIGHT, WIDTH, &err), CVR_OK, "%s", err.message);
        for (uint64_t k = 0; k < r.n; k++) pixels += r.runs[k];
        cr_assert_eq(pixels, HEIGHT * WIDTH);
    }
    rle_free(&r);
}
