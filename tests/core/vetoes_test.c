/*
 * A step that is vetoed: whatever optimizer there is leaves parameters, its state and running means as they were, to
 * the bit, and the next step goes on as if it had not been. On a device the host waits once for such a step as for any
 * other; twice where an update cannot be told to do nothing.
 */
#include "support/small_net.h"
#include <criterion/criterion.h>
#include <cvr/plugin/idle.h>
#include <math.h>
#include <stdlib.h>

/* ---- a device whose waits are counted ---- */

static const cvr_backend_desc *counted;
static int waits;

static int32_t count_wait(void *self, uint64_t ticket, cvr_error *err) {
    waits++;
    return counted->wait(self, ticket, err);
}

static void count_waits(small_net *n, cvr_backend_desc *as) {
    counted = cvr_device_backend(n->device);
    *as = *counted;
    as->wait = count_wait;
    cvr_device_replace(n->device, as, cvr_device_self(n->device), NULL);
}

/* ---- steps ---- */

#define BATCH 2

typedef struct trained {
    small_net n;
    net_unit u;
    cvr_backend_desc as;
    float pixels[BATCH * NET_PIXELS]; /* of the next step */
} trained;

/* The pictures of a step; infinite ones make a loss that is not a number. */
static void begin_pictures(trained *t, int step, bool bad) {
    for (int i = 0; i < BATCH * NET_PIXELS; i++) t->pixels[i] = (float)((i + step) * 7919 % 1009) / 1009.0f - 0.4f;
    if (bad) t->pixels[0] = INFINITY;
    const int32_t slot = cvr_program_slot(t->u.program, "image");
    net_good(&t->n, cvr_program_begin_write(t->u.program, slot, t->pixels, &t->n.err));
}

static void set(trained *t, const char *name, double real, int64_t whole) {
    const int32_t slot = cvr_program_slot(t->u.program, name);
    const float number = (float)real;
    if (slot < 0) return;
    const bool is_real = cvr_program_slot_type(t->u.program, slot)->dtype == CVR_F32;
    net_good(&t->n, cvr_program_begin_write(t->u.program, slot, is_real ? (const void *)&number : &whole, &t->n.err));
}

static void trained_open(trained *t, const char *backend, const net_spec *spec) {
    net_open(&t->n, backend, NULL);
    count_waits(&t->n, &t->as);
    net_build(&t->n, &t->u, spec);
    net_bind(&t->n, &t->u);
    begin_pictures(t, 0, false);
}

static void trained_close(trained *t) {
    net_drop(&t->n, &t->u);
    net_close(&t->n);
}

/* As a training run does it: the pictures are there, those of the next step go up beside it, and its loss is read. How
 * often the host waited; whether the step was vetoed, and its loss. */
static int one_step(trained *t, int64_t update, bool next_is_bad, bool *vetoed, float *loss) {
    waits = 0;
    set(t, "lr", 0.01, 0);
    set(t, "updates", 0, update);
    set(t, "average_weight", 0.25, 0);
    net_run(&t->n, &t->u);
    begin_pictures(t, (int)update + 1, next_is_bad);
    const int32_t slot = cvr_program_slot(t->u.program, "loss");
    net_good(&t->n, cvr_program_begin_read(t->u.program, slot, loss, &t->n.err));
    net_good(&t->n, cvr_program_vetoed(t->u.program, vetoed, &t->n.err));
    net_good(&t->n, cvr_program_wait(t->u.program, &t->n.err));
    return waits;
}

/* All that the store has. */
static char *everything(trained *t, size_t *bytes) {
    size_t at = 0;
    *bytes = 0;
    for (size_t i = 0; i < cvr_store_count(t->n.store); i++) *bytes += cvr_store_get(t->n.store, i)->bytes;
    char *all = calloc(*bytes + 1, 1);
    cr_assert(all);
    for (size_t i = 0; i < cvr_store_count(t->n.store); i++) {
        net_good(&t->n, cvr_store_read(t->n.store, i, all + at, &t->n.err));
        at += cvr_store_get(t->n.store, i)->bytes;
    }
    return all;
}

/* Three steps, the second of them vetoed, if `bad`; else the two without it. Waits of the vetoed one, and of the last.
 */
