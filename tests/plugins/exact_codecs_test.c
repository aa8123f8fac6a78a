/*
 * cvr_picture_job.exact: what codecs give for masks. The pictures are those that tests/parity/codecs.py made; what they
 * look like is known from PIL, and the numbers that they hold follow from it.
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
}

static void unload(void) {
    test_tensors_free(&golden);
    cr_expect_eq(host.live, 0, "memory was left behind");
}

TestSuite(exact_codecs, .init = load, .fini = unload);

typedef struct decoded {
    cvr_image image;
    void *memory;
    cvr_error err;
    int32_t status;
} decoded;

static decoded decode(const void *bytes, uint64_t n, uint64_t channels) {
    decoded d = {.image = {.struct_size = sizeof d.image}};
    const cvr_picture_job job = {.struct_size = sizeof job,
                                 .bytes = bytes,
                                 .n = n,
                                 .channels = channels,
                                 .alloc = test_alloc_one,
                                 .alloc_ctx = &d.memory,
                                 .out = &d.image,
                                 .exact = 1};
    cvr_error_init(&d.err);
    d.status = host.image.decode_part(&host.image, &job, &d.err);
    return d;
}

static const cvr_weight *field_of(const char *name, const char *field) {
    const cvr_weight *const w = test_tensors_get(&golden, name, field);
    cr_assert(w, "%s/%s", name, field);
    return w;
}

static decoded decode_case(const char *name, uint64_t channels) {
    const cvr_weight *const file = field_of(name, "file");
    decoded d = decode(file->data, file->bytes, channels);
    cr_assert_eq(d.status, CVR_OK, "%s: %s", name, d.err.message);
    return d;
}

/* Grey of fewer than 8 bits is not scaled: `factor` times the number is what PIL shows. */
Test(exact_codecs, grey_keeps_its_numbers) {
    static const struct {
        const char *name;
        int factor;
    } cases[] = {
        {"png_grey1", 255}, {"png_grey2", 85},   {"png_grey4", 17},  {"png_grey8", 1},  {"png_interlaced_grey1", 255},
        {"png_la", 1},      {"tiff_grey1", 255}, {"tiff_grey4", 17}, {"tiff_grey8", 1}, {"bmp_grey8", 1},
        {"bmp_grey1", 255}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cvr_weight *const grey = field_of(cases[i].name, "grey");
        decoded d = decode_case(cases[i].name, 0);
        cr_assert_eq(d.image.channels, 1, "%s", cases[i].name);
        cr_assert_eq((uint64_t)(d.image.width * d.image.height), grey->bytes);
        for (uint64_t k = 0; k < grey->bytes; k++)
            cr_assert_eq(d.image.data[k] * cases[i].factor, ((const uint8_t *)grey->data)[k], "%s", cases[i].name);
        free(d.memory);
    }
}

/* Pixels have one index where they have one colour, and the index is one of the palette. */
static void expect_indices(const char *name, int colours) {
    const uint8_t *const rgb = field_of(name, "rgb")->data;
    int seen[256];
    decoded d = decode_case(name, 0);
    memset(seen, -1, sizeof seen);
    cr_assert_eq(d.image.channels, 1, "%s", name);
    for (int64_t k = 0; k < d.image.width * d.image.height; k++) {
        const int index = d.image.data[k], colour = rgb[3 * k] << 16 | rgb[3 * k + 1] << 8 | rgb[3 * k + 2];
        cr_assert_lt(index, colours, "%s", name);
        cr_assert(seen[index] == -1 || seen[index] == colour, "%s: index %d has two colours", name, index);
        seen[index] = colour;
    }
    free(d.memory);
}

Test(exact_codecs, palettes_give_indices) {
    expect_indices("png_palette1", 2);
    expect_indices("png_palette2", 4);
    expect_indices("png_palette4", 16);
    expect_indices("png_palette8", 256);
    expect_indices("png_palette4_trns", 16);
    expect_indices("bmp_palette1", 2);
    expect_indices("bmp_palette4", 16);
    expect_indices("bmp_palette8", 256);
    expect_indices("bmp_rle8", 256);
    expect_indices("tiff_palette1", 2);
    expect_indices("tiff_palette4", 16);
    expect_indices("tiff_palette8", 256);
}

