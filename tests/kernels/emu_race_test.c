/*
 * Device kernels on `emu` in every order of threads and size of subgroups: the same bits. And that a race would be
 * seen: each barrier of each kernel here is left out in turn, which must change bits or be refused in some order.
 */
#include "device/ops/device_ops.h"
#include "emu/emu_record.h"
#include <criterion/criterion.h>
#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/conv.h>
#include <cvr/plugin/ops/norm.h>
#include <stdlib.h>

#define MOST_OPS 256u
#define MOST_TENSORS 8u

/* An op on tensors of random numbers. Ranks of 0 end the lists. */
typedef struct tensor_shape {
    uint32_t rank;
    int64_t shape[4];
} tensor_shape;

typedef struct emu_case {
    const char *op;
    const void *attrs;
    tensor_shape inputs[MOST_TENSORS], outputs[4];
    const char *const kernels[4]; /* whose barriers are left out */
} emu_case;

static const cvr_conv2d_attrs conv = {{1, 1}, {1, 1}, {1, 1}, 1};
static const cvr_conv2d_backward_weight_attrs conv_weight = {{{1, 1}, {1, 1}, {1, 1}, 1}, {3, 3}};
static const cvr_batch_norm2d_attrs norm = {0.1, 1e-5};

static const cvr_softmax_attrs last_axis = {1};
static const cvr_layer_norm_attrs layer = {1, 2, 1e-5};
static const cvr_reduce_attrs over_last = {1, {1}, 0};
static const cvr_conv2d_attrs depthwise = {{1, 1}, {1, 1}, {1, 1}, 5};
static const cvr_conv2d_backward_weight_attrs depthwise_weight = {{{1, 1}, {1, 1}, {1, 1}, 5}, {3, 3}};

static const emu_case cases[] = {
    {"softmax", &last_axis, {{2, {3, 300}}}, {{2, {3, 300}}}, {"rows_softmax"}},
    {"layer_norm", &layer, {{2, {3, 300}}, {1, {300}}, {1, {300}}}, {{2, {3, 300}}, {1, {3}}, {1, {3}}}, {"rows_norm"}},
    {"sum", &over_last, {{2, {5, 700}}}, {{1, {5}}}, {"reduce"}},
    {"conv2d", &depthwise, {{4, {1, 5, 9, 9}}, {4, {5, 1, 3, 3}}}, {{4, {1, 5, 9, 9}}}, {NULL}},
    {"conv2d_backward_weight",
     &depthwise_weight,
     {{4, {1, 5, 9, 9}}, {4, {1, 5, 9, 9}}},
     {{4, {5, 1, 3, 3}}},
     {"depthwise_weight"}},
    {"conv2d", &conv, {{4, {1, 5, 9, 9}}, {4, {66, 5, 3, 3}}, {1, {66}}}, {{4, {1, 66, 9, 9}}}, {"product"}},
    {"conv2d_backward_weight",
     &conv_weight,
     {{4, {2, 3, 24, 24}}, {4, {2, 4, 24, 24}}},
     {{4, {4, 3, 3, 3}}},
     {"product", "columns_finish"}},
    {"batch_norm2d",
     &norm,
     {{4, {3, 40, 6, 7}}, {1, {40}}, {1, {40}}},
     {{4, {3, 40, 6, 7}}, {1, {40}}, {1, {40}}},
     {"columns", "columns_finish"}},
};

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
    cvr_tensor tensors[2 * MOST_TENSORS];
    const cvr_tensor *in[MOST_TENSORS];
    cvr_tensor *out[MOST_TENSORS];
    void *workspace;
    emu_list list;
    emu_group *group;
    uint32_t n_in, n_out;
} recorded;

static size_t bytes_of(const cvr_tensor *t) {
    return (size_t)cvr_numel(t->rank, t->shape) * sizeof(float);
}

static cvr_tensor tensor_of(const tensor_shape *s, uint32_t seed) {
    cvr_tensor t = {.struct_size = sizeof t, .dtype = CVR_F32, .rank = s->rank, .shape = {1, 1, 1, 1, 1, 1}};
    memcpy(t.shape, s->shape, s->rank * sizeof *t.shape);
    if (t.rank == 4) t.pixel_stride = t.shape[1];
    float *x = take_memory(&host, bytes_of(&t), 64);
    cr_assert(x);
    for (size_t i = 0; i < bytes_of(&t) / sizeof *x; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * (1.0f / 8388608.0f) - 1.0f;
    }
    t.data = x;
    return t;
}

