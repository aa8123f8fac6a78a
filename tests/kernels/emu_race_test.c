/*
 * Device kernels on `emu` in every order of threads and size of subgroups: the same bits. And that a race would be
 * seen: each barrier of each kernel here is left out in turn, which must change bits or be refused in some order. What
 * is computed stands in emu_op_cases.c and emu_detect_cases.c, of which each makes a test.
 */
#include "device/ops/device_ops.h"
#include "emu/emu_record.h"
#include "emu_case.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define MOST_OPS 256u

/* ---- what `emu` registers ---- */

static cvr_kernel_desc kernels[MOST_OPS];
static size_t n_kernels;

static int32_t take_kernel(const cvr_registrar *r, const char *kind, const void *desc, cvr_error *err) {
    (void)r, (void)err;
    cr_assert_str_eq(kind, CVR_KIND_KERNEL);
    cr_assert_lt(n_kernels, MOST_OPS);
    kernels[n_kernels++] = *(const cvr_kernel_desc *)desc;
    return CVR_OK;
}

static const cvr_kernel_desc *kernel_of(const char *op) {
    const cvr_registrar r = {.struct_size = sizeof r, .add = take_kernel};
    cvr_error err = CVR_ERROR_INIT;
    if (!n_kernels) cr_assert_eq(device_add_kernels(&r, "emu", CVR_PAYLOAD_EMU_FN, &err), CVR_OK);
    for (size_t i = 0; i < n_kernels; i++)
        if (strcmp(kernels[i].op, op) == 0) return &kernels[i];
    cr_assert_fail("no kernel for %s", op);
    return NULL;
}

/* ---- a host ---- */

static void *take_memory(const cvr_host *host, uint64_t bytes, uint64_t align) {
    (void)host;
    return aligned_alloc(align, (bytes + align - 1) / align * align);
}

static void give_memory(const cvr_host *host, void *p) {
    (void)host;
    free(p);
}

static const cvr_host host = {.struct_size = sizeof host, .alloc = take_memory, .free = give_memory};

/* ---- one case, recorded ---- */

typedef struct recorded {
    cvr_tensor tensors[2 * EMU_CASE_TENSORS];
    const cvr_tensor *in[EMU_CASE_TENSORS];
    cvr_tensor *out[EMU_CASE_TENSORS];
    void *workspace;
    uint64_t workspace_bytes;
    emu_list list;
    emu_group *group;
    uint32_t n_in, n_out;
} recorded;

static size_t bytes_of(const cvr_tensor *t) {
    return (size_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
}

/* From 0 to before 1. */
static float next_number(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) * (1.0f / 16777216.0f);
}

/* The far corner of a box is as far again from the near one, and a pixel. */
static void fill_boxes(const cvr_tensor *t, const emu_tensor *s, uint32_t seed) {
    float *box = t->data;
    const size_t n = bytes_of(t) / sizeof *box;
    for (size_t i = 0; i < n; i++) {
        const float far = s->kind == EMU_CASE_FAR_BOXES && 2 * i >= n ? 10 : 1, x = far * s->high * next_number(&seed);
        box[i] = i % 4 > 1 ? box[i - 2] + 0.3f * x + 1 : x;
    }
}

static void fill_tensor(const cvr_tensor *t, const emu_tensor *s, uint32_t seed) {
    const bool plain = s->low == 0 && s->high == 0;
    const float low = plain ? -1 : s->low, high = plain ? 1 : s->high;
    for (size_t i = 0; i < bytes_of(t) / cvr_dtype_size(t->dtype); i++) {
        const float x = low + (high - low) * next_number(&seed);
        if (t->dtype == CVR_I32)
            ((int32_t *)t->data)[i] = (int32_t)floorf(x);
        else if (t->dtype == CVR_I64)
            ((int64_t *)t->data)[i] = (int64_t)floorf(x);
        else if (t->dtype == CVR_U8)
            ((uint8_t *)t->data)[i] = (uint8_t)x;
        else
            ((float *)t->data)[i] = x;
    }
}

