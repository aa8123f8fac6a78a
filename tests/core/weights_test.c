/* Files of weights: numbers of every type cast, all of f16; and the rules by which a file may differ from a network. */
#include "../apps/session/session_parts.h"
#include "support/small_net.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

Test(cast, all_of_f16) {
    for (uint32_t bits = 0; bits < 65536; bits++) {
        const uint16_t h = (uint16_t)bits;
        float have;
        cr_assert(weights_cast(CVR_F32, &have, CVR_F16, &h, 1));
        const int exponent = h >> 10 & 31;
        const double fraction = (h & 1023) / 1024.0, sign = h >> 15 ? -1 : 1;
        const double want = exponent == 31  ? (h & 1023 ? (double)NAN : sign * (double)INFINITY)
                            : exponent == 0 ? sign * fraction * 0x1p-14
                                            : sign * (1 + fraction) * pow(2, exponent - 15);
        cr_assert(isnan(want) ? isnan(have) : (double)have == want && signbit(have) == signbit((float)want),
                  "%04x is %g, not %g", bits, (double)have, want);
    }
}

#define CHECK(to_dtype, to_type, from_dtype, from_type, from_value, want)                                              \
    do {                                                                                                               \
        const from_type in = (from_type)(from_value);                                                                  \
        char unaligned[1 + sizeof in];                                                                                 \
        to_type out = 0;                                                                                               \
        memcpy(unaligned + 1, &in, sizeof in);                                                                         \
        cr_expect(weights_cast(to_dtype, &out, from_dtype, unaligned + 1, 1));                                         \
        cr_expect(out == (to_type)(want), "from type %u: %g", (unsigned)(from_dtype), (double)out);                    \
    } while (0)

Test(cast, every_type) {
    CHECK(CVR_F32, float, CVR_FILE_F64, double, 1.0 / 3, (float)(1.0 / 3));
    CHECK(CVR_F32, float, CVR_FILE_F64, double, 1e300, INFINITY);
    CHECK(CVR_F32, float, CVR_BF16, uint16_t, 0x3f80, 1);
    CHECK(CVR_F32, float, CVR_I64, int64_t, 16777217, 16777216);
    CHECK(CVR_F32, float, CVR_I32, int32_t, -7, -7);
    CHECK(CVR_F32, float, CVR_I8, int8_t, -7, -7);
    CHECK(CVR_F32, float, CVR_U8, uint8_t, 200, 200);
    CHECK(CVR_F32, float, CVR_FILE_BOOL, uint8_t, 1, 1);
    CHECK(CVR_F32, float, CVR_FILE_I16, int16_t, -300, -300);
    CHECK(CVR_F32, float, CVR_FILE_U16, uint16_t, 60000, 60000);
    CHECK(CVR_F32, float, CVR_FILE_U32, uint32_t, 4000000000u, 4e9f);
    CHECK(CVR_I64, int64_t, CVR_FILE_U64, uint64_t, 5, 5);
    CHECK(CVR_I64, int64_t, CVR_I32, int32_t, -5, -5);
    CHECK(CVR_I64, int64_t, CVR_F32, float, -5.75f, -5);
    CHECK(CVR_I64, int64_t, CVR_F32, float, 1e30f, 0);
    CHECK(CVR_I64, int64_t, CVR_FILE_F64, double, NAN, 0);
    cr_expect(!weights_cast(CVR_F32, NULL, 0, NULL, 0));
    cr_expect(!weights_cast(CVR_BF16, NULL, CVR_F32, NULL, 0));
}

/* ---- shapes ---- */

