/*
 * The loops over u8 pixels: every instruction set that this machine has gives the bytes of plain C, and reads and
 * writes nothing that is not its own.
 */
#include "../../augment/image_kernels.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* An arena of blocks that end where they end, so that the address sanitizer sees a step too far. */
typedef struct blocks {
    cvr_sample sample;
    void *memory[64];
    uint32_t n;
} blocks;

static void *give(cvr_sample *s, uint64_t bytes) {
    blocks *const b = s->ctx;
    cr_assert_lt(b->n, 64u);
    return b->memory[b->n++] = aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void begin(blocks *b) {
    *b = (blocks){.sample = {.struct_size = sizeof b->sample, .ctx = b, .alloc = give}};
}

static void end(blocks *b) {
    for (uint32_t i = 0; i < b->n; i++) free(b->memory[i]);
}

static uint8_t *noise(uint64_t n, cvr_rng *rng) {
    uint8_t *const p = malloc(n);
    for (uint64_t i = 0; i < n; i++) p[i] = (uint8_t)(cvr_rng_below(rng, 4) ? cvr_rng_u32(rng) : 255);
    return p;
}

static image_span draw_span(cvr_rng *rng) {
    image_span s = image_span_all(1 + (int64_t)cvr_rng_below(rng, 300), 1 + (int64_t)cvr_rng_below(rng, 120));
    s.from = (int64_t)cvr_rng_below(rng, (uint64_t)s.out);
    s.n = 1 + (int64_t)cvr_rng_below(rng, (uint64_t)(s.out - s.from));
    return s;
}

/* Two neighbours, two ways to average, and one whose weights are below 0 in places. */
static const image_resize ways[4] = {{.interpolation = INTERPOLATION_BILINEAR, .antialias = 0},
                                     {.interpolation = INTERPOLATION_BILINEAR, .antialias = 1},
                                     {.interpolation = INTERPOLATION_BICUBIC, .antialias = 1},
                                     {.interpolation = INTERPOLATION_BILINEAR, .antialias = 1}};

static void columns_of(const image_kernels *k, int round) {
    cvr_rng rng;
    cvr_error err;
    blocks b;
    image_axis a;
    cvr_error_init(&err);
    begin(&b);
    cvr_rng_start(&rng, 21, (uint64_t)round);
    const image_span span = draw_span(&rng);
    const int64_t c = 1 + (int64_t)cvr_rng_below(&rng, 4), rows = 1 + (int64_t)cvr_rng_below(&rng, 9);
    const uint64_t in = (uint64_t)(rows * span.in * c), out = (uint64_t)(rows * span.n * c);
    cr_assert_eq(image_axis_make(&b.sample, &span, &ways[round % 4], CVR_U8, &a, &err), CVR_OK);
    uint8_t *const from = noise(in, &rng), *const want = malloc(out), *const got = malloc(out);
    image_columns job = {
        want, from, from + in, span.n * c, span.in * c, rows, c, &a, give(&b.sample, image_columns_scratch(&a, c))};
    image_kernels_plain.columns(&job);
    job.to = got;
    k->columns(&job);
    cr_assert_eq(memcmp(want, got, out), 0, "%s, round %d: %lld to %lld, %lld channels", k->name, round,
                 (long long)span.in, (long long)span.out, (long long)c);
    free(from);
    free(want);
    free(got);
    end(&b);
}

static void rows_of(const image_kernels *k, int round) {
    cvr_rng rng;
    cvr_error err;
    blocks b;
    image_axis a;
    cvr_error_init(&err);
    begin(&b);
    cvr_rng_start(&rng, 22, (uint64_t)round);
    const image_span span = draw_span(&rng);
    const int64_t n = 1 + (int64_t)cvr_rng_below(&rng, 200);
    cr_assert_eq(image_axis_make(&b.sample, &span, &ways[round % 4], CVR_U8, &a, &err), CVR_OK);
    uint8_t *const from = noise((uint64_t)(span.in * n), &rng), *const want = malloc((size_t)n),
                   *const got = malloc((size_t)n);
    for (int64_t y = 0; y < a.out; y++) {
        const image_rows r = {a.fixed + y * a.taps, a.count[y], n, n, a.bits};
        image_kernels_plain.rows(want, from + a.first[y] * n, &r);
        k->rows(got, from + a.first[y] * n, &r);
        cr_assert_eq(memcmp(want, got, (size_t)n), 0, "%s, round %d, row %lld", k->name, round, (long long)y);
    }
    free(from);
    free(want);
    free(got);
    end(&b);
}

static void reverse_of(const image_kernels *k, int round) {
    static const uint64_t pixel_bytes[] = {1, 2, 3, 4, 12};
    cvr_rng rng;
    cvr_rng_start(&rng, 23, (uint64_t)round);
    const uint64_t p = pixel_bytes[round % 5];
    const int64_t n = 1 + round / 5 % 70;
    uint8_t *const from = noise((uint64_t)n * p, &rng), *const got = malloc((uint64_t)n * p);
    k->reverse(got, from, n, p);
    for (int64_t i = 0; i < n; i++)
        cr_assert_eq(memcmp(got + (uint64_t)i * p, from + (uint64_t)(n - 1 - i) * p, p), 0, "%s: %lld pixels of %llu",
                     k->name, (long long)n, (unsigned long long)p);
    free(from);
    free(got);
}

Test(kernels, all_instruction_sets_give_the_same_bytes) {
    size_t n = 0;
    for (const image_kernels *k; (k = image_kernels_at(n)); n++) {
        for (int round = 0; round < 700; round++) {
            columns_of(k, round);
            rows_of(k, round);
            reverse_of(k, round);
        }
    }
    cr_expect_geq(n, 1u);
    cr_expect_eq(image_kernels_best(), image_kernels_at(n - 1));
}

/* The plain loops themselves: weights of a constant picture give it back, and a ramp stays in order. */
Test(kernels, plain_keeps_constants_and_order) {
    for (int round = 0; round < 200; round++) {
        cvr_rng rng;
        cvr_error err;
        blocks b;
        image_axis a;
        cvr_error_init(&err);
        begin(&b);
        cvr_rng_start(&rng, 24, (uint64_t)round);
        const image_span span = draw_span(&rng);
        uint8_t flat[300], ramp[300], to[120];
        for (int i = 0; i < 300; i++) {
            flat[i] = 201;
            ramp[i] = (uint8_t)(i * 255 / 300);
        }
        cr_assert_eq(image_axis_make(&b.sample, &span, &ways[1], CVR_U8, &a, &err), CVR_OK);
        image_columns job = {to, flat, flat + span.in, span.n, span.in, 1, 1, &a, NULL};
        image_kernels_plain.columns(&job);
        for (int64_t i = 0; i < span.n; i++) cr_assert_eq(to[i], 201);
        job.from = ramp;
        job.end = ramp + span.in;
        image_kernels_plain.columns(&job);
        for (int64_t i = 1; i < span.n; i++) cr_assert_geq(to[i], to[i - 1]);
        end(&b);
    }
}