static char *train(const char *backend, const net_spec *spec, bool bad, size_t *bytes, int waited[2]) {
    trained t;
    bool vetoed;
    float loss;
    trained_open(&t, backend, spec);
    (void)one_step(&t, 0, bad, &vetoed, &loss);
    cr_expect(!vetoed && isfinite(loss), "%s, %s: the first step", backend, spec->optimizer);
    if (bad) {
        char *before = everything(&t, bytes);
        waited[0] = one_step(&t, 1, false, &vetoed, &loss);
        cr_expect(vetoed && !isfinite(loss), "%s, %s: no veto; loss %g", backend, spec->optimizer, (double)loss);
        char *after = everything(&t, bytes);
        cr_expect_eq(memcmp(before, after, *bytes), 0, "%s, %s: a vetoed step changes something", backend,
                     spec->optimizer);
        free(before);
        free(after);
        begin_pictures(&t, 1, false); /* those of the step that counts */
    }
    waited[1] = one_step(&t, 1, false, &vetoed, &loss);
    cr_expect(!vetoed && isfinite(loss), "%s, %s: the last step", backend, spec->optimizer);
    char *all = everything(&t, bytes);
    trained_close(&t);
    return all;
}

/* `wanted` waits in each step: 0 where nothing takes time, as on the host's own memory. */
static void check_waits(const char *backend, const net_spec *spec, int waited, int wanted) {
    cr_expect_eq(waited, wanted, "%s, %s: %d waits in a step, not %d", backend, spec->optimizer, waited, wanted);
}

/* Against the same steps without the one that is vetoed. */
static void check(const char *backend, const net_spec *spec, int wanted) {
    size_t n, m;
    int waited[2], without[2];
    char *whole = train(backend, spec, false, &n, without), *vetoed = train(backend, spec, true, &m, waited);
    cr_assert_eq(n, m);
    cr_expect_eq(memcmp(whole, vetoed, n), 0, "%s, %s: a vetoed step leaves a trace", backend, spec->optimizer);
    check_waits(backend, spec, without[1], wanted);
    check_waits(backend, spec, waited[0], wanted);
    free(whole);
    free(vetoed);
}

#define PARTS (NET_TRAIN | NET_UPDATE | NET_AVERAGE | NET_GUARD)

