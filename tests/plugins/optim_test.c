/*
 * Optimizers against torch.optim's and timm's numbers (tests/golden/optim.safetensors), on the reference and on every
 * instruction set; and, on a parameter of several tasks, the
 * CPU's kernels against the reference, with the same bits from one thread and from three; and many parameters in one
 * node (the pass "batch_updates") with the same bits as one by one.
 *
 * Tolerance: |a - b| <= 2e-6 (|b| + max |b|): five updates, each a few roundings of f32.
 */
#include "support/golden_fields.h"
#include "support/left_out.h"
#include <cvr/plugin/rng.h>
#include <math.h>
#include <stdlib.h>

#define RELATIVE 2e-6
#define STEPS 5
#define LONG_PARAM 40000

/* One parameter and its update, planned. */
typedef struct trainer {
    const case_machine *machine;
    cvr_store *store;
    cvr_graph *graph;
    cvr_program *program;
    cvr_arena *arena;
    void *attrs;
} trainer;

typedef struct update_case {
    char optimizer[64], settings[200];
    double weight_decay;
    float lr;
    cvr_type type;
} update_case;

static int32_t build(trainer *t, const update_case *c, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(t->graph);
    const cvr_init zero = {.struct_size = sizeof zero, .kind = CVR_INIT_CONSTANT};
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = "p",
                           .dtype = CVR_F32,
                           .rank = c->type.rank,
                           .flags = CVR_PARAM_TRAINABLE,
                           .init = &zero};
    const void *found;
    cvr_value p, g;
    memcpy(decl.shape, c->type.shape, sizeof decl.shape);
    CVR_TRY(cvr_plugins_find(t->machine->plugins, CVR_KIND_OPTIMIZER, c->optimizer, &found, err));
    const cvr_optimizer_desc *optimizer = found;
    const cvr_schema schema = {optimizer->attrs, optimizer->n_attrs};
    CVR_TRY(cvr_attrs_parse(&schema, c->settings, NULL, c->optimizer, &t->attrs, err));
    CVR_TRY(b->param(b, &decl, &p, err));
    CVR_TRY(cvr_graph_input(t->graph, "g", &c->type, &g, err));
    CVR_TRY(cvr_graph_backward_from(t->graph, p, g, err));
    const cvr_update_policy policy = {optimizer, t->attrs, c->weight_decay, c->weight_decay, c->weight_decay};
    return cvr_graph_update(t->graph, &policy, err);
}

static void trainer_close(trainer *t) {
    cvr_program_destroy(&t->program);
    cvr_arena_destroy(&t->arena);
    cvr_graph_destroy(&t->graph);
    cvr_store_destroy(&t->store);
    cvr_free(t->attrs);
}

static int32_t trainer_open(trainer *t, const case_machine *m, const update_case *c, cvr_error *err) {
    memset(t, 0, sizeof *t);
    t->machine = m;
    CVR_TRY(cvr_store_create(&t->store, 1, err));
    CVR_TRY(cvr_graph_create(&t->graph, m->plugins, t->store, true, err));
    CVR_TRY(build(t, c, err));
    CVR_TRY(cvr_store_place(t->store, m->device, err));
    CVR_TRY(cvr_program_plan(&t->program, t->graph, m->device, m->pool, CVR_FALLBACK_ERROR, err));
    CVR_TRY(cvr_arena_create(&t->arena, m->device, &t->program, 1, 0, err));
    return cvr_program_bind(t->program, t->arena, err);
}

static int32_t write_named(trainer *t, const char *name, const void *data, cvr_error *err) {
    const int32_t slot = cvr_program_slot(t->program, name);
    return slot < 0 ? CVR_OK : cvr_program_write(t->program, slot, data, err);
}

static int32_t step(trainer *t, const update_case *c, int64_t number, const void *gradient, void *after,
                    cvr_error *err) {
    CVR_TRY(write_named(t, "g", gradient, err));
    CVR_TRY(write_named(t, "lr", &c->lr, err));
    CVR_TRY(write_named(t, "updates", &number, err));
    CVR_TRY(cvr_program_run(t->program, err));
    return cvr_store_read(t->store, (size_t)cvr_store_find(t->store, "p"), after, err);
}

/* ---- against PyTorch ---- */

static update_case take_case(golden *g, const char *label) {
    update_case c = {.weight_decay = golden_f32(g, label, "weight_decay"), .lr = golden_f32(g, label, "lr")};
    golden_text(g, label, "optimizer", c.optimizer, sizeof c.optimizer);
    golden_text(g, label, "settings", c.settings, sizeof c.settings);
    c.type = golden_need(g, label, "p0")->type;
    return c;
}

