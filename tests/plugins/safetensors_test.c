/*
 * The safetensors plugin: files of the Python package, its own bytes (tests/parity/safetensors_files.py), and files
 * that are damaged or made to do harm.
 */
#include "../support/test_host.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static test_host host;
static const cvr_weights_desc *format;

static void load(void) {
    test_host_init(&host);
    test_host_load(&host, "weights_safetensors");
    format = test_host_find(&host, CVR_KIND_WEIGHTS, "safetensors");
}

TestSuite(safetensors, .init = load);

static int32_t count_one(void *ctx, const cvr_weight *w, cvr_error *err) {
    (void)w;
    (void)err;
    ++*(int *)ctx;
    return CVR_OK;
}

/* Reads from memory that ends where the file does, so that a step too far is seen by the address sanitizer. */
static int32_t read_exact(const uint8_t *bytes, uint64_t n, int *tensors, cvr_error *err) {
    uint8_t *const copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    *tensors = 0;
    cvr_error_init(err);
    const int32_t status = format->read(&host.host, copy, n, count_one, tensors, err);
    free(copy);
    cr_assert_eq(host.live, 0, "memory was left behind");
    return status;
}

/* A file with this header, padded by nothing, and `data` zero bytes. */
static int32_t read_header(const char *header, uint64_t data, int *tensors, cvr_error *err) {
    const uint64_t n = strlen(header);
    uint8_t *const file = calloc(1, 8 + n + data);
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)(n >> 8 * i);
    memcpy(file + 8, header, n);
    const int32_t status = read_exact(file, 8 + n + data, tensors, err);
    free(file);
    return status;
}

static const cvr_weight *named(const test_tensors *t, const char *name) {
    for (uint64_t i = 0; i < t->n; i++) {
        if (strcmp(t->w[i].name, name) == 0) return &t->w[i];
    }
    cr_assert_fail("no tensor '%s'", name);
    return NULL;
}

Test(safetensors, reads_what_python_writes) {
    test_tensors t;
    test_tensors_read(&t, &host, CVR_GOLDEN_DIR "/python.safetensors");
    cr_expect_eq(t.n, 11);
    const cvr_weight *w = named(&t, "f32");
    float f[6];
    cr_assert(w->dtype == CVR_F32 && w->rank == 2 && w->shape[0] == 2 && w->shape[1] == 3 && w->bytes == sizeof f);
    memcpy(f, w->data, sizeof f);
    cr_expect(f[0] == 1.5f && f[1] == -2.25f && f[2] == 3e38f && f[5] == 1e-40f);
    int64_t big = 0;
    w = named(&t, "i64");
    cr_assert(w->dtype == CVR_I64 && w->rank == 0 && w->shape[0] == 1 && w->bytes == 8);
    memcpy(&big, w->data, 8);
    cr_expect_eq(big, (int64_t)1 << 62);
    cr_expect_eq(named(&t, "f16")->dtype, CVR_F16);
    cr_expect_eq(named(&t, "bf16")->dtype, CVR_BF16);
    cr_expect_eq(named(&t, "u8")->dtype, CVR_U8);
    cr_expect_eq(named(&t, "i8")->dtype, CVR_I8);
    cr_expect_eq(named(&t, "i32")->dtype, CVR_I32);
    cr_expect_eq(named(&t, "f64")->dtype, CVR_FILE_F64);
    cr_expect_eq(named(&t, "bool")->dtype, CVR_FILE_BOOL);
    cr_expect_eq(named(&t, "empty")->bytes, 0u);
    cr_expect_eq(named(&t, "name \"quoted\" \\ \u00e9 \U0001f600")->bytes, 4u);
    test_tensors_free(&t);
}

static const int64_t seven = 7;
static const uint8_t mask[3] = {1, 2, 3};
static const uint16_t half[2] = {0x3c00, 0xc000}, brain[1] = {0x3f80};
static const float four[4] = {1, 2, 3, 4};

