/*
 * The pth plugin: files that PyTorch wrote (tests/parity/pth_files.py) against what PyTorch has in memory, and files
 * that are damaged or made to do harm, each refused in one line that names the reason.
 */
#include "../support/test_host.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>

#define FOLDER CVR_GOLDEN_DIR "/pth/"

static test_host host;
static const cvr_weights_desc *format;
static test_tensors want;

static void load(void) {
    test_host_init(&host);
    test_host_load(&host, "weights_safetensors");
    test_tensors_read(&want, &host, FOLDER "expected.safetensors");
    test_host_load(&host, "weights_pth");
    format = test_host_find(&host, CVR_KIND_WEIGHTS, "pth");
}

static void unload(void) {
    test_tensors_free(&want);
}

TestSuite(pth, .init = load, .fini = unload);

typedef struct seen {
    const char *file;
    uint64_t n;
} seen;

/* Tensors are named after their types where they have several. */
static void check_type(const char *file, const cvr_weight *w) {
    static const struct {
        const char *name, *word;
        uint32_t dtype;
    } known[] = {{"f16", "F16", CVR_F16},
                 {"bf16", "BF16", CVR_BF16},
                 {"f64", "F64", CVR_FILE_F64},
                 {"i64", "I64", CVR_I64},
                 {"i32", "I32", CVR_I32},
                 {"i16", "I16", CVR_FILE_I16},
                 {"i8", "I8", CVR_I8},
                 {"u8", "U8", CVR_U8},
                 {"bool", "BOOL", CVR_FILE_BOOL},
                 {"bn.num_batches_tracked", "I64", CVR_I64},
                 {NULL, "F32", CVR_F32}};
    size_t i = 0;
    while (known[i].name && strcmp(known[i].name, w->name) != 0) i++;
    cr_expect(w->dtype == known[i].dtype && strcmp(w->source_dtype, known[i].word) == 0, "%s: '%s' is %s", file,
              w->name, w->source_dtype);
}

static int32_t compare(void *ctx, const cvr_weight *w, cvr_error *err) {
    seen *const s = ctx;
    const cvr_weight *const e = test_tensors_get(&want, s->file, w->name);
    (void)err;
    cr_assert(e, "%s: nobody expects tensor '%s'", s->file, w->name);
    check_type(s->file, w);
    cr_expect(w->rank == e->rank && memcmp(w->shape, e->shape, sizeof w->shape) == 0, "%s: shape of '%s'", s->file,
              w->name);
    cr_assert_eq(w->bytes, e->bytes, "%s: bytes of '%s'", s->file, w->name);
    cr_expect(w->bytes == 0 || memcmp(w->data, e->data, w->bytes) == 0, "%s: elements of '%s'", s->file, w->name);
    s->n++;
    return CVR_OK;
}

static int32_t count_one(void *ctx, const cvr_weight *w, cvr_error *err) {
    seen *const s = ctx;
    volatile uint8_t sum = 0;
    (void)err;
    for (uint64_t i = 0; i < w->bytes; i++) sum = (uint8_t)(sum + ((const uint8_t *)w->data)[i]);
    s->n++;
    return CVR_OK;
}

/* Reads from memory that ends where the file does, so that a step too far is seen by the address sanitizer. */
static int32_t read_exact(const uint8_t *bytes, uint64_t n, cvr_weight_fn each, seen *s, cvr_error *err) {
    uint8_t *const copy = malloc(n ? n : 1);
    if (n) memcpy(copy, bytes, n);
    s->n = 0;
    cvr_error_init(err);
    const int32_t status = format->read(&host.host, copy, n, each, s, err);
    free(copy);
    cr_assert_eq(host.live, 0, "memory was left behind");
    if (status != CVR_OK) {
        cr_expect(status == err->code && err->message[0] && !strchr(err->message, '\n'), "no line: '%s'", err->message);
        cr_expect(strlen(err->message) < sizeof err->message - 1, "a message that was cut");
    }
    return status;
}

/* "views_zip" of "views_zip.pth"; NULL for another file. */
static const char *stem(const char *name, char buf[256]) {
    const size_t n = strlen(name);
    if (n < 5 || n > 255 || strcmp(name + n - 4, ".pth") != 0) return NULL;
    memcpy(buf, name, n - 4);
    buf[n - 4] = '\0';
    return buf;
}

static uint64_t expected_of(const char *file) {
    uint64_t n = 0;
    const size_t length = strlen(file);
    for (uint64_t i = 0; i < want.n; i++)
        n += strncmp(want.w[i].name, file, length) == 0 && want.w[i].name[length] == '/';
    return n;
}