static cvr_tensor tensor_of(const emu_tensor *s, uint32_t seed) {
    static const uint32_t types[] = {CVR_F32, CVR_I32, CVR_I64, CVR_U8, CVR_F32, CVR_F32};
    cvr_tensor t = {.struct_size = sizeof t, .dtype = types[s->kind], .rank = s->rank, .shape = {1, 1, 1, 1, 1, 1}};
    memcpy(t.shape, s->shape, s->rank * sizeof *t.shape);
    if (t.rank == 4) t.pixel_stride = t.shape[1];
    t.data = take_memory(&host, bytes_of(&t) + 64, 64);
    cr_assert(t.data);
    if (s->kind >= EMU_CASE_BOXES)
        fill_boxes(&t, s, seed);
    else
        fill_tensor(&t, s, seed);
    return t;
}

static bool is_there(const emu_tensor *s) {
    return s->rank || s->scalar;
}

static void record_case(recorded *c, const emu_case *what) {
    static const cvr_device_info info = {.struct_size = sizeof info, .features = ""};
    const cvr_kernel_desc *k = kernel_of(what->op);
    cvr_error err = CVR_ERROR_INIT;
    memset(c, 0, sizeof *c);
    for (const emu_tensor *s = what->inputs; is_there(s); s++) {
        c->tensors[c->n_in] = tensor_of(s, c->n_in);
        c->in[c->n_in] = &c->tensors[c->n_in];
        c->n_in++;
    }
    for (const emu_tensor *s = what->outputs; is_there(s); s++) {
        c->tensors[EMU_CASE_TENSORS + c->n_out] = tensor_of(s, 99);
        c->out[c->n_out] = &c->tensors[EMU_CASE_TENSORS + c->n_out];
        c->n_out++;
    }
    const cvr_signature sig = {.struct_size = sizeof sig,
                               .attrs = what->attrs,
                               .inputs = c->in,
                               .outputs = (const cvr_tensor *const *)c->out,
                               .n_inputs = c->n_in,
                               .n_outputs = c->n_out};
    const uint64_t bytes = k->workspace ? k->workspace(&sig) : 0;
    c->workspace = take_memory(&host, bytes + 64, 64);
    c->workspace_bytes = bytes;
    const cvr_kernel_args args = {.struct_size = sizeof args,
                                  .attrs = what->attrs,
                                  .inputs = c->in,
                                  .outputs = c->out,
                                  .workspace = c->workspace,
                                  .workspace_size = bytes,
                                  .n_inputs = c->n_in,
                                  .n_outputs = c->n_out};
    emu_list_init(&c->list, &host);
    const cvr_recorder r = emu_recorder(&c->list, &info);
    cr_assert_eq(((const cvr_device_fn *)k->payload)->record(&args, &r, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(emu_group_create(&c->group, &host, &err), CVR_OK, "%s", err.message);
}

static void clear_case(recorded *c) {
    for (uint32_t i = 0; i < 2 * EMU_CASE_TENSORS; i++) free(c->tensors[i].data);
    free(c->workspace);
    emu_list_clear(&c->list);
    emu_group_destroy(&c->group);
}

/* ---- what is said of it ---- */

/* All outputs and the workspace, one behind the other; NULL where the run was refused. */
static char *results_of(recorded *c, const emu_settings *s, size_t *n) {
    cvr_error err = CVR_ERROR_INIT;
    *n = c->workspace_bytes;
    for (uint32_t i = 0; i < c->n_out; i++) {
        memset(c->out[i]->data, 0xff, bytes_of(c->out[i]));
        *n += bytes_of(c->out[i]);
    }
    memset(c->workspace, 0, c->workspace_bytes); /* numbers of rows that are never written name row 0 */
    if (emu_list_run(&c->list, c->group, s, &err) != CVR_OK) return NULL;
    char *all = malloc(*n), *to = all;
    cr_assert(all);
    for (uint32_t i = 0; i < c->n_out; i++) {
        memcpy(to, c->out[i]->data, bytes_of(c->out[i]));
        to += bytes_of(c->out[i]);
    }
    memcpy(to, c->workspace, c->workspace_bytes);
    return all;
}

/* Whether the results are other ones, or none. */
static bool differs(recorded *c, const emu_settings *s, const char *want) {
    size_t n;
    char *have = results_of(c, s, &n);
    const bool other = !have || memcmp(have, want, n) != 0;
    free(have);
    return other;
}

static const uint32_t subgroups[] = {1, 8, 32, 64};

/* Floats that nobody wrote are NaN. */
static void check_written(const cvr_tensor *t) {
    const float *x = t->data;
    for (size_t i = 0; t->dtype == CVR_F32 && i < bytes_of(t) / sizeof *x; i++)
        cr_assert(x[i] == x[i], "result %zu was not written", i);
}

static char *plain_results(recorded *c) {
    size_t n;
    char *want = results_of(c, &(emu_settings){.order = EMU_FORWARD, .subgroup = 32}, &n);
    cr_assert(want);
    for (uint32_t i = 0; i < c->n_out; i++) check_written(c->out[i]);
    return want;
}

/* ---- the tests ---- */

Test(emu_race, same_bits_in_every_order) {
    for (size_t i = 0; i < n_emu_cases; i++) {
        static recorded c;
        record_case(&c, &emu_cases[i]);
        char *want = plain_results(&c);
        for (uint32_t order = EMU_FORWARD; order <= EMU_SHUFFLED; order++)
            for (size_t s = 0; s < 4; s++)
                cr_assert(!differs(&c, &(emu_settings){.order = order, .subgroup = subgroups[s]}, want),
                          "%s: order %u, subgroups of %u", emu_cases[i].op, order, subgroups[s]);
        free(want);
        clear_case(&c);
    }
}

static bool is_missed(recorded *c, const char *want, const char *kernel, uint32_t place) {
    bool seen = false;
    for (uint32_t order = EMU_FORWARD; order <= EMU_SHUFFLED && !seen; order++)
        seen =
            differs(c, &(emu_settings){.order = order, .subgroup = 1, .left_out_of = kernel, .left_out = place}, want);
    return seen;
}

Test(emu_race, a_barrier_that_is_left_out_is_missed) {
    uint32_t n = 0;
    for (size_t i = 0; i < n_emu_cases; i++) {
        static recorded c;
        record_case(&c, &emu_cases[i]);
        char *want = plain_results(&c);
        for (size_t k = 0; emu_cases[i].kernels[k]; k++) {
            const cvr_emu_entry *e = emu_list_entry(&c.list, emu_cases[i].kernels[k]);
            cr_assert(e, "%s: no dispatch of %s", emu_cases[i].op, emu_cases[i].kernels[k]);
            for (uint32_t place = 0; place < e->n_barriers; place++, n++)
                cr_assert(is_missed(&c, want, e->name, place), "%s: nobody misses barrier %u of %s", emu_cases[i].op,
                          place, e->name);
        }
        free(want);
        clear_case(&c);
    }
    cr_assert_geq(n, 12);
}

/* Numbers that no count, class or match is. */
static void make_hostile(const cvr_tensor *t, uint32_t seed) {
    static const int64_t odd[] = {INT64_MIN, -3, -1, 0, 1, 1 << 20, INT32_MAX, INT64_C(1) << 40, INT64_MAX};
    const size_t n = sizeof odd / sizeof *odd;
    for (size_t i = 0; i < bytes_of(t) / cvr_dtype_size(t->dtype); i++) {
        const int64_t v = odd[(size_t)(next_number(&seed) * (float)n) % n];
        if (t->dtype == CVR_I64) ((int64_t *)t->data)[i] = v;
        if (t->dtype == CVR_I32) ((int32_t *)t->data)[i] = (int32_t)v;
        if (t->dtype == CVR_F32 && i % 5 == 0) ((float *)t->data)[i] = v < 0 ? NAN : INFINITY;
    }
}

/* Kernels cannot refuse: they have to stay within their tensors, which the address sanitizer sees, and to end. */
Test(emu_race, hostile_numbers_stay_inside) {
    for (size_t i = 0; i < n_emu_cases; i++)
        for (uint32_t seed = 1; seed < 4; seed++) {
            static recorded c;
            size_t n;
            record_case(&c, &emu_cases[i]);
            for (uint32_t k = 0; k < c.n_in; k++) make_hostile(c.in[k], seed + k);
            char *have = results_of(&c, &(emu_settings){.order = EMU_FORWARD, .subgroup = 32}, &n);
            cr_assert(have, "%s", emu_cases[i].op);
            free(have);
            clear_case(&c);
        }
}
