/*
 * JPEG, part by part: any part has the pixels of the whole picture, and a damaged file is as bad as it was.
 */
#include "../support/test_host.h"
#include <criterion/criterion.h>
#include <jpeglib.h>
#include <stdlib.h>

static test_host host;

static void load(void) {
    test_host_init(&host);
    test_host_load(&host, "codec_jpeg");
}

static void unload(void) {
    cr_expect_eq(host.live, 0, "memory was left behind");
}

TestSuite(jpeg_parts, .init = load, .fini = unload);

/* How a picture is stored. */
typedef struct kind {
    const char *name;
    int width, height, components, h_samp, v_samp, quality, restart, progressive;
} kind;

static const kind kinds[] = {
    {"4:4:4", 97, 83, 3, 1, 1, 90, 0, 0},       {"4:2:2", 131, 70, 3, 2, 1, 85, 0, 0},
    {"4:2:0", 150, 141, 3, 2, 2, 90, 0, 0},     {"4:2:0 odd", 113, 77, 3, 2, 2, 60, 0, 0},
    {"4:4:0", 90, 101, 3, 1, 2, 90, 0, 0},      {"4:1:1", 167, 60, 3, 4, 1, 90, 0, 0},
    {"4:1:0", 140, 130, 3, 4, 2, 80, 0, 0},     {"grey", 75, 64, 1, 1, 1, 90, 0, 0},
    {"restarts", 120, 117, 3, 2, 2, 90, 3, 0},  {"progressive", 101, 99, 3, 2, 2, 90, 0, 1},
    {"cmyk", 60, 71, 4, 1, 1, 90, 0, 0},        {"tiny", 7, 5, 3, 2, 2, 90, 0, 0},
    {"one row", 200, 1, 3, 2, 2, 90, 0, 0},     {"one column", 1, 200, 3, 2, 2, 90, 0, 0},
    {"4:2:0 even", 160, 96, 3, 2, 2, 95, 0, 0},
};
#define N_KINDS (sizeof kinds / sizeof kinds[0])

