/*
 * The codecs: pixels against PIL's (tests/parity/codecs.py), and files that are damaged or made to do harm.
 */
#include "../support/test_host.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <zlib.h>

static test_host host;
static test_tensors golden;

static void load(void) {
    test_host_init(&host);
    test_host_load(&host, "weights_safetensors");
    test_host_load(&host, "codec_png");
    test_host_load(&host, "codec_jpeg");
    test_host_load(&host, "codec_webp");
    test_host_load(&host, "codec_bmp");
    test_host_load(&host, "codec_tiff");
    test_tensors_read(&golden, &host, CVR_GOLDEN_DIR "/codecs.safetensors");
    host.most = 0;
}

static void unload(void) {
    test_tensors_free(&golden);
    cr_expect_eq(host.live, 0, "memory was left behind");
}

TestSuite(codecs, .init = load, .fini = unload);

typedef struct decoded {
    cvr_image image;
    void *memory;
    cvr_error err;
    int32_t status;
} decoded;

/* Decodes a copy that ends where the file does, so that a step too far is seen by the address sanitizer. */
static decoded decode(const void *bytes, uint64_t n, uint32_t channels) {
    decoded d;
    memset(&d, 0, sizeof d);
    d.image.struct_size = sizeof d.image;
    cvr_error_init(&d.err);
    uint8_t *const copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    d.status = host.image.decode(&host.image, copy, n, channels, test_alloc_one, &d.memory, &d.image, &d.err);
    free(copy);
    return d;
}

/* What every case of the golden file is run through. */
typedef void (*case_fn)(const char *name, const cvr_weight *file);

static uint32_t each_case(case_fn fn) {
    uint32_t n = 0;
    for (uint64_t i = 0; i < golden.n; i++) {
        const char *const slash = strrchr(golden.w[i].name, '/');
        char name[128];
        if (!slash || strcmp(slash, "/file") != 0) continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(slash - golden.w[i].name), golden.w[i].name);
        fn(name, &golden.w[i]);
        n++;
    }
    return n;
}

static void expect_pixels(const char *name, const cvr_weight *file, uint32_t channels, const char *field) {
    const cvr_weight *const want = test_tensors_get(&golden, name, field);
    decoded d = decode(file->data, file->bytes, channels);
    cr_assert_eq(d.status, CVR_OK, "%s: %s", name, d.err.message);
    cr_assert(d.image.height == want->shape[0] && d.image.width == want->shape[1] && d.image.channels == want->shape[2],
              "%s: %lld x %lld x %lld", name, (long long)d.image.height, (long long)d.image.width,
              (long long)d.image.channels);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < want->bytes; i++) wrong += d.image.data[i] != ((const uint8_t *)want->data)[i];
    cr_expect_eq(wrong, 0u, "%s/%s: %llu of %llu values differ", name, field, (unsigned long long)wrong,
                 (unsigned long long)want->bytes);
    free(d.memory);
}

static void same_as_pil(const char *name, const cvr_weight *file) {
    int64_t own = 0;
    memcpy(&own, test_tensors_get(&golden, name, "own")->data, sizeof own);
    expect_pixels(name, file, 3, "rgb");
    expect_pixels(name, file, 1, "grey");
    expect_pixels(name, file, 0, own == 1 ? "grey" : "rgb");
}

Test(codecs, same_pixels_as_pil) {
    cr_expect_gt(each_case(same_as_pil), 110u);
    cr_expect_eq(host.n_logs, 0u, "%s", host.last_log);
}

/* A TIFF may end with where its next page lies, and padding: its picture is whole without them. Before that stand
 * values of tags, which libtiff does without where it can, with a warning. */
static void cut_everywhere(const char *name, const cvr_weight *file) {
    const int32_t tiff = strncmp(name, "tiff", 4) == 0;
    for (uint64_t cut = 0; cut < file->bytes - (tiff ? 8 : 0); cut++) {
        const uint32_t logs = host.n_logs;
        decoded d = decode(file->data, cut, 3);
        if (tiff && d.status == CVR_OK && host.n_logs > logs) {
            free(d.memory);
            continue;
        }
        cr_assert_neq(d.status, CVR_OK, "%s cut at %llu of %llu was taken", name, (unsigned long long)cut,
                      (unsigned long long)file->bytes);
        cr_assert(d.err.message[0]);
        free(d.memory);
    }
}