/* Whether each leaves all as it was; `auto` has ops that update many parameters in one node. */
static void check_optimizers(const char *backend, const char *passes) {
    static const struct {
        const char *name, *settings;
    } all[] = {{"sgd", ""},   {"sgd", "momentum=0.9"},
               {"adamw", ""}, {"rmsprop", "centered=yes momentum=0.9"},
               {"nadam", ""}, {"lion", ""},
               {"lamb", ""},  {"lars", "momentum=0.9"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const net_spec spec = {.parts = PARTS,
                               .batch = BATCH,
                               .optimizer = all[i].name,
                               .settings = all[i].settings,
                               .weight_decay = 0.125,
                               .passes = passes};
        size_t bytes;
        int waited[2];
        free(train(backend, &spec, true, &bytes, waited));
        check_waits(backend, &spec, waited[1], 0);
    }
}

Test(vetoes, reference) {
    check_optimizers("reference", "none");
}
Test(vetoes, cpu) {
    check_optimizers("cpu", "auto");
}
Test(vetoes, emu) {
    check_optimizers("emu", "auto");
}
Test(vetoes, leave_no_trace) {
    const net_spec sgd = {
        .parts = PARTS, .batch = BATCH, .optimizer = "sgd", .settings = "momentum=0.9", .passes = "auto"};
    const net_spec adam = {.parts = PARTS, .batch = BATCH, .optimizer = "adam", .passes = "none"};
    check("cpu", &sgd, 0);
    check("far", &sgd, 1);
    check("emu", &adam, 0);
    check("far", &adam, 1);
}

/* ---- what is under way when a transfer fails, or is done at once ---- */

/* A step that runs on `far`; the slot of its loss. */
static int32_t begin_step(trained *t) {
    const net_spec spec = {.parts = PARTS, .batch = BATCH, .optimizer = "sgd", .passes = "auto"};
    trained_open(t, "far", &spec);
    set(t, "lr", 0.01, 0);
    net_run(&t->n, &t->u);
    return cvr_program_slot(t->u.program, "loss");
}

static int32_t refuse_download(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    (void)self, (void)t;
    *ticket = 0;
    return cvr_fail(err, CVR_ERR_DEVICE, "nothing comes back");
}

/* The pictures of the next step are going up when its results are asked for in vain: one wait for the step, another
 * for them, as whoever waits may free them. */
Test(vetoes, pictures_are_waited_for_after_a_failure) {
    trained t;
    float loss;
    const int32_t slot = begin_step(&t);
    begin_pictures(&t, 1, false);
    t.as.download = refuse_download;
    cr_expect_eq(cvr_program_begin_read(t.u.program, slot, &loss, &t.n.err), CVR_ERR_DEVICE);
    t.as.download = counted->download;
    waits = 0;
    net_good(&t.n, cvr_program_wait(t.u.program, &t.n.err));
    cr_expect_eq(waits, 2);
    trained_close(&t);
}

/* A backend that brings a number at once has no ticket for it, and yet one before may still have bytes to bring. */
static int32_t download_at_once(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    uint64_t until = 0;
    CVR_TRY(counted->download(self, t, &until, err));
    *ticket = 0;
    return counted->wait(self, until, err);
}

Test(vetoes, what_is_under_way_is_waited_for_after_what_is_not) {
    trained t;
    bool vetoed;
    float loss;
    const int32_t slot = begin_step(&t);
    net_good(&t.n, cvr_program_begin_read(t.u.program, slot, &loss, &t.n.err));
    t.as.download = download_at_once;
    waits = 0;
    net_good(&t.n, cvr_program_vetoed(t.u.program, &vetoed, &t.n.err));
    net_good(&t.n, cvr_program_wait(t.u.program, &t.n.err));
    cr_expect_eq(waits, 1);
    cr_expect(!vetoed);
    t.as.download = counted->download;
    trained_close(&t);
}

/* ---- an update that cannot be told ---- */

/* As a stranger's plugin would: sums a gradient up from step to step, by an op without the trait. */
static int32_t sum_up(const cvr_gradients *g, cvr_error *err) {
    const cvr_type *t = g->builder->type(g->builder, g->all[0]->grad);
    cvr_param_decl decl = {.struct_size = sizeof decl, .name = "acme.sum", .dtype = CVR_F32, .rank = t->rank};
    cvr_value in[3] = {CVR_NONE, CVR_NONE, g->all[0]->grad}, none[1];
    const cvr_init zero = {.struct_size = sizeof zero, .kind = CVR_INIT_CONSTANT};
    const cvr_op_call call = {
        .struct_size = sizeof call, .op = "gradient_accumulate", .inputs = in, .outputs = none, .n_inputs = 3};
    memcpy(decl.shape, t->shape, sizeof decl.shape);
    decl.init = &zero;
    CVR_TRY(g->builder->scalar(g->builder, "updates", CVR_I64, &in[0], err));
    CVR_TRY(g->builder->slot(g->builder, g->all[0]->param, &decl, &in[1], err));
    return g->builder->emit(g->builder, &call, err);
}

static const cvr_gradient_desc sums = {.struct_size = sizeof sums, .name = "acme.sum", .run = sum_up};

Test(vetoes, of_an_update_that_cannot_idle) {
    const cvr_gradient_plugin plugin = {&sums, NULL};
    const net_spec spec = {
        .parts = PARTS, .batch = BATCH, .optimizer = "adam", .plugins = &plugin, .n_plugins = 1, .passes = "none"};
    check("cpu", &spec, 0);
    check("far", &spec, 2);
}

/* ---- the op ---- */

typedef struct guarded {
    small_net n;
    cvr_graph *graph;
    cvr_program *program;
    cvr_arena *arena;
} guarded;

/* x and vetoes of these types. */
static void guarded_open(guarded *g, const char *backend, const cvr_update_guard_attrs *attrs, const uint32_t *types,
                         uint32_t n) {
    cvr_value in[4], y;
    net_open(&g->n, backend, NULL);
    net_good(&g->n, cvr_graph_create(&g->graph, g->n.plugins, g->n.store, false, &g->n.err));
    for (uint32_t i = 0; i < n; i++) {
        const char name[2] = {(char)('a' + (int)i), '\0'};
        cvr_type type;
        cvr_type_set(&type, types[i], i > 0, (int64_t[1]){1}); /* a veto may be (1) */
        net_good(&g->n, cvr_graph_input(g->graph, name, &type, &in[i], &g->n.err));
    }
    net_good(&g->n, cvr_emit(cvr_graph_builder(g->graph), "update_guard", attrs, sizeof *attrs, in, n, &y, &g->n.err));
    net_good(&g->n, cvr_graph_output(g->graph, "y", y, &g->n.err));
    net_good(&g->n, cvr_program_plan(&g->program, g->graph, g->n.device, g->n.pool, CVR_FALLBACK_ERROR, &g->n.err));
    net_good(&g->n, cvr_store_place(g->n.store, g->n.device, &g->n.err));
    net_good(&g->n, cvr_arena_create(&g->arena, g->n.device, &g->program, 1, 0, &g->n.err));
    net_good(&g->n, cvr_program_bind(g->program, g->arena, &g->n.err));
}

static void guarded_close(guarded *g) {
    cvr_program_destroy(&g->program);
    cvr_graph_destroy(&g->graph);
    cvr_arena_destroy(&g->arena);
    net_close(&g->n);
}

static void put(guarded *g, const char *name, const void *bytes) {
    net_good(&g->n, cvr_program_write(g->program, cvr_program_slot(g->program, name), bytes, &g->n.err));
}

static void get(guarded *g, void *y) {
    net_good(&g->n, cvr_program_run(g->program, &g->n.err));
    net_good(&g->n, cvr_program_read(g->program, cvr_program_slot(g->program, "y"), y, &g->n.err));
}

static void check_finite(const char *backend) {
    static const float numbers[] = {0, -0.0f, 1e-45f, 3.402823466e38f, INFINITY, -INFINITY, NAN};
    const cvr_update_guard_attrs attrs = {-1, 1};
    const int64_t x = ((int64_t)1 << 40) + 3, whole = -5;
    const float good = 2;
    guarded g;
    guarded_open(&g, backend, &attrs, (const uint32_t[4]){CVR_I64, CVR_F32, CVR_I64, CVR_F32}, 4);
    put(&g, "a", &x);
    put(&g, "c", &whole);
    for (size_t i = 0; i < 7; i++)
        for (int last = 0; last < 2; last++) {
            int64_t y = 0;
            put(&g, "b", last ? &good : &numbers[i]);
            put(&g, "d", last ? &numbers[i] : &good);
            get(&g, &y);
            cr_expect_eq(y, i < 4 ? x : -1, "%s: %g gives %lld", backend, (double)numbers[i], (long long)y);
        }
    guarded_close(&g);
}

static void check_zero(const char *backend) {
    static const float numbers[] = {0, -0.0f, 1e-45f, 1, INFINITY, NAN};
    static const int64_t wholes[] = {0, (int64_t)1 << 32, -1};
    const cvr_update_guard_attrs attrs = {0, 0};
    const float x = 0.125f;
    guarded g;
    guarded_open(&g, backend, &attrs, (const uint32_t[4]){CVR_F32, CVR_F32, CVR_I64, CVR_I32}, 4);
    put(&g, "a", &x);
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < 3; k++)
            for (int32_t m = 0; m < 2; m++) {
                float y = 7;
                put(&g, "b", &numbers[i]);
                put(&g, "c", &wholes[k]);
                put(&g, "d", &m);
                get(&g, &y);
                cr_expect_eq(y, i < 2 && k == 0 && m == 0 ? x : 0, "%s: %g, %lld, %d give %g", backend,
                             (double)numbers[i], (long long)wholes[k], m, (double)y);
            }
    guarded_close(&g);
}

Test(vetoes, update_guard) {
    static const char *const backends[] = {"reference", "cpu", "far", "emu"};
    for (size_t i = 0; i < 4; i++) {
        check_finite(backends[i]);
        check_zero(backends[i]);
    }
}