Test(pth, reads_what_pytorch_wrote) {
    DIR *const d = opendir(FOLDER);
    uint64_t files = 0, tensors = 0;
    cr_assert(d);
    for (struct dirent *e; (e = readdir(d));) {
        char buf[256], path[4096];
        uint64_t n = 0;
        cvr_error err;
        seen s = {.file = stem(e->d_name, buf)};
        if (!s.file || strncmp(s.file, "bad_", 4) == 0 || strcmp(s.file, "v3") == 0) continue;
        (void)snprintf(path, sizeof path, FOLDER "%s", e->d_name);
        uint8_t *const file = test_read_file(path, &n);
        cr_expect_eq(format->probe(file, n < 64 ? n : 64, n), 1, "%s", path);
        cr_expect_eq(read_exact(file, n, compare, &s, &err), CVR_OK, "%s: %s", path, err.message);
        cr_expect(s.n > 0 && s.n == expected_of(s.file), "%s: %llu tensors", path, (unsigned long long)s.n);
        free(file);
        files++;
        tensors += s.n;
    }
    (void)closedir(d);
    cr_expect(files == 17 && tensors == want.n, "%llu files, %llu tensors", (unsigned long long)files,
              (unsigned long long)tensors);
}

static int32_t check_v3(void *ctx, const cvr_weight *w, cvr_error *err) {
    static const uint8_t u16[4] = {1, 0, 255, 255}, f8[1] = {0x38};
    seen *const s = ctx;
    const int is_u16 = strcmp(w->name, "u16") == 0;
    (void)err;
    cr_expect(w->dtype == (is_u16 ? CVR_FILE_U16 : 0) && strcmp(w->source_dtype, is_u16 ? "U16" : "F8_E4M3") == 0);
    cr_assert_eq(w->bytes, is_u16 ? 4u : 1u);
    cr_expect(memcmp(w->data, is_u16 ? u16 : f8, w->bytes) == 0);
    s->n++;
    return CVR_OK;
}