Test(codecs, every_truncation_is_an_error, .timeout = 300) {
    (void)each_case(cut_everywhere);
}

static void flip_bytes(const char *name, const cvr_weight *file) {
    uint8_t *const bad = malloc(file->bytes);
    cvr_rng rng;
    cvr_rng_start(&rng, 5, cvr_hash(name));
    for (int i = 0; i < 300; i++) {
        memcpy(bad, file->data, file->bytes);
        for (uint64_t k = 1 + cvr_rng_below(&rng, 6); k > 0; k--) {
            bad[cvr_rng_below(&rng, file->bytes)] = (uint8_t)cvr_rng_u32(&rng);
        }
        decoded d = decode(bad, file->bytes, i % 2 ? 1 : 3);
        free(d.memory);
        cr_assert_eq(host.live, 0, "%s: memory was left behind", name);
    }
    free(bad);
}

Test(codecs, flipped_bytes_do_no_harm, .timeout = 300) {
    (void)each_case(flip_bytes);
}

/* PNG checks its chunks: with the sums put right, what is behind them is reached. */
static void mend_sums(uint8_t *file, uint64_t n) {
    for (uint64_t at = 8; at + 12 <= n;) {
        const uint64_t len =
            (uint64_t)file[at] << 24 | (uint64_t)file[at + 1] << 16 | (uint64_t)file[at + 2] << 8 | file[at + 3];
        if (len > n - at - 12) return;
        const uLong crc = crc32(0, file + at + 4, (uInt)len + 4);
        for (int i = 0; i < 4; i++) file[at + 8 + len + (uint64_t)i] = (uint8_t)(crc >> 8 * (3 - i));
        at += 12 + len;
    }
}

static void flip_png(const char *name, const cvr_weight *file) {
    uint8_t *const bad = malloc(file->bytes);
    cvr_rng rng;
    cvr_rng_start(&rng, 6, cvr_hash(name));
    for (int i = 0; i < 300 && strncmp(name, "png", 3) == 0; i++) {
        memcpy(bad, file->data, file->bytes);
        for (uint64_t k = 1 + cvr_rng_below(&rng, 3); k > 0; k--) {
            bad[8 + cvr_rng_below(&rng, file->bytes - 8)] = (uint8_t)cvr_rng_u32(&rng);
        }
        mend_sums(bad, file->bytes);
        decoded d = decode(bad, file->bytes, i % 2 ? 0 : 3);
        free(d.memory);
        cr_assert_eq(host.live, 0, "%s: memory was left behind", name);
    }
    free(bad);
}

Test(codecs, png_with_good_sums_and_bad_contents_does_no_harm, .timeout = 300) {
    (void)each_case(flip_png);
}

static const cvr_weight *file_of(const char *name) {
    const cvr_weight *const w = test_tensors_get(&golden, name, "file");
    cr_assert(w, "%s", name);
    return w;
}

/* A tiny file that declares a huge picture costs no memory. */
Test(codecs, declared_size_is_not_believed) {
    static const uint32_t sizes[][2] = {{65000, 65000}, {0x7fffffff, 0x7fffffff}, {65501, 1}, {1, 65501}, {0, 5},
                                        {60000, 2000}};
    const cvr_weight *const p = file_of("png_rgb"), *const j = file_of("jpeg_444"), *const b = file_of("bmp_rle8");
    uint8_t *const png = malloc(p->bytes), *const jpeg = malloc(j->bytes), *const bmp = malloc(b->bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memcpy(png, p->data, p->bytes);
        for (int k = 0; k < 8; k++) png[16 + k] = (uint8_t)(sizes[i][k / 4] >> 8 * (3 - k % 4));
        mend_sums(png, p->bytes);
        decoded d = decode(png, p->bytes, 3);
        cr_expect_neq(d.status, CVR_OK, "PNG of %u x %u was taken", sizes[i][0], sizes[i][1]);
        cr_expect(d.err.message[0] && !d.memory, "memory was asked for");
        memcpy(bmp, b->data, b->bytes);
        for (int k = 0; k < 8; k++) bmp[18 + k] = (uint8_t)(sizes[i][k / 4] >> 8 * (k % 4));
        d = decode(bmp, b->bytes, 3);
        cr_expect(d.status != CVR_OK && d.err.message[0] && !d.memory, "BMP of %u x %u was taken", sizes[i][0],
                  sizes[i][1]);
    }
    memcpy(jpeg, j->data, j->bytes);
    uint64_t at = 2;
    while (jpeg[at + 1] != 0xc0) at += 2 + ((uint64_t)jpeg[at + 2] << 8 | jpeg[at + 3]);
    for (int k = 0; k < 4; k++) jpeg[at + 5 + (uint64_t)k] = k % 2 ? 0 : 0x30; /* 12288 x 12288 */
    decoded d = decode(jpeg, j->bytes, 3);
    cr_expect_eq(d.status, CVR_ERR_FORMAT);
    cr_expect(strstr(d.err.message, "cannot hold") && !d.memory, "%s", d.err.message);
    cr_expect_lt(host.most, 1u << 20, "%llu bytes were asked for", (unsigned long long)host.most);
    free(png);
    free(jpeg);
    free(bmp);
}