/* torch.nn.functional.interpolate(mode=bicubic, align_corners=True) of the grid; tokens in front stay. */
Test(adapt, positions_as_torch) {
    static const float in[2 + 9] = {50, 60, 1, -2, 3, 0.5f, 4, 2, -1, 0, 7};
    static const float large[25] = {
        1,    -0.96875f, -2, 0.21875f,  3, 0.890625f,  1.0712890625f, 1.375f,  1.74853515625f, 2.03125f,
        0.5f, 2.4375f,   4,  3.328125f, 2, -0.296875f, 0.9599609375f, 2.5625f, 3.75244140625f, 4.40625f,
        -1,   -1.15625f, 0,  3.59375f,  7};
    static const float small[4] = {1, 3, -1, 7};
    for (int64_t tokens = 0; tokens < 3; tokens++) {
        for (int64_t side = 2; side <= 5; side += 3) {
            const int64_t from[3] = {1, tokens + 9, 1}, to[3] = {1, tokens + side * side, 1};
            float out[2 + 25];
            cvr_type t;
            cvr_type_set(&t, CVR_F32, 3, to);
            cr_assert(weights_adapt(&t, out, 3, from, in + 2 - tokens));
            cr_assert_eq(memcmp(out, in + 2 - tokens, (size_t)tokens * sizeof *out), 0);
            for (int64_t i = 0; i < side * side; i++)
                cr_expect_float_eq(out[tokens + i], (side == 5 ? large : small)[i], 1e-6);
        }
    }
}

/* Three channels become one by their sum; others take turns and keep the sum's size. Nothing else is changed. */
Test(adapt, channels) {
    static const int64_t from[4] = {2, 3, 1, 1};
    static const float in[6] = {1, 2, 4, -1, 0.5f, 8};
    cvr_type t;
    float out[10];
    cvr_type_set(&t, CVR_F32, 4, (const int64_t[]){2, 1, 1, 1});
    cr_assert(weights_adapt(&t, out, 4, from, in));
    cr_expect(out[0] == 7 && out[1] == 7.5f);
    cvr_type_set(&t, CVR_F32, 4, (const int64_t[]){2, 5, 1, 1});
    cr_assert(weights_adapt(&t, out, 4, from, in));
    for (int i = 0; i < 10; i++) cr_expect_float_eq(out[i], in[i / 5 * 3 + i % 5 % 3] * 0.6f, 1e-6);
    static const struct {
        uint32_t rank;
        int64_t to[4], from[4];
    } others[] = {{4, {2, 1, 3, 3}, {2, 3, 1, 1}}, {4, {3, 1, 1, 1}, {2, 3, 1, 1}},
                  {4, {2, 5, 1, 1}, {2, 4, 1, 1}}, {3, {1, 5, 2}, {1, 10, 3}},
                  {3, {1, 7, 2}, {1, 10, 2}},      {3, {2, 5, 2}, {2, 10, 2}},
                  {3, {1, 0, 2}, {1, 10, 2}},      {2, {1, 5}, {1, 10}}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        cvr_type_set(&t, CVR_F32, others[i].rank, others[i].to);
        cr_expect(!weights_adapt(&t, NULL, others[i].rank, others[i].from, NULL), "case %zu", i);
    }
}

/* ---- rules ---- */

#define HEAD (5 * 8 * 8 * 8)
#define BODY (8 * 8 * 9)

static const cvr_param_rules stages = {.stages = net_stages, .n_stages = 3};
static const net_spec eval = {.parts = NET_BATCH_NORM, .batch = 2};

static void net_with(small_net *n, net_unit *u, uint64_t seed) {
    net_open(n, "cpu", NULL);
    cvr_store_destroy(&n->store);
    net_good(n, cvr_store_create(&n->store, seed, &n->err));
    net_good(n, cvr_store_rules(n->store, &stages, &n->err));
    net_build(n, u, &eval);
    net_bind(n, u);
}

/* How a written file differs from the network. */
typedef struct variant {
    const char *prefix, *without, *extra; /* in front of names; a name that is left out; one more tensor */
    int64_t classes;                      /* of the head; 0: as the network has it */
    bool f16;
} variant;

static int32_t to_file(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    return fwrite(bytes, 1, n, ctx) == n ? CVR_OK : cvr_fail(err, CVR_ERR_IO, "cannot write");
}