static void check_case(const case_machine *m, golden *g, const char *label) {
    const update_case c = take_case(g, label);
    trainer t;
    cvr_error err;
    char field[8];
    cvr_error_init(&err);
    case_tensor after;
    cr_assert(case_tensor_set(&after, "p", &c.type, NULL));
    cr_assert_eq(trainer_open(&t, m, &c, &err), CVR_OK, "%s on %s: %s", label, m->label, err.message);
    const size_t at = (size_t)cvr_store_find(t.store, "p");
    cr_assert_eq(cvr_store_write(t.store, at, golden_need(g, label, "p0")->data, &err), CVR_OK, "%s", err.message);
    for (int64_t i = 0; i < STEPS; i++) {
        (void)snprintf(field, sizeof field, "g%d", (int)i);
        const void *gradient = golden_need(g, label, field)->data;
        cr_assert_eq(step(&t, &c, i, gradient, after.data, &err), CVR_OK, "%s on %s: %s", label, m->label, err.message);
        (void)snprintf(field, sizeof field, "p%d", (int)i + 1);
        const golden_tensor *want = golden_need(g, label, field);
        const case_tensor expected = {.type = want->type, .data = want->data};
        const double far = case_distance(&after, &expected, RELATIVE);
        cr_expect_leq(far, 1, "%s on %s: %s is %.3g times what is allowed off", label, m->label, field, far);
    }
    free(after.data);
    trainer_close(&t);
}