/* What the small codecs refuse, in words: bytes of a good file are changed. */
Test(codecs, the_new_formats_say_what_is_wrong) {
    static const struct {
        const char *name, *says;
        uint32_t at, n;
        uint8_t bytes[4];
    } cases[] = {
        {"bmp_24", "header of a length", 14, 1, {41}},
        {"bmp_24", "compression 4", 30, 1, {4}},
        {"bmp_565", "mask with holes", 54, 2, {0x00, 0xa8}},
        {"bmp_palette8", "more than 256 colours", 46, 2, {0, 2}},
        {"bmp_few_colours", "not in its palette", 46, 1, {1}},
        {"bmp_rle8", "past the end of a row", 54 + 1024, 1, {9}},
        {"webp_lossy", "ends too early", 4, 3, {0xff, 0xff, 0xff}},
        {"tiff_tiles", "", 4, 4, {0xff, 0xff, 0xff, 0x7f}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cvr_weight *const w = file_of(cases[i].name);
        uint8_t *const bad = malloc(w->bytes);
        memcpy(bad, w->data, w->bytes);
        memcpy(bad + cases[i].at, cases[i].bytes, cases[i].n);
        decoded d = decode(bad, w->bytes, 3);
        cr_expect(d.status != CVR_OK && strstr(d.err.message, cases[i].says), "%s: %s", cases[i].name, d.err.message);
        cr_expect_eq(host.live, 0);
        free(d.memory);
        free(bad);
    }
}

static uint8_t *add_chunk(uint8_t *at, const char *kind, const void *data, uint64_t n) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(n >> 8 * (3 - i));
    memcpy(at + 4, kind, 4);
    if (n) memcpy(at + 8, data, n);
    return at + 12 + n;
}

/* A blank PNG, 1 bit grey: what its pixels take in memory counts, not what the stream has to give. */
static decoded decode_blank(uint32_t width, uint32_t height) {
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    const uint64_t raw_n = (uint64_t)height * ((width + 7) / 8 + 1);
    uLongf n = compressBound(raw_n);
    uint8_t *const raw = calloc(raw_n, 1), *const packed = malloc(n), *const file = malloc(n + 128), *end = file + 8;
    cr_assert(raw && packed && file && compress2(packed, &n, raw, raw_n, 9) == Z_OK);
    uint8_t head[13] = {0, 0, 0, 0, 0, 0, 0, 0, 1};
    for (int k = 0; k < 8; k++) head[k] = (uint8_t)((k < 4 ? width : height) >> 8 * (3 - k % 4));
    memcpy(file, signature, 8);
    end = add_chunk(end, "IHDR", head, sizeof head);
    end = add_chunk(end, "IDAT", packed, n);
    end = add_chunk(end, "IEND", NULL, 0);
    mend_sums(file, (uint64_t)(end - file));
    const decoded d = decode(file, (uint64_t)(end - file), 3);
    free(raw);
    free(packed);
    free(file);
    return d;
}

Test(codecs, png_is_held_to_the_memory_of_its_pixels) {
    decoded d = decode_blank(4960, 3508); /* a blank page of 600 dots to the inch */
    cr_expect_eq(d.status, CVR_OK, "%s", d.err.message);
    free(d.memory);
    d = decode_blank(9000, 8000);
    cr_expect(d.status == CVR_ERR_FORMAT && !d.memory && strstr(d.err.message, "cannot hold"), "%s", d.err.message);
    d = decode_blank(20000, 9000);
    cr_expect(d.status == CVR_ERR_FORMAT && !d.memory && strstr(d.err.message, "more than 178956970 pixels"), "%s",
              d.err.message);
}