Test(pth, reads_types_without_a_storage_of_their_own) {
    uint64_t n = 0;
    cvr_error err;
    seen s = {0};
    uint8_t *const file = test_read_file(FOLDER "v3.pth", &n);
    cr_expect_eq(read_exact(file, n, check_v3, &s, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(s.n, 2u);
    free(file);
}

static const struct {
    const char *file, *words;
} refused[] = {
    {"bad_big_endian_zip", "big-endian"},
    {"bad_compressed", "'archive/data.pkl' is compressed"},
    {"bad_torchscript", "TorchScript"},
    {"bad_no_pickle", "without data.pkl"},
    {"bad_no_storage", "no data/0"},
    {"bad_short_storage", "'archive/data/0' has not as many bytes"},
    {"bad_os_system_zip", "opcode GLOBAL: 'posix.system' is nothing that a state dict needs"},
    {"bad_os_system_old", "opcode GLOBAL: 'posix.system' is nothing that a state dict needs"},
    {"bad_eval", "'__builtin__.eval'"},
    {"bad_getattr", "'__builtin__.getattr'"},
    {"bad_stack_global", "opcode PROTO: pickle protocol 4"},
    {"bad_protocol4", "opcode PROTO: pickle protocol 4"},
    {"bad_inst", "opcode INST"},
    {"bad_call_of_storage", "opcode REDUCE"},
    {"bad_new_object", "opcode NEWOBJ"},
    {"bad_persistent_id", "opcode BINPERSID: a persistent id 'module'"},
    {"bad_persistent_text", "opcode BINPERSID: a persistent id that is no storage"},
    {"bad_big_endian_old", "big-endian"},
    {"bad_protocol_old", "another protocol"},
    {"bad_view_metadata", "a view of another"},
    {"bad_count_old", "storage '5' has not as many elements"},
    {"bad_unlisted", "storage '5' is not in the list"},
    {"bad_listed_twice", "storage '5' is in the list twice"},
    {"bad_unmentioned", "storage '6' is in the list, but no tensor has it"},
    {"bad_storage_types", "storage '5' is mentioned twice"},
    {"bad_plain_pickle", "not one of torch.save's"},
    {"bad_tar", "PyTorch 0.1"},
    {"bad_module", "'torchvision.models.resnet.ResNet'"},
    {"bad_list", "a list, not a dict of tensors"},
    {"bad_one_tensor", "one tensor, not a dict of tensors"},
    {"bad_two_networks", "its keys are: 'epoch', 'G', 'D'"},
    {"bad_integer_name", "whose name is no text"},
    {"bad_reaches_out", "reaches element 2 of a storage of 2"},
    {"bad_negative_stride", "whose stride is not made of whole numbers"},
    {"bad_huge_shape", "opcode REDUCE"},
    {"bad_huge_stride", "strides cannot be counted"},
    {"bad_expanded", "16 times the file"},
    {"bad_ranks", "1 dimensions with 0 strides"},
    {"bad_nine_dimensions", "more than 8 dimensions"},
    {"bad_twice", "tensor 'w' is there twice"},
    {"bad_name", "not UTF-8"},
    {"bad_numel", "'archive/data/0' has not as many bytes"},
    {"bad_memo", "place 4294967295 of the memo"},
    {"bad_unput", "nothing was put into place 0"},
    {"bad_deep", "nested more than 256 deep"},
};
#define N_REFUSED (sizeof refused / sizeof *refused)

static const char *words_of(const char *file) {
    for (size_t i = 0; i < N_REFUSED; i++) {
        if (strcmp(refused[i].file, file) == 0) return refused[i].words;
    }
    cr_assert_fail("nobody says what %s is refused for", file);
    return NULL;
}

Test(pth, refuses_by_name) {
    DIR *const d = opendir(FOLDER);
    size_t files = 0;
    cr_assert(d);
    for (struct dirent *e; (e = readdir(d));) {
        char buf[256], path[4096];
        uint64_t n = 0;
        cvr_error err;
        seen s = {.file = stem(e->d_name, buf)};
        if (!s.file || strncmp(s.file, "bad_", 4) != 0) continue;
        (void)snprintf(path, sizeof path, FOLDER "%s", e->d_name);
        uint8_t *const file = test_read_file(path, &n);
        host.most = 0;
        cr_expect_neq(read_exact(file, n, count_one, &s, &err), CVR_OK, "%s was read", path);
        cr_expect(strstr(err.message, words_of(s.file)), "%s: %s", path, err.message);
        cr_expect_eq(s.n, 0u, "%s: tensors were given before the file was checked", path);
        cr_expect_leq(host.most, (uint64_t)2 << 20, "%s: %llu bytes were asked for", path,
                      (unsigned long long)host.most);
        free(file);
        files++;
    }
    (void)closedir(d);
    cr_expect_eq(files, N_REFUSED);
}

/* Cut anywhere, a zip file lacks its directory. A legacy file's last storage ends with it. */
Test(pth, refuses_files_that_were_cut_short) {
    static const char *const files[] = {"dtypes0_zip", "views_old", "network_old", "checkpoint", "zip64"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[4096];
        uint64_t n = 0;
        cvr_error err;
        seen s = {0};
        (void)snprintf(path, sizeof path, FOLDER "%s.pth", files[f]);
        uint8_t *const file = test_read_file(path, &n);
        for (uint64_t k = 0; k < n; k++)
            cr_expect_neq(read_exact(file, k, count_one, &s, &err), CVR_OK, "%s, first %llu bytes", path,
                          (unsigned long long)k);
        free(file);
    }
}

static int32_t stop_at_second(void *ctx, const cvr_weight *w, cvr_error *err) {
    seen *const s = ctx;
    (void)w;
    return ++s->n == 2 ? cvr_fail(err, CVR_ERR_INVALID, "enough") : CVR_OK;
}

Test(pth, stops_where_it_is_told_to) {
    uint64_t n = 0;
    cvr_error err;
    seen s = {0};
    uint8_t *const file = test_read_file(FOLDER "views_zip.pth", &n);
    cr_expect_eq(read_exact(file, n, stop_at_second, &s, &err), CVR_ERR_INVALID);
    cr_expect_eq(s.n, 2u);
    cr_expect_str_eq(err.message, "enough");
    free(file);
}

/* `n` copies of one byte in an otherwise right legacy file. */
static int32_t read_repeated(uint8_t byte, uint64_t n, cvr_error *err) {
    uint64_t size = 0;
    seen s = {0};
    uint8_t *const like = test_read_file(FOLDER "python2.pth", &size);
    uint8_t *file = NULL;
    uint64_t head = 0;
    for (uint64_t i = 0; head == 0; i++) {
        cr_assert(i + 13 < size);
        if (memcmp(like + i,
                   "\x80\x02"
                   "ccollection",
                   13) == 0)
            head = i + 2;
    }
    file = malloc(head + n);
    memcpy(file, like, head);
    memset(file + head, byte, n);
    const int32_t status = read_exact(file, head + n, count_one, &s, err);
    free(like);
    free(file);
    return status;
}

Test(pth, memory_follows_the_size_of_the_file) {
    static const uint8_t bytes[] = {'}', ']', ')', 'N', '(', 0x85};
    cvr_error err;
    for (size_t i = 0; i < sizeof bytes; i++) {
        const uint64_t n = 4000000;
        host.most = 0;
        cr_expect_neq(read_repeated(bytes[i], n, &err), CVR_OK);
        cr_expect_leq(host.most, n * 8, "opcode 0x%02x: a block of %llu bytes", bytes[i],
                      (unsigned long long)host.most);
    }
}

Test(pth, probes_and_does_not_write) {
    static const uint8_t zip[4] = {'P', 'K', 3, 4}, text[4] = {'t', 'e', 'x', 't'}, pickle[2] = {0x80, 2};
    static const uint8_t header[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    cvr_error err;
    cvr_error_init(&err);
    cr_expect(format->probe(zip, 4, 100) && format->probe(pickle, 2, 100));
    cr_expect(!format->probe(zip, 3, 3) && !format->probe(text, 4, 4) && !format->probe(header, 10, 10));
    cr_expect_eq(format->write(&host.host, NULL, 0, NULL, 0, test_bytes_sink, NULL, &err), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(err.message, "only read"));
}