static void set_weight(cvr_weight *w, const char *name, const cvr_type *t, const variant *v, void *data) {
    *w = (cvr_weight){.struct_size = sizeof *w, .name = name, .dtype = t->dtype, .rank = t->rank, .data = data};
    for (uint32_t k = 0; k < t->rank; k++) w->shape[k] = t->shape[k];
    if (v->classes && strncmp(name + strlen(v->prefix), "fc.", 3) == 0) w->shape[0] = v->classes;
    if (v->f16 && w->dtype == CVR_F32) w->dtype = CVR_F16;
    w->bytes = (uint64_t)cvr_numel(w->rank, w->shape) * cvr_dtype_size(w->dtype);
}

/* A file of ones (f32), or of f16 ones. */
static void write_file(const char *path, const variant *v) {
    static float ones[8 * HEAD];
    static char names[64][128];
    cvr_weight weights[64];
    const cvr_weight *pointers[64];
    uint64_t count = 0;
    const void *desc;
    small_net n;
    net_unit u;
    net_with(&n, &u, 1);
    uint16_t *halves = (uint16_t *)(void *)ones;
    for (size_t i = 0; i < 8 * HEAD; i++) ones[i] = 1;
    for (size_t i = 0; v->f16 && i < 16 * HEAD; i++) halves[i] = 0x3c00;
    for (size_t i = 0; i < cvr_store_count(n.store); i++) {
        static int64_t counter = 1;
        const cvr_store_entry *e = cvr_store_get(n.store, i);
        if (v->without && strcmp(e->name, v->without) == 0) continue;
        (void)snprintf(names[count], sizeof names[count], "%s%s", v->prefix, e->name);
        set_weight(&weights[count], names[count], &e->type, v, e->type.dtype == CVR_F32 ? (void *)ones : &counter);
        pointers[count] = &weights[count];
        count++;
    }
    if (v->extra) {
        weights[count] =
            (cvr_weight){.struct_size = sizeof *weights, .name = v->extra, .dtype = CVR_F32, .data = ones, .bytes = 4};
        pointers[count] = &weights[count];
        count++;
    }
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    net_good(&n, cvr_plugins_find(n.plugins, CVR_KIND_WEIGHTS, "safetensors", &desc, &n.err));
    net_good(&n, ((const cvr_weights_desc *)desc)
                     ->write(cvr_plugins_host(n.plugins), pointers, count, NULL, 0, to_file, f, &n.err));
    fclose(f);
    net_drop(&n, &u);
    net_close(&n);
}

/* Loads a variant into a fresh network: the status; whether body and head are the file's then (else as they were). */
static int32_t load(const variant *v, const weights_rules *rules, bool is_file[2], char *message, size_t size) {
    static float before[2][HEAD], after[2][HEAD];
    static const char *const names[2] = {"c2.weight", "fc.weight"};
    static const size_t counts[2] = {BODY, HEAD};
    char path[] = "/tmp/cvr-weights-XXXXXX";
    small_net n;
    net_unit u;
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    write_file(path, v);
    net_with(&n, &u, 2);
    for (int i = 0; i < 2; i++) net_read(&n, names[i], before[i], counts[i]);
    const int32_t status = weights_load(n.plugins, n.store, rules, path, &n.err);
    for (int i = 0; i < 2; i++) {
        net_read(&n, names[i], after[i], counts[i]);
        const bool kept = memcmp(before[i], after[i], counts[i] * sizeof(float)) == 0;
        is_file[i] = true;
        for (size_t k = 0; k < counts[i]; k++) is_file[i] = is_file[i] && (after[i][k] > 1 ? 0 : after[i][k] >= 1);
        cr_expect(kept != is_file[i], "%s is neither the file's nor as it was", names[i]);
    }
    (void)snprintf(message, size, "%s", n.err.message);
    unlink(path);
    net_drop(&n, &u);
    net_close(&n);
    return status;
}