/* In an order that is neither that of the header nor that of the data. */
static const cvr_weight samples[6] = {
    {sizeof(cvr_weight), "e.empty", CVR_F32, 2, {0, 5}, four, 0, NULL},
    {sizeof(cvr_weight), "c.weight", CVR_F32, 4, {2, 1, 1, 2}, four, 16, NULL},
    {sizeof(cvr_weight), "b.mask", CVR_U8, 1, {3}, mask, 3, NULL},
    {sizeof(cvr_weight), "d \"\u00e9\"\n", CVR_BF16, 1, {1}, brain, 2, NULL},
    {sizeof(cvr_weight), "a.num_batches_tracked", CVR_I64, 0, {1}, &seven, 8, NULL},
    {sizeof(cvr_weight), "c.half", CVR_F16, 1, {2}, half, 4, NULL},
};
static const char *const metadata[] = {"format", "pt", "a", "1"};

static int32_t write_samples(const int *order, test_bytes *out, cvr_error *err) {
    const cvr_weight *list[6];
    for (int i = 0; i < 6; i++) list[i] = &samples[order[i]];
    cvr_error_init(err);
    return format->write(&host.host, list, 6, metadata, 2, test_bytes_sink, out, err);
}

Test(safetensors, writes_the_same_bytes_whatever_the_order) {
    static const int orders[3][6] = {{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {2, 0, 5, 1, 4, 3}};
    uint64_t n = 0;
    uint8_t *const want = test_read_file(CVR_GOLDEN_DIR "/cvrun.safetensors", &n);
    for (int i = 0; i < 3; i++) {
        test_bytes got = {NULL, 0};
        cvr_error err;
        cr_assert_eq(write_samples(orders[i], &got, &err), CVR_OK, "%s", err.message);
        cr_expect(got.n == n && memcmp(got.bytes, want, n) == 0, "order %d gave other bytes", i);
        test_bytes_free(&got);
    }
    cr_expect_eq(host.live, 0);
    free(want);
}

Test(safetensors, reads_back_what_it_wrote) {
    uint64_t n = 0;
    int tensors = 0;
    cvr_error err;
    uint8_t *const file = test_read_file(CVR_GOLDEN_DIR "/cvrun.safetensors", &n);
    cr_expect_eq(read_exact(file, n, &tensors, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(tensors, 6);
    cr_expect_eq(format->probe(file, 64, n), 1);
    free(file);
}

static int32_t full_disk(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    (void)ctx;
    (void)bytes;
    (void)n;
    return cvr_fail(err, CVR_ERR_IO, "disk full");
}

Test(safetensors, writer_refuses_what_the_format_cannot_hold) {
    const cvr_weight a = samples[2];
    cvr_weight b = samples[2];
    const cvr_weight *const twice[] = {&a, &a}, *const one[] = {&b};
    const char *const same[] = {"k", "1", "k", "2"};
    test_bytes out = {NULL, 0};
    cvr_error err;
    cvr_error_init(&err);
    cr_expect_eq(format->write(&host.host, twice, 2, NULL, 0, test_bytes_sink, &out, &err), CVR_ERR_INVALID);
    cr_expect(strstr(err.message, "b.mask"));
    b.bytes = 4;
    cr_expect_eq(format->write(&host.host, one, 1, NULL, 0, test_bytes_sink, &out, &err), CVR_ERR_INVALID);
    b = a;
    b.name = "__metadata__";
    cr_expect_eq(format->write(&host.host, one, 1, NULL, 0, test_bytes_sink, &out, &err), CVR_ERR_INVALID);
    b.name = "\xff";
    cr_expect_eq(format->write(&host.host, one, 1, NULL, 0, test_bytes_sink, &out, &err), CVR_ERR_INVALID);
    b = a;
    cr_expect_eq(format->write(&host.host, one, 1, same, 2, test_bytes_sink, &out, &err), CVR_ERR_INVALID);
    cr_expect_eq(format->write(&host.host, one, 1, NULL, 0, full_disk, NULL, &err), CVR_ERR_IO);
    cr_expect_str_eq(err.message, "disk full");
    cr_expect_eq(host.live, 0);
    test_bytes_free(&out);
}

Test(safetensors, every_truncation_is_an_error) {
    static const char *const files[] = {"/python.safetensors", "/cvrun.safetensors"};
    for (int f = 0; f < 2; f++) {
        char path[4096];
        uint64_t n = 0;
        (void)snprintf(path, sizeof path, "%s%s", CVR_GOLDEN_DIR, files[f]);
        uint8_t *const file = test_read_file(path, &n);
        for (uint64_t cut = 0; cut < n; cut++) {
            int tensors = 0;
            cvr_error err;
            cr_assert_eq(read_exact(file, cut, &tensors, &err), CVR_ERR_FORMAT, "%s cut at %llu was taken", files[f],
                         (unsigned long long)cut);
            cr_assert_eq(tensors, 0, "a tensor was given before the file was checked");
            cr_assert(err.message[0]);
        }
        free(file);
    }
}

Test(safetensors, flipped_bytes_do_no_harm) {
    uint64_t n = 0;
    uint8_t *const file = test_read_file(CVR_GOLDEN_DIR "/python.safetensors", &n);
    uint8_t *const bad = malloc(n);
    cvr_rng rng;
    int refused = 0;
    cvr_rng_start(&rng, 11, 0);
    for (int i = 0; i < 20000; i++) {
        int tensors = 0;
        cvr_error err;
        memcpy(bad, file, n);
        for (uint64_t k = 1 + cvr_rng_below(&rng, 4); k > 0; k--) {
            bad[cvr_rng_below(&rng, n)] = (uint8_t)cvr_rng_u32(&rng);
        }
        const int32_t status = read_exact(bad, n, &tensors, &err);
        cr_assert(status == CVR_OK || status == CVR_ERR_FORMAT, "status %d", status);
        refused += status != CVR_OK;
    }
    cr_expect_gt(refused, 10000);
    free(bad);
    free(file);
}

#define T(shape, begin, end) "{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

static const struct {
    const char *header;
    uint64_t data;
    const char *says;
} hostile[] = {
    {"{\"x\":" T("2", "0", "8") "}", 7, "cut short"},
    {"{\"x\":" T("2", "0", "8") "}", 9, "belong to none"},
    {"{\"x\":" T("2", "0", "8") ",\"y\":" T("1", "4", "8") "}", 8, "overlapping"},
    {"{\"x\":" T("1", "0", "4") ",\"y\":" T("1", "8", "12") "}", 12, "hole"},
    {"{\"x\":" T("1", "4", "8") "}", 8, "hole"},
    {"{\"x\":" T("2", "0", "4") "}", 4, "need 8 bytes"},
    {"{\"x\":" T("2", "8", "0") "}", 8, "end before they begin"},
    {"{\"x\":" T("9223372036854775807,9223372036854775807", "0", "4") "}", 4, "can be counted"},
    {"{\"x\":" T("4611686018427387904,4", "0", "0") "}", 0, "can be counted"},
    {"{\"x\":" T("9223372036854775808", "0", "4") "}", 4, "too large"},
    {"{\"x\":" T("1,1,1,1,1,1,1,1,1", "0", "4") "}", 4, "more than 8"},
    {"{\"x\":" T("1", "0", "4") ",\"x\":" T("1", "4", "8") "}", 8, "'x' is there twice"},
    {"{\"x\":" T("1", "0", "4") ",\"\\u0078\":" T("1", "4", "8") "}", 8, "'x' is there twice"},
    {"{\"x\":" T("-1", "0", "4") "}", 4, "whole number"},
    {"{\"x\":" T("1.0", "0", "4") "}", 4, "whole number"},
    {"{\"x\":" T("1e0", "0", "4") "}", 4, "whole number"},
    {"{\"x\":" T("01", "0", "4") "}", 4, "leading zero"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "missing"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "twice"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"z\":1}}", 4, "other than"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "']' expected"},
    {"{\"x\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'\"' expected"},
    {"{\"x\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, "bytes"},
    {"{\"x\":" T("1", "0", "4") "} x", 4, "after the closing"},
    {"{\"x\":" T("1", "0", "4") ",}", 4, "expected"},
    {"{\"x\":" T("1", "0", "4"), 4, "too early"},
    {"{\"x", 0, "within a string"},
    {"{\"x\\q\":" T("1", "0", "4") "}", 4, "unknown escape"},
    {"{\"\\ud800\":" T("1", "0", "4") "}", 4, "surrogate"},
    {"{\"\\udc00\":" T("1", "0", "4") "}", 4, "\\u escape"},
    {"{\"a\\u0000b\":" T("1", "0", "4") "}", 4, "NUL"},
    {"{\"\xc0\x80\":" T("1", "0", "4") "}", 4, "may not stand"},
    {"{\"a\nb\":" T("1", "0", "4") "}", 4, "may not stand"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "'\"' expected"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "'a' is there twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice"},
    {"[[[[[[[[[[[[", 0, "'{'"},
    {"{\"x\":[[[[[[[[", 0, "'{' expected"},
};

Test(safetensors, hostile_headers_are_refused_with_a_reason) {
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        int tensors = 0;
        cvr_error err;
        cr_expect_eq(read_header(hostile[i].header, hostile[i].data, &tensors, &err), CVR_ERR_FORMAT, "%s was taken",
                     hostile[i].header);
        cr_expect(strstr(err.message, hostile[i].says), "%s: '%s'", hostile[i].header, err.message);
        cr_expect_eq(tensors, 0);
    }
}

Test(safetensors, takes_what_the_format_allows) {
    static const struct {
        const char *header;
        uint64_t data;
        int tensors;
    } fine[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{ \"x\" : " T(" 1 ", "0", "4") " , \"__metadata__\" : { } }", 4, 1},
        {"{\"b\":" T("1", "4", "8") ",\"a\":" T("1", "0", "4") "}", 8, 2},
        {"{\"a\":" T("0", "0", "0") ",\"b\":" T("1", "0", "4") ",\"c\":" T("0,7", "4", "4") "}", 4, 3},
        {"{\"x\":{\"dtype\":\"F8_E9\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3, 1},
        {"{\"x\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2, 1},
        {"{\"\\ud83d\\ude00\":" T("", "0", "4") "}", 4, 1},
    };
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        int tensors = 0;
        cvr_error err;
        cr_expect_eq(read_header(fine[i].header, fine[i].data, &tensors, &err), CVR_OK, "%s: %s", fine[i].header,
                     err.message);
        cr_expect_eq(tensors, fine[i].tensors);
    }
}

Test(safetensors, header_length_is_bounded) {
    uint8_t file[16] = {0, 0xe1, 0xf5, 5, 0, 0, 0, 0, '{'};
    int tensors = 0;
    cvr_error err;
    cr_expect_eq(read_exact(file, sizeof file, &tensors, &err), CVR_ERR_FORMAT);
    cr_expect(strstr(err.message, "cut short"), "exactly the limit of 100 MB is a matter of the file's size: %s",
              err.message);
    file[0] = 1;
    cr_expect_eq(read_exact(file, sizeof file, &tensors, &err), CVR_ERR_FORMAT);
    cr_expect(strstr(err.message, "limit"), "%s", err.message);
    memset(file, 0xff, 8);
    cr_expect_eq(read_exact(file, sizeof file, &tensors, &err), CVR_ERR_FORMAT);
    cr_expect_lt(host.most, 4096u, "memory was asked for before the length was checked");
}