static void check_all(const char *backend, const char *isa) {
    case_machine m;
    golden g;
    cvr_error err;
    cvr_error_init(&err);
    if (isa && left_out(isa)) return;
    cr_assert_eq(machine_open(&m, backend, isa, 2, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(golden_open(&g, m.plugins, CVR_GOLDEN_DIR "/optim.safetensors", &err), CVR_OK, "%s", err.message);
    cr_assert_gt(g.n_cases, 0);
    for (size_t i = 0; i < g.n_cases; i++) check_case(&m, &g, g.cases[i]);
    golden_close(&g);
    machine_close(&m);
}

Test(optim, reference) {
    check_all("reference", NULL);
}
Test(optim, cpu_base) {
    check_all("cpu", "base");
}
Test(optim, cpu_avx2) {
    check_all("cpu", "cpu_avx2");
}
Test(optim, cpu_avx512) {
    check_all("cpu", "cpu_avx512");
}

/* ---- a parameter of several tasks ---- */

static void fill(float *x, uint64_t stream) {
    cvr_rng r;
    cvr_rng_start(&r, 11, stream);
    for (int64_t i = 0; i < LONG_PARAM; i++) x[i] = (float)cvr_rng_normal(&r);
}

static void train_long(const case_machine *m, const update_case *c, case_tensor *after) {
    float *gradient = calloc(LONG_PARAM, sizeof *gradient);
    trainer t;
    cvr_error err;
    cvr_error_init(&err);
    cr_assert(gradient && case_tensor_set(after, "p", &c->type, NULL));
    cr_assert_eq(trainer_open(&t, m, c, &err), CVR_OK, "%s: %s", m->label, err.message);
    fill(gradient, 99);
    cr_assert_eq(cvr_store_write(t.store, (size_t)cvr_store_find(t.store, "p"), gradient, &err), CVR_OK);
    for (int64_t i = 0; i < STEPS; i++) {
        fill(gradient, (uint64_t)i);
        cr_assert_eq(step(&t, c, i, gradient, after->data, &err), CVR_OK, "%s: %s", m->label, err.message);
    }
    free(gradient);
    trainer_close(&t);
}

Test(optim, several_tasks) {
    static const struct {
        const char *backend;
        uint32_t threads;
    } kinds[3] = {{"reference", 1}, {"cpu", 1}, {"cpu", 3}};
    case_machine machines[3];
    golden g;
    cvr_error err;
    cvr_error_init(&err);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(machine_open(&machines[i], kinds[i].backend, NULL, kinds[i].threads, &err), CVR_OK, "%s",
                     err.message);
    cr_assert_eq(golden_open(&g, machines[0].plugins, CVR_GOLDEN_DIR "/optim.safetensors", &err), CVR_OK);
    for (size_t k = 0; k < g.n_cases; k++) {
        update_case c = take_case(&g, g.cases[k]);
        const int64_t shape[1] = {LONG_PARAM};
        case_tensor after[3];
        cvr_type_set(&c.type, CVR_F32, 1, shape);
        for (int i = 0; i < 3; i++) train_long(&machines[i], &c, &after[i]);
        const double far = case_distance(&after[1], &after[0], RELATIVE);
        cr_expect_leq(far, 1, "%s: the CPU is %.3g times what is allowed off", g.cases[k], far);
        cr_expect_eq(memcmp(after[1].data, after[2].data, case_bytes(&c.type)), 0,
                     "%s: three threads give other bits than one", g.cases[k]);
        for (int i = 0; i < 3; i++) free(after[i].data);
    }
    golden_close(&g);
    for (int i = 0; i < 3; i++) machine_close(&machines[i]);
}

/* ---- many parameters in one node ---- */

/* Elements: fewer than a line, tasks that end within a parameter, more than a node takes, some too large for one. What
 * lies next to a parameter in the store is another one, so that a store too far shows. */
static const int64_t many_sizes[] = {1,   64,   7,  16384, 100, 16383, 3,     16,   512, 9,  33, 16385, 2048, 5, 11000,
                                     999, 4096, 17, 48,    12,  2,     30000, 8191, 31,  15, 1,  64,    64,   6, 300};
#define N_MANY ((int)(sizeof many_sizes / sizeof *many_sizes))

static int32_t add_param(trainer *t, int index, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(t->graph);
    const cvr_init normal = {.struct_size = sizeof normal, .kind = CVR_INIT_NORMAL, .b = 1};
    char name[16], gradient[16];
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = name,
                           .dtype = CVR_F32,
                           .rank = 2,
                           .flags = CVR_PARAM_TRAINABLE | (index % 5 == 0 ? CVR_PARAM_BIAS : 0),
                           .shape = {1, many_sizes[index]},
                           .init = &normal};
    cvr_type type;
    cvr_value p, g;
    (void)snprintf(name, sizeof name, "p%d", index);
    (void)snprintf(gradient, sizeof gradient, "g%d", index);
    cvr_type_set(&type, CVR_F32, 2, decl.shape);
    if (many_sizes[index] == 12) memcpy(decl.order, (int64_t[3]){3, 2, 2}, 3 * sizeof *decl.order); /* as flattened */

    CVR_TRY(b->param(b, &decl, &p, err));
    CVR_TRY(cvr_graph_input(t->graph, gradient, &type, &g, err));
    return cvr_graph_backward_from(t->graph, p, g, err);
}

/* Biases have a weight decay of their own. */
static int32_t many_open(trainer *t, const case_machine *m, const update_case *c, const char *passes, cvr_error *err) {
    const void *found;
    memset(t, 0, sizeof *t);
    t->machine = m;
    CVR_TRY(cvr_plugins_find(m->plugins, CVR_KIND_OPTIMIZER, c->optimizer, &found, err));
    const cvr_optimizer_desc *optimizer = found;
    const cvr_schema schema = {optimizer->attrs, optimizer->n_attrs};
    CVR_TRY(cvr_attrs_parse(&schema, c->settings, NULL, c->optimizer, &t->attrs, err));
    CVR_TRY(cvr_store_create(&t->store, 1, err));
    CVR_TRY(cvr_graph_create(&t->graph, m->plugins, t->store, true, err));
    for (int i = 0; i < N_MANY; i++) CVR_TRY(add_param(t, i, err));
    const cvr_update_policy policy = {optimizer, t->attrs, c->weight_decay, c->weight_decay, c->weight_decay + 0.125};
    CVR_TRY(cvr_graph_update(t->graph, &policy, err));
    CVR_TRY(cvr_graph_passes(t->graph, CVR_PASS_STEP, passes, err));
    CVR_TRY(cvr_graph_schedule(t->graph, err));
    CVR_TRY(cvr_store_place(t->store, m->device, err));
    CVR_TRY(cvr_program_plan(&t->program, t->graph, m->device, m->pool, CVR_FALLBACK_ERROR, err));
    CVR_TRY(cvr_arena_create(&t->arena, m->device, &t->program, 1, 0, err));
    return cvr_program_bind(t->program, t->arena, err);
}

static int32_t many_step(trainer *t, const update_case *c, int64_t number, const float *gradient, cvr_error *err) {
    char name[16];
    CVR_TRY(write_named(t, "lr", &c->lr, err));
    CVR_TRY(write_named(t, "updates", &number, err));
    for (int i = 0; i < N_MANY; i++) {
        (void)snprintf(name, sizeof name, "g%d", i);
        CVR_TRY(write_named(t, name, gradient + i, err));
    }
    return cvr_program_run(t->program, err);
}

/* Everything that the store has after a few steps, entry by entry; how many updates the program has of each kind. */
static float *train_many(const case_machine *m, const update_case *c, const char *passes, size_t *n, size_t nodes[2]) {
    float *gradient = calloc(LONG_PARAM, sizeof *gradient), *after;
    trainer t;
    cvr_error err;
    cvr_error_init(&err);
    cr_assert(gradient);
    cr_assert_eq(many_open(&t, m, c, passes, &err), CVR_OK, "%s: %s", m->label, err.message);
    for (int64_t i = 0; i < STEPS; i++) {
        fill(gradient, (uint64_t)i);
        cr_assert_eq(many_step(&t, c, i, gradient, &err), CVR_OK, "%s: %s", m->label, err.message);
    }
    nodes[0] = nodes[1] = 0;
    for (size_t i = 0; i < cvr_program_nodes(t.program); i++) {
        cvr_node_info info;
        cvr_program_node(t.program, i, &info);
        if (strstr(info.op, "_update")) nodes[strstr(info.op, "_update_many") != NULL]++;
    }
    *n = 0;
    for (size_t i = 0; i < cvr_store_count(t.store); i++) *n += cvr_store_get(t.store, i)->bytes / sizeof *after;
    after = calloc(*n, sizeof *after);
    cr_assert(after);
    size_t at = 0;
    for (size_t i = 0; i < cvr_store_count(t.store); i++) {
        cr_assert_eq(cvr_store_read(t.store, i, after + at, &err), CVR_OK, "%s", err.message);
        at += cvr_store_get(t.store, i)->bytes / sizeof *after;
    }
    free(gradient);
    trainer_close(&t);
    return after;
}

/* How far `a` is from `b`, in units of what is allowed. */
static double distance(const float *a, const float *b, size_t n) {
    double most = 0, far = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(b[i]));
    for (size_t i = 0; i < n; i++) far = fmax(far, fabs(a[i] - b[i]) / (RELATIVE * (fabs(b[i]) + most)));
    return far;
}