/* The most pixels are held against the header, before there is memory for them. */
Test(codecs, pictures_of_too_many_pixels_are_refused) {
    static const char *const names[] = {"png_rgb", "jpeg_444", "webp_lossy", "bmp_24", "tiff_lzw"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const cvr_weight *const w = file_of(names[i]);
        decoded whole = decode(w->data, w->bytes, 3);
        cr_assert_eq(whole.status, CVR_OK);
        const uint64_t pixels = (uint64_t)(whole.image.width * whole.image.height);
        for (uint64_t less = 0; less < 2; less++) {
            void *memory = NULL;
            cvr_image image = {.struct_size = sizeof image};
            cvr_error err = CVR_ERROR_INIT;
            const cvr_picture_job job = {sizeof job, w->data, w->bytes,      3, test_alloc_one, &memory,
                                         NULL,       &image,  pixels - less, 0};
            cr_expect_eq(host.image.decode_part(&host.image, &job, &err), less ? CVR_ERR_FORMAT : CVR_OK);
            cr_expect(!less || (!memory && strstr(err.message, "data.max_pixels")), "%s: %s", names[i], err.message);
            free(memory);
        }
        free(whole.memory);
    }
    const cvr_weight *const w = file_of("png_rgb"); /* 13378 x 13378 are just more than CVR_MAX_PIXELS */
    uint8_t *const png = malloc(w->bytes);
    memcpy(png, w->data, w->bytes);
    for (int k = 0; k < 8; k++) png[16 + k] = (uint8_t)(13378u >> 8 * (3 - k % 4));
    mend_sums(png, w->bytes);
    decoded d = decode(png, w->bytes, 3);
    cr_expect(d.status == CVR_ERR_FORMAT && strstr(d.err.message, "more than 178956970 pixels"), "%s", d.err.message);
    free(d.memory);
    free(png);
}

/* An EXIF block that is not well formed leaves the picture as it is stored. */
Test(codecs, damaged_exif_is_no_orientation) {
    const cvr_weight *const w = file_of("jpeg_exif6");
    uint8_t *const bad = malloc(w->bytes);
    uint64_t tiff = 0;
    for (uint64_t i = 0; i + 6 < w->bytes && !tiff; i++) {
        if (memcmp((const uint8_t *)w->data + i, "Exif\0\0", 6) == 0) tiff = i + 6;
    }
    cr_assert(tiff);
    for (uint64_t at = 0; at < 26; at++) {
        for (int v = 0; v < 256; v++) {
            memcpy(bad, w->data, w->bytes);
            bad[tiff + at] = (uint8_t)v;
            decoded d = decode(bad, w->bytes, 3);
            cr_assert_eq(d.status, CVR_OK, "%s", d.err.message);
            free(d.memory);
        }
    }
    memcpy(bad, w->data, w->bytes);
    memset(bad + tiff + 4, 0xff, 4);
    decoded d = decode(bad, w->bytes, 3);
    cr_expect(d.status == CVR_OK && d.image.width == 9 && d.image.height == 5);
    free(d.memory);
    free(bad);
}

/* What libjpeg can go on after is logged once and is no error. */
Test(codecs, jpeg_warning_is_logged_once) {
    const cvr_weight *const w = file_of("jpeg_444");
    uint8_t *const bad = calloc(1, w->bytes + 6);
    memcpy(bad, w->data, w->bytes - 2);
    memcpy(bad + w->bytes - 2, "\x12\x34\x56\x78\x9a", 5); /* bytes that belong to nothing, before the end marker */
    memcpy(bad + w->bytes + 3, "\xff\xd9", 2);
    decoded d = decode(bad, w->bytes + 5, 3);
    cr_expect_eq(d.status, CVR_OK, "%s", d.err.message);
    cr_expect_eq(host.n_logs, 1u);
    cr_expect(strncmp(host.last_log, "jpeg: ", 6) == 0, "%s", host.last_log);
    free(d.memory);
    free(bad);
}

/* A picture whose data stop half-way, with the end marker put behind them, is not whole. */
Test(codecs, jpeg_that_stops_early_is_an_error_even_with_an_end_marker) {
    const cvr_weight *const w = file_of("jpeg_444");
    uint8_t *const bad = malloc(w->bytes);
    memcpy(bad, w->data, w->bytes);
    memcpy(bad + w->bytes - 302, "\xff\xd9", 2);
    decoded d = decode(bad, w->bytes - 300, 3);
    cr_expect_eq(d.status, CVR_ERR_FORMAT);
    cr_expect(strstr(d.err.message, "ends too early"), "%s", d.err.message);
    free(d.memory);
    free(bad);
}