static void record_case(recorded *c, const emu_case *what) {
    static const cvr_device_info info = {.struct_size = sizeof info, .features = ""};
    const cvr_kernel_desc *k = kernel_of(what->op);
    cvr_error err = CVR_ERROR_INIT;
    memset(c, 0, sizeof *c);
    for (const tensor_shape *s = what->inputs; s->rank; s++) {
        c->tensors[c->n_in] = tensor_of(s, c->n_in);
        c->in[c->n_in] = &c->tensors[c->n_in];
        c->n_in++;
    }
    for (const tensor_shape *s = what->outputs; s->rank; s++) {
        c->tensors[MOST_TENSORS + c->n_out] = tensor_of(s, 99);
        c->out[c->n_out] = &c->tensors[MOST_TENSORS + c->n_out];
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
    for (uint32_t i = 0; i < 2 * MOST_TENSORS; i++) free(c->tensors[i].data);
    free(c->workspace);
    emu_list_clear(&c->list);
    emu_group_destroy(&c->group);
}

/* ---- what is said of it ---- */

/* All outputs, one behind the other; NULL where the run was refused. */
static float *results_of(recorded *c, const emu_settings *s, size_t *n) {
    cvr_error err = CVR_ERROR_INIT;
    *n = 0;
    for (uint32_t i = 0; i < c->n_out; i++) {
        memset(c->out[i]->data, 0xff, bytes_of(c->out[i]));
        *n += bytes_of(c->out[i]);
    }
    if (emu_list_run(&c->list, c->group, s, &err) != CVR_OK) return NULL;
    char *all = malloc(*n), *to = all;
    cr_assert(all);
    for (uint32_t i = 0; i < c->n_out; i++) {
        memcpy(to, c->out[i]->data, bytes_of(c->out[i]));
        to += bytes_of(c->out[i]);
    }
    return (float *)(void *)all;
}

/* Whether the results are other ones, or none. */
static bool differs(recorded *c, const emu_settings *s, const float *want) {
    size_t n;
    float *have = results_of(c, s, &n);
    const bool other = !have || memcmp(have, want, n) != 0;
    free(have);
    return other;
}

static const uint32_t subgroups[] = {1, 8, 32, 64};

static float *plain_results(recorded *c) {
    size_t n;
    float *want = results_of(c, &(emu_settings){.order = EMU_FORWARD, .subgroup = 32}, &n);
    cr_assert(want);
    for (size_t i = 0; i < n / sizeof *want; i++) cr_assert(want[i] == want[i], "result %zu was not written", i);
    return want;
}

Test(emu_race, same_bits_in_every_order) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static recorded c;
        record_case(&c, &cases[i]);
        float *want = plain_results(&c);
        for (uint32_t order = EMU_FORWARD; order <= EMU_SHUFFLED; order++)
            for (size_t s = 0; s < 4; s++)
                cr_assert(!differs(&c, &(emu_settings){.order = order, .subgroup = subgroups[s]}, want),
                          "%s: order %u, subgroups of %u", cases[i].op, order, subgroups[s]);
        free(want);
        clear_case(&c);
    }
}

static bool is_missed(recorded *c, const float *want, const char *kernel, uint32_t place) {
    bool seen = false;
    for (uint32_t order = EMU_FORWARD; order <= EMU_SHUFFLED && !seen; order++)
        seen =
            differs(c, &(emu_settings){.order = order, .subgroup = 1, .left_out_of = kernel, .left_out = place}, want);
    return seen;
}

Test(emu_race, a_barrier_that_is_left_out_is_missed) {
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static recorded c;
        record_case(&c, &cases[i]);
        float *want = plain_results(&c);
        for (size_t k = 0; cases[i].kernels[k]; k++) {
            const cvr_emu_entry *e = emu_list_entry(&c.list, cases[i].kernels[k]);
            cr_assert(e, "%s: no dispatch of %s", cases[i].op, cases[i].kernels[k]);
            for (uint32_t place = 0; place < e->n_barriers; place++, n++)
                cr_assert(is_missed(&c, want, e->name, place), "%s: nobody misses barrier %u of %s", cases[i].op, place,
                          e->name);
        }
        free(want);
        clear_case(&c);
    }
    cr_assert_geq(n, 12);
}