/* LAMB and LARS look at norms: their updates stay one by one. */
static bool joins_others(const case_machine *m, const char *optimizer) {
    char op[80];
    const void *found;
    cvr_error err = CVR_ERROR_INIT;
    (void)snprintf(op, sizeof op, "%s_update", strcmp(optimizer, "adamw") == 0 ? "adam" : optimizer);
    cr_assert_eq(cvr_plugins_find(m->plugins, CVR_KIND_OP, op, &found, &err), CVR_OK, "%s", err.message);
    return cvr_op_trait(found, CVR_TRAIT_MULTI_TENSOR) != NULL;
}

static void check_many(const case_machine *m, const case_machine *reference, const update_case *c) {
    const bool fused = strcmp(cvr_device_backend(m->device)->name, "cpu") == 0;
    size_t n[3], alone[2], many[2];
    float *one_by_one = train_many(m, c, "none", &n[0], alone),
          *together = train_many(m, c, "batch_updates", &n[1], many),
          *expected = train_many(reference, c, "none", &n[2], alone);
    cr_expect(alone[0] == (size_t)N_MANY && alone[1] == 0);
    const bool batches = joins_others(m, c->optimizer);
    if (fused && batches)
        cr_expect(many[1] >= 2 && many[0] + many[1] < N_MANY / 2, "%s: %zu nodes", m->label, many[0] + many[1]);
    cr_assert(n[0] == n[1] && n[0] == n[2]);
    cr_expect_eq(memcmp(one_by_one, together, n[0] * sizeof *together), 0, "%s with %s on %s: other bits in one node",
                 c->optimizer, c->settings, m->label);
    const double far = distance(together, expected, n[0]);
    cr_expect_leq(far, 1, "%s with %s on %s is %.3g times what is allowed off", c->optimizer, c->settings, m->label,
                  far);
    free(one_by_one);
    free(together);
    free(expected);
}

/* The reference has no kernel for many: there the node is what it decomposes into. */
static void check_all_many(const char *backend, const char *isa, uint32_t threads) {
    case_machine m, reference;
    golden g;
    cvr_error err;
    cvr_error_init(&err);
    if (isa && left_out(isa)) return;
    cr_assert_eq(machine_open(&m, backend, isa, threads, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(machine_open(&reference, "reference", NULL, 1, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(golden_open(&g, m.plugins, CVR_GOLDEN_DIR "/optim.safetensors", &err), CVR_OK, "%s", err.message);
    cr_assert_gt(g.n_cases, 0);
    for (size_t i = 0; i < g.n_cases; i++) {
        const update_case c = take_case(&g, g.cases[i]);
        check_many(&m, &reference, &c);
    }
    golden_close(&g);
    machine_close(&reference);
    machine_close(&m);
}

Test(many, reference) {
    check_all_many("reference", NULL, 1);
}
Test(many, cpu_base) {
    check_all_many("cpu", "base", 1);
}
Test(many, cpu_avx2) {
    check_all_many("cpu", "cpu_avx2", 3);
}
Test(many, cpu_avx512) {
    check_all_many("cpu", "cpu_avx512", 3);
}