/* The palette of a PNG is in its file: colour by colour. */
Test(exact_codecs, an_index_is_the_palette_s_place) {
    const cvr_weight *const file = field_of("png_palette8", "file");
    const uint8_t *const bytes = file->data, *const rgb = field_of("png_palette8", "rgb")->data;
    uint64_t at = 0;
    while (at + 4 < file->bytes && memcmp(bytes + at, "PLTE", 4) != 0) at++;
    decoded d = decode_case("png_palette8", 0);
    for (int64_t k = 0; k < d.image.width * d.image.height; k++)
        cr_assert_eq(memcmp(bytes + at + 4 + 3 * d.image.data[k], rgb + 3 * k, 3), 0);
    free(d.memory);
}

/* With three channels colours come as ever, of palettes too; so do pictures that are stored in colours. */
Test(exact_codecs, colours_stay_colours) {
    static const struct {
        const char *name;
        uint64_t channels;
    } cases[] = {{"png_palette8", 3}, {"png_rgb", 0},  {"png_rgba", 0},      {"bmp_24", 0},
                 {"bmp_palette4", 3}, {"tiff_lzw", 0}, {"webp_lossless", 0}, {"tiff_palette8", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cvr_weight *const rgb = field_of(cases[i].name, "rgb");
        decoded d = decode_case(cases[i].name, cases[i].channels);
        cr_assert_eq(d.image.channels, 3, "%s", cases[i].name);
        cr_expect_eq(memcmp(d.image.data, rgb->data, rgb->bytes), 0, "%s", cases[i].name);
        free(d.memory);
    }
}

Test(exact_codecs, what_does_not_keep_numbers_is_refused) {
    static const struct {
        const char *name, *says;
    } cases[] = {
        {"jpeg_grey", "jpeg: a mask in a format that smears"}, {"webp_lossy", "webp: a mask in a format"},
        {"tiff_jpeg_grey", "tiff: a mask in a format"},        {"png_grey16", "png: a mask of 16 bits with the value"},
        {"tiff_grey16_0", "tiff: a mask of 16 bits"},          {"tiff_grey16_1", "tiff: a mask of 16 bits"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cvr_weight *const file = field_of(cases[i].name, "file");
        decoded d = decode(file->data, file->bytes, 0);
        cr_expect(d.status == CVR_ERR_UNSUPPORTED && strstr(d.err.message, cases[i].says), "%s: %s", cases[i].name,
                  d.err.message);
        free(d.memory);
    }
}

static uint8_t *add_chunk(uint8_t *at, const char *kind, const void *data, uint32_t n) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(n >> 8 * (3 - i));
    memcpy(at + 4, kind, 4);
    if (n) memcpy(at + 8, data, n);
    const uLong sum = crc32(0, at + 4, n + 4);
    for (int i = 0; i < 4; i++) at[8 + n + (uint32_t)i] = (uint8_t)(sum >> 8 * (3 - i));
    return at + 12 + n;
}

/* Numbers that were saved in 16 bits, as many tools do, and fit into 8. */
Test(exact_codecs, small_numbers_of_16_bits_are_taken) {
    static const uint8_t head[13] = {0, 0, 0, 3, 0, 0, 0, 1, 16}, row[7] = {0, 0, 0, 0, 7, 0, 255};
    uint8_t file[256] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, packed[64], *end = file + 8;
    uLongf n = sizeof packed;
    cr_assert_eq(compress2(packed, &n, row, sizeof row, 9), Z_OK);
    end = add_chunk(end, "IHDR", head, sizeof head);
    end = add_chunk(end, "IDAT", packed, (uint32_t)n);
    end = add_chunk(end, "IEND", NULL, 0);
    decoded d = decode(file, (uint64_t)(end - file), 0);
    cr_assert_eq(d.status, CVR_OK, "%s", d.err.message);
    cr_expect(d.image.channels == 1 && d.image.data[0] == 0 && d.image.data[1] == 7 && d.image.data[2] == 255);
    free(d.memory);
}