static int32_t full_disk(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    (void)ctx;
    (void)bytes;
    (void)n;
    return cvr_fail(err, CVR_ERR_IO, "disk full");
}

Test(codecs, png_round_trip) {
    const cvr_codec_desc *const png = test_host_find(&host, CVR_KIND_CODEC, "png");
    for (int64_t channels = 1; channels <= 3; channels += 2) {
        uint8_t pixels[7 * 5 * 3];
        cvr_rng rng;
        cvr_error err;
        test_bytes a = {NULL, 0}, b = {NULL, 0};
        cvr_rng_start(&rng, 3, 0);
        cvr_error_init(&err);
        for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)cvr_rng_u32(&rng);
        const cvr_image image = {sizeof image, 5, 7, channels, pixels, NULL};
        cr_assert_eq(png->encode(&host.host, &image, test_bytes_sink, &a, &err), CVR_OK, "%s", err.message);
        cr_assert_eq(png->encode(&host.host, &image, test_bytes_sink, &b, &err), CVR_OK, "%s", err.message);
        cr_expect(a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0, "the same pixels gave other bytes");
        decoded d = decode(a.bytes, a.n, 0);
        cr_assert_eq(d.status, CVR_OK, "%s", d.err.message);
        cr_expect(d.image.width == 5 && d.image.height == 7 && d.image.channels == channels);
        cr_expect_eq(memcmp(d.image.data, pixels, (size_t)(35 * channels)), 0);
        cr_expect_eq(png->encode(&host.host, &image, full_disk, NULL, &err), CVR_ERR_IO);
        cr_expect_str_eq(err.message, "disk full");
        free(d.memory);
        test_bytes_free(&a);
        test_bytes_free(&b);
    }
}

/* Pixels that stand for colours are read back as those colours. */
Test(codecs, png_of_a_palette) {
    uint8_t pixels[6] = {0, 1, 2, 255, 254, 1}, palette[768];
    const cvr_codec_desc *const png = test_host_find(&host, CVR_KIND_CODEC, "png");
    const cvr_image image = {sizeof image, 3, 2, 1, pixels, palette};
    test_bytes a = {NULL, 0};
    cvr_error err = CVR_ERROR_INIT;
    for (int i = 0; i < 768; i++) palette[i] = (uint8_t)(i * 7 + i / 256);
    cr_assert_eq(png->encode(&host.host, &image, test_bytes_sink, &a, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(a.bytes[25], 3, "the colour type of a palette");
    decoded d = decode(a.bytes, a.n, 3);
    cr_assert_eq(d.status, CVR_OK, "%s", d.err.message);
    for (int i = 0; i < 18; i++) cr_expect_eq(d.image.data[i], palette[3 * pixels[i / 3] + i % 3]);
    free(d.memory);
    test_bytes_free(&a);
}

Test(codecs, png_encoder_refuses_other_channels) {
    uint8_t pixels[8] = {0};
    const cvr_codec_desc *const png = test_host_find(&host, CVR_KIND_CODEC, "png");
    const cvr_image two = {sizeof two, 2, 2, 2, pixels, NULL}, none = {sizeof none, 0, 2, 1, pixels, NULL};
    test_bytes a = {NULL, 0};
    cvr_error err;
    cvr_error_init(&err);
    cr_expect_eq(png->encode(&host.host, &two, test_bytes_sink, &a, &err), CVR_ERR_UNSUPPORTED);
    cr_expect_eq(png->encode(&host.host, &none, test_bytes_sink, &a, &err), CVR_ERR_UNSUPPORTED);
    test_bytes_free(&a);
}

static void *no_memory(void *ctx, uint64_t bytes) {
    (void)ctx;
    (void)bytes;
    return NULL;
}

static void decode_without_memory(const char *name, const cvr_weight *file) {
    cvr_image image = {.struct_size = sizeof image};
    cvr_error err;
    cvr_error_init(&err);
    cr_expect_eq(host.image.decode(&host.image, file->data, file->bytes, 3, no_memory, NULL, &image, &err),
                 CVR_ERR_NOMEM, "%s: %s", name, err.message);
    cr_expect_eq(host.live, 0);
}

Test(codecs, out_of_memory_is_said) {
    (void)each_case(decode_without_memory);
}