/* A picture with edges and noise, as a file. Free with free(). */
static unsigned char *make(const kind *k, unsigned long *n) {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    cvr_rng rng;
    *n = 0;
    cvr_rng_start(&rng, 11, cvr_hash(k->name));
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &bytes, n);
    c.image_width = (JDIMENSION)k->width;
    c.image_height = (JDIMENSION)k->height;
    c.input_components = k->components;
    c.in_color_space = k->components == 1 ? JCS_GRAYSCALE : k->components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, k->quality, TRUE);
    c.comp_info[0].h_samp_factor = k->h_samp;
    c.comp_info[0].v_samp_factor = k->v_samp;
    c.restart_interval = (unsigned)k->restart;
    if (k->progressive) jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    unsigned char *const row = malloc((size_t)(k->width * k->components));
    for (int y = 0; y < k->height; y++) {
        for (int i = 0; i < k->width * k->components; i++) {
            const int x = i / k->components, ch = i % k->components;
            const int edge = (x / 9 + y / 7 + ch) % 3 * 90;
            row[i] = (unsigned char)(edge + (int)cvr_rng_below(&rng, 40));
        }
        JSAMPROW rows[1] = {row};
        (void)jpeg_write_scanlines(&c, rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    free(row);
    return bytes;
}

/* A few bytes make a scan, and each goes over the whole picture: they must be paid for by the file's size. */
Test(jpeg_parts, scans_are_held_to_the_size) {
    static const kind large = {"scans", 1600, 1200, 1, 1, 1, 30, 0, 1};
    const cvr_codec_desc *const codec = test_host_find(&host, CVR_KIND_CODEC, "jpeg");
    unsigned long n = 0;
    unsigned char *const file = make(&large, &n);
    unsigned long scan = n - 2;
    while (scan > 2 && !(file[scan] == 0xff && file[scan + 1] == 0xda)) scan--;
    /* The last scan's header without its data, again and again: every one is read as blank. */
    const unsigned long header = 2 + ((unsigned long)file[scan + 2] << 8 | file[scan + 3]);
    for (int times = 1; times <= 2000; times += 1999) {
        unsigned char *const more = malloc(n + (unsigned long)times * header), *end = more + n - 2;
        cvr_image image = {.struct_size = sizeof image};
        void *pixels = NULL;
        cvr_error err = CVR_ERROR_INIT;
        memcpy(more, file, n - 2);
        for (int i = 0; i < times; i++, end += header) memcpy(end, file + scan, header);
        memcpy(end, file + n - 2, 2);
        const cvr_picture_job job = {
            sizeof job, more, (uint64_t)(end + 2 - more), 0, test_alloc_one, &pixels, NULL, &image, 0, 0};
        const int32_t status = codec->decode(&host.host, &job, &err);
        if (times > 1) cr_expect(status == CVR_ERR_FORMAT && strstr(err.message, "too many scans"), "%s", err.message);
        free(pixels);
        free(more);
    }
    free(file);
}

typedef struct wish {
    cvr_part want, given;
    int32_t fails;
    uint32_t asked;
} wish;

static int32_t choose(const cvr_part_request *r, int64_t height, int64_t width, int64_t channels, cvr_part *want,
                      cvr_error *err) {
    wish *const w = r->ctx;
    w->asked++;
    if (w->fails) return cvr_fail(err, CVR_ERR_USAGE, "no part of %lld channels", (long long)channels);
    cr_assert(height == w->want.height && width == w->want.width, "%lld x %lld", (long long)width, (long long)height);
    *want = w->want;
    return CVR_OK;
}

typedef struct decoded {
    cvr_image image;
    void *memory;
    cvr_error err;
    int32_t status;
} decoded;

/* From a copy that ends where the file does, so that a step too far is seen by the address sanitizer. */
static decoded decode(const unsigned char *bytes, uint64_t n, uint32_t channels, wish *w) {
    decoded d;
    memset(&d, 0, sizeof d);
    d.image.struct_size = sizeof d.image;
    cvr_error_init(&d.err);
    uint8_t *const copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    const cvr_part_request r = {sizeof r, w, choose, w ? &w->given : NULL};
    const cvr_picture_job job = {sizeof job, copy,          n,        channels, test_alloc_one,
                                 &d.memory,  w ? &r : NULL, &d.image, 0,        0};
    d.status = host.image.decode_part(&host.image, &job, &d.err);
    free(copy);
    return d;
}

/* A part of a picture of this size, its sides drawn. */
static cvr_part draw_part(cvr_rng *rng, int64_t height, int64_t width) {
    cvr_part p;
    cvr_part_whole(&p, height, width);
    p.rows = 1 + (int64_t)cvr_rng_below(rng, (uint64_t)height);
    p.columns = 1 + (int64_t)cvr_rng_below(rng, (uint64_t)width);
    p.top = (int64_t)cvr_rng_below(rng, (uint64_t)(height - p.rows + 1));
    p.left = (int64_t)cvr_rng_below(rng, (uint64_t)(width - p.columns + 1));
    return p;
}

static void expect_same(const kind *k, const decoded *whole, const decoded *part, const wish *w) {
    const cvr_part *const g = &w->given, *const p = &w->want;
    cr_assert(cvr_part_valid(g) && cvr_part_covers(g, p), "%s: another part was given", k->name);
    cr_assert(g->reduce == 1 && part->image.height == g->rows && part->image.width == g->columns, "%s", k->name);
    const int64_t c = whole->image.channels;
    for (int64_t y = p->top; y < p->top + p->rows; y++) {
        const uint8_t *const a = whole->image.data + (y * p->width + p->left) * c;
        const uint8_t *const b = part->image.data + ((y - g->top) * g->columns + p->left - g->left) * c;
        for (int64_t i = 0; i < p->columns * c; i++) {
            cr_assert_eq(a[i], b[i], "%s: row %lld, column %lld of part %lld,%lld %lldx%lld: %d instead of %d", k->name,
                         (long long)y, (long long)(p->left + i / c), (long long)p->left, (long long)p->top,
                         (long long)p->columns, (long long)p->rows, b[i], a[i]);
        }
    }
}

Test(jpeg_parts, have_the_pixels_of_the_whole, .timeout = 300) {
    for (size_t i = 0; i < N_KINDS; i++) {
        unsigned long n = 0;
        unsigned char *const file = make(&kinds[i], &n);
        cvr_rng rng;
        cvr_rng_start(&rng, 12, i);
        for (uint32_t channels = 1; channels <= 3; channels += 2) {
            decoded whole = decode(file, n, channels, NULL);
            cr_assert_eq(whole.status, CVR_OK, "%s: %s", kinds[i].name, whole.err.message);
            for (int k = 0; k < 400; k++) {
                wish w = {.want = draw_part(&rng, kinds[i].height, kinds[i].width)};
                decoded part = decode(file, n, channels, &w);
                cr_assert_eq(part.status, CVR_OK, "%s: %s", kinds[i].name, part.err.message);
                cr_assert_eq(w.asked, 1u);
                expect_same(&kinds[i], &whole, &part, &w);
                free(part.memory);
            }
            free(whole.memory);
        }
        free(file);
    }
    cr_expect_eq(host.n_logs, 0u, "%s", host.last_log);
}

/* At 1/2, 1/4, 1/8: the size is what the contract says, and a part begins with the pixel that the whole has there. */
Test(jpeg_parts, are_reduced, .timeout = 300) {
    for (size_t i = 0; i < N_KINDS; i++) {
        unsigned long n = 0;
        unsigned char *const file = make(&kinds[i], &n);
        cvr_rng rng;
        cvr_rng_start(&rng, 13, i);
        for (int64_t reduce = 2; reduce <= 8; reduce *= 2) {
            wish all = {.want = {.struct_size = sizeof all.want}};
            cvr_part_whole(&all.want, kinds[i].height, kinds[i].width);
            all.want.reduce = reduce;
            decoded whole = decode(file, n, 3, &all);
            cr_assert_eq(whole.status, CVR_OK, "%s: %s", kinds[i].name, whole.err.message);
            cr_assert_eq(all.given.reduce, reduce);
            cr_assert(whole.image.height == cvr_part_reduced(0, kinds[i].height, reduce) &&
                      whole.image.width == cvr_part_reduced(0, kinds[i].width, reduce));
            for (int k = 0; k < 50; k++) {
                wish w = {.want = draw_part(&rng, kinds[i].height, kinds[i].width)};
                w.want.rows += w.want.top % reduce;
                w.want.top -= w.want.top % reduce;
                w.want.columns += w.want.left % reduce;
                w.want.left -= w.want.left % reduce;
                w.want.reduce = reduce;
                decoded part = decode(file, n, 3, &w);
                cr_assert_eq(part.status, CVR_OK, "%s: %s", kinds[i].name, part.err.message);
                const cvr_part *const g = &w.given;
                cr_assert(cvr_part_valid(g) && cvr_part_covers(g, &w.want) && g->reduce == reduce);
                cr_assert(part.image.height == cvr_part_reduced(g->top, g->rows, reduce) &&
                          part.image.width == cvr_part_reduced(g->left, g->columns, reduce));
                const int64_t y = w.want.top / reduce, x = w.want.left / reduce;
                const uint8_t *const a = whole.image.data + (y * whole.image.width + x) * 3;
                const uint8_t *const b =
                    part.image.data + ((y - g->top / reduce) * part.image.width + x - g->left / reduce) * 3;
                for (int c = 0; c < 3; c++) cr_assert_eq(a[c], b[c], "%s at 1/%lld", kinds[i].name, (long long)reduce);
                free(part.memory);
            }
            free(whole.memory);
        }
        free(file);
    }
}

/* Wherever the part lies, a file that was cut is bad. */
Test(jpeg_parts, every_truncation_is_an_error, .timeout = 300) {
    for (size_t i = 0; i < N_KINDS; i++) {
        unsigned long n = 0;
        unsigned char *const file = make(&kinds[i], &n);
        cvr_rng rng;
        cvr_rng_start(&rng, 14, i);
        for (unsigned long cut = 0; cut<n; cut += n> 3000 ? 1 + (unsigned long)cvr_rng_below(&rng, 5) : 1) {
            wish w = {.want = draw_part(&rng, kinds[i].height, kinds[i].width)};
            decoded d = decode(file, cut, 3, &w);
            cr_assert_neq(d.status, CVR_OK, "%s cut at %lu of %lu was taken", kinds[i].name, cut, n);
            cr_assert(d.err.message[0] && !strchr(d.err.message, '\n'));
            free(d.memory);
        }
        free(file);
    }
}

Test(jpeg_parts, flipped_bytes_do_no_harm, .timeout = 300) {
    for (size_t i = 0; i < N_KINDS; i++) {
        unsigned long n = 0;
        unsigned char *const file = make(&kinds[i], &n), *const bad = malloc(n);
        cvr_rng rng;
        uint32_t taken = 0;
        cvr_rng_start(&rng, 15, i);
        for (int k = 0; k < 400; k++) {
            memcpy(bad, file, n);
            for (uint64_t f = 1 + cvr_rng_below(&rng, 6); f > 0; f--) {
                /* Past the size in the frame header, which the wish knows. */
                bad[200 + cvr_rng_below(&rng, n - 200)] = (uint8_t)cvr_rng_u32(&rng);
            }
            wish w = {.want = draw_part(&rng, kinds[i].height, kinds[i].width)};
            w.want.reduce = k % 4 == 3 && w.want.top % 2 == 0 && w.want.left % 2 == 0 ? 2 : 1;
            wish any = w;
            any.fails = k % 50 == 49;
            decoded d = decode(bad, n, k % 2 ? 1 : 3, &any);
            taken += d.status == CVR_OK;
            cr_assert(d.status == CVR_OK || d.err.message[0]);
            free(d.memory);
            cr_assert_eq(host.live, 0, "%s: memory was left behind", kinds[i].name);
        }
        cr_expect_lt(taken, 400u, "%s", kinds[i].name);
        free(bad);
        free(file);
    }
}

Test(jpeg_parts, a_part_that_is_not_there_is_refused) {
    unsigned long n = 0;
    unsigned char *const file = make(&kinds[0], &n);
    const int64_t h = kinds[0].height, w = kinds[0].width;
    const cvr_part bad[] = {{sizeof bad[0], h, w, 0, 0, h + 1, w, 1},     {sizeof bad[0], h, w, -1, 0, 5, 5, 1},
                            {sizeof bad[0], h, w, 0, 0, 0, 5, 1},         {sizeof bad[0], h, w, 0, 0, 5, 5, 3},
                            {sizeof bad[0], h, w, 0, 0, 5, 5, 0},         {sizeof bad[0], h, w, 1, 0, 5, 5, 2},
                            {sizeof bad[0], h, w, INT64_MAX, 0, 5, 5, 1}, {sizeof bad[0], h, w, 0, w, 5, 5, 1},
                            {sizeof bad[0], h, w, 0, 3, 5, INT64_MAX, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        wish x = {.want = bad[i]};
        decoded d = decode(file, n, 3, &x);
        cr_expect_eq(d.status, CVR_ERR_PLUGIN, "part %zu was taken", i);
        cr_expect(!d.memory);
        free(d.memory);
    }
    wish no = {.fails = 1};
    decoded d = decode(file, n, 3, &no);
    cr_expect_eq(d.status, CVR_ERR_USAGE);
    cr_expect_str_eq(d.err.message, "no part of 3 channels");
    free(file);
}