Test(rules, of_loading) {
    static const struct {
        variant v;
        uint32_t head;
        bool subset;
        int32_t status;
        bool body, fc;
        const char *message;
    } cases[] = {
        {{"", NULL, NULL, 0, false}, WEIGHTS_HEAD_KEEP, false, CVR_OK, true, true, ""},
        {{"", NULL, NULL, 0, true}, WEIGHTS_HEAD_KEEP, false, CVR_OK, true, true, ""},
        {{"module.", NULL, NULL, 0, false}, WEIGHTS_HEAD_KEEP, false, CVR_OK, true, true, ""},
        {{"state_dict.model.", NULL, NULL, 0, true}, WEIGHTS_HEAD_AUTO, false, CVR_OK, true, true, ""},
        {{"", "b1.num_batches_tracked", NULL, 0, false}, WEIGHTS_HEAD_KEEP, false, CVR_OK, true, true, ""},
        {{"", "b1.running_mean", NULL, 0, false},
         WEIGHTS_HEAD_KEEP,
         false,
         CVR_ERR_FORMAT,
         false,
         false,
         "missing: b1.running_mean"},
        {{"", NULL, "fc.scale", 0, false},
         WEIGHTS_HEAD_KEEP,
         false,
         CVR_ERR_FORMAT,
         false,
         false,
         "unexpected: fc.scale"},
        {{"", NULL, "fc.num_batches_tracked", 0, false}, /* fc is no norm */
         WEIGHTS_HEAD_KEEP,
         false,
         CVR_ERR_FORMAT,
         false,
         false,
         "unexpected: fc.num_batches_tracked"},
        {{"", "c1.weight", "fc.scale", 0, false}, WEIGHTS_HEAD_KEEP, true, CVR_OK, true, true, ""},
        {{"", NULL, NULL, 7, false},
         WEIGHTS_HEAD_KEEP,
         false,
         CVR_ERR_FORMAT,
         false,
         false,
         "misshapen: the file has F32(7, 512), the network f32(5, 512): fc.weight"},
        {{"", NULL, NULL, 7, false}, WEIGHTS_HEAD_KEEP, true, CVR_ERR_FORMAT, false, false, "misshapen"},
        {{"", NULL, NULL, 7, false}, WEIGHTS_HEAD_AUTO, false, CVR_OK, true, false, ""},
        {{"model.", NULL, NULL, 7, true}, WEIGHTS_HEAD_AUTO, false, CVR_OK, true, false, ""},
        {{"", NULL, NULL, 0, false}, WEIGHTS_HEAD_NEW, false, CVR_OK, true, false, ""},
        {{"", "fc.weight", NULL, 0, false}, WEIGHTS_HEAD_NEW, false, CVR_OK, true, false, ""},
        {{"", "fc.weight", NULL, 0, false},
         WEIGHTS_HEAD_AUTO,
         false,
         CVR_ERR_FORMAT,
         false,
         false,
         "missing: fc.weight"},
        {{"", NULL, "fc.weight_orig", 0, false},
         WEIGHTS_HEAD_AUTO,
         false,
         CVR_ERR_FORMAT,
         false,
         false,
         "twice in the file, under another name too: fc.weight_orig"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const weights_rules rules = {.network = "", .head = cases[i].head, .subset = cases[i].subset};
        bool is_file[2];
        char message[1024];
        const int32_t status = load(&cases[i].v, &rules, is_file, message, sizeof message);
        cr_expect_eq(status, cases[i].status, "case %zu: %s", i, message);
        cr_expect(strstr(message, cases[i].message), "case %zu: %s", i, message);
        cr_expect(is_file[0] == cases[i].body && is_file[1] == cases[i].fc, "case %zu: body %d, head %d", i, is_file[0],
                  is_file[1]);
    }
}

Test(rules, of_paths) {
    small_net n;
    net_unit u;
    const weights_rules rules = {.network = "", .head = WEIGHTS_HEAD_KEEP};
    net_with(&n, &u, 1);
    cr_expect_eq(weights_save(n.plugins, n.store, "/tmp/weights.doc", &n.err), CVR_ERR_FORMAT);
    cr_expect(strstr(n.err.message, "safetensors"), "%s", n.err.message);
    cr_expect_eq(weights_load(n.plugins, n.store, &rules, CVR_TEST_DIR "/CMakeLists.txt", &n.err), CVR_ERR_FORMAT);
    cr_expect(strstr(n.err.file, "CMakeLists.txt"), "%s", n.err.file);
    net_drop(&n, &u);
    net_close(&n);
}
