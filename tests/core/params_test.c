/* Roles and stages of parameters, and the rules that freeze them or train them at another rate. */
#include "support/small_net.h"
#include <criterion/criterion.h>
#include <math.h>

#define HEAD (5 * 8 * 8 * 8)
#define BODY (8 * 8 * 9)
#define STEM (8 * 3 * 9)

static const net_spec train = {
    .parts = NET_TRAIN | NET_UPDATE | NET_BATCH_NORM, .batch = 4, .settings = "momentum=0.9"};

static cvr_param_rules rules(const char *freeze) {
    return (cvr_param_rules){.stages = net_stages, .n_stages = 3, .freeze = freeze};
}

Test(patterns, fit_names_and_stages) {
    static const struct {
        const char *list, *name, *stage;
        bool fits;
    } cases[] = {
        {"*", "layer1.0.bn1.weight", "", true},
        {"layer1", "layer1.0.bn1.weight", "", true},
        {"layer1", "layer10.0.bn1.weight", "", false},
        {"layer?", "layer1.0.bn1.weight", "", true},
        {"*.bn?.*", "layer1.0.bn1.weight", "", true},
        {"*.bias", "layer1.0.bn1.weight", "", false},
        {"*.bias, *.weight", "layer1.0.bn1.weight", NULL, true},
        {"backbone", "x.weight", "backbone.layer1", true},
        {"backbone.layer1", "x.weight", "backbone.layer1", true},
        {"backbone.layer", "x.weight", "backbone.layer1", false},
        {"", "x", "x", false},
        {",, ,", "x", "x", false},
        {"*a*b*c", "a.b.a.b.c", "", true},
        {"*a*b*d", "a.b.a.b.c", "", false},
        {"weight", "", "", false},
        {"x.weigh", "x.weight", "", false},
        {"layer#.bn", "layer12.bn.bias", "", true},
        {"layer#.bn", "layers.bn.bias", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(cvr_param_fits(cases[i].list, cases[i].name, cases[i].stage), cases[i].fits, "`%s` and %s",
                     cases[i].list, cases[i].name);
}

/* With a star more for each letter, a matcher that tries all ways for each star would not end. */
Test(patterns, with_many_stars_take_no_time) {
    char name[64], list[160];
    for (size_t i = 0; i < 60; i++) name[i] = 'a';
    name[60] = '\0';
    for (size_t i = 0; i < 60; i++) memcpy(&list[2 * i], "*a", 2);
    memcpy(&list[120], "*b", sizeof "*b");
    cr_expect_not(cvr_param_fits(list, name, NULL));
}

Test(rules, set_stages_and_roles) {
    small_net n;
    net_unit u;
    const cvr_param_rules r = rules("backbone.stem,c2.bias");
    net_open(&n, "cpu", &r);
    net_build(&n, &u, &train);
    net_good(&n, cvr_store_check_rules(n.store, &n.err));
    cr_expect_str_eq(net_entry(&n, "c1.weight")->stage, "backbone.stem");
    cr_expect_str_eq(net_entry(&n, "b1.running_mean")->stage, "backbone.stem");
    cr_expect_str_eq(net_entry(&n, "c2.weight")->stage, "backbone.body");
    cr_expect_str_eq(net_entry(&n, "fc.bias")->stage, "head");
    cr_expect_eq(net_entry(&n, "c1.weight")->role, CVR_STORE_FROZEN);
    cr_expect_eq(net_entry(&n, "b1.bias")->role, CVR_STORE_FROZEN);
    cr_expect_eq(net_entry(&n, "b1.running_mean")->role, CVR_STORE_BUFFER);
    cr_expect_eq(net_entry(&n, "c2.bias")->role, CVR_STORE_FROZEN);
    cr_expect_eq(net_entry(&n, "c2.weight")->role, CVR_STORE_TRAINED);
    const cvr_store_entry *state = net_entry(&n, "c2.weight.momentum_buffer");
    cr_expect_eq(state->role, CVR_STORE_OPTIMIZER);
    cr_expect_eq(state->of, cvr_store_find(n.store, "c2.weight"));
    cr_expect_eq(cvr_store_find(n.store, "c2.bias.momentum_buffer"), -1, "state of what is frozen");
    cr_expect(cvr_store_in_weights(net_entry(&n, "c1.weight")) && !cvr_store_in_weights(state) &&
              cvr_store_in_checkpoint(state));
    net_drop(&n, &u);
    net_close(&n);
}

/* Trains a step; whether each part changed. */
static void changes(const char *backend, const cvr_param_rules *r, bool changed[4], size_t nodes[3], uint64_t *arena) {
    static const char *const names[4] = {"c1.weight", "c2.weight", "fc.weight", "b1.running_mean"};
    static const size_t counts[4] = {STEM, BODY, HEAD, 8};
    static float before[4][HEAD], after[HEAD];
    small_net n;
    net_unit u;
    net_open(&n, backend, r);
    net_build(&n, &u, &train);
    net_bind(&n, &u);
    net_images(&n, &u, 0);
    net_scalar(&n, &u, "lr", 0.5);
    for (int i = 0; i < 4; i++) net_read(&n, names[i], before[i], counts[i]);
    net_run(&n, &u);
    for (int i = 0; i < 4; i++) {
        net_read(&n, names[i], after, counts[i]);
        changed[i] = memcmp(before[i], after, counts[i] * sizeof *after) != 0;
    }
    nodes[0] = net_nodes(&u, NULL, true);
    nodes[1] = net_nodes(&u, "batch_norm2d", false);
    nodes[2] = net_nodes(&u, "batch_norm2d_inference", false);
    *arena = cvr_program_arena_bytes(u.program);
    net_drop(&n, &u);
    net_close(&n);
}

/* What is frozen stays, its batch norm too, and nothing of the backward pass stands below the deepest trained layer. */
static void check_freezing(const char *backend) {
    const cvr_param_rules none = rules(""), backbone = rules("backbone"), head = rules("head");
    cvr_param_rules loose = rules("backbone");
    bool changed[4];
    size_t all[3], few[3], top[3];
    uint64_t whole, small, other;
    loose.train_frozen = true;
    changes(backend, &none, changed, all, &whole);
    cr_expect(changed[0] && changed[1] && changed[2] && changed[3] && all[1] == 1 && all[2] == 0);
    changes(backend, &backbone, changed, few, &small);
    cr_expect(!changed[0] && !changed[1] && changed[2] && !changed[3], "%s", backend);
    cr_expect(few[1] == 0 && few[2] == 1);
    cr_expect_lt(2 * few[0], all[0], "%zu backward nodes of %zu are left", few[0], all[0]);
    cr_expect_lt(small, whole);
    changes(backend, &loose, changed, few, &small);
    cr_expect(!changed[0] && !changed[1] && changed[2] && changed[3] && few[1] == 1);
    changes(backend, &head, changed, top, &other);
    cr_expect(changed[0] && changed[1] && !changed[2] && changed[3]);
    cr_expect_lt(top[0], all[0]);
}

Test(rules, freeze_on_cpu) {
    check_freezing("cpu");
}
Test(rules, freeze_on_far) {
    check_freezing("far");
}
Test(rules, freeze_on_reference) {
    check_freezing("reference");
}

/* A gradient passes through a frozen batch norm to what is trained below it. */
Test(rules, train_below_what_is_frozen) {
    const cvr_param_rules r = rules("b1,c2");
    bool changed[4];
    size_t nodes[3];
    uint64_t arena;
    changes("cpu", &r, changed, nodes, &arena);
    cr_expect(changed[0] && !changed[1] && changed[2] && !changed[3] && nodes[2] == 1);
}

/* One step of SGD: p - p' = lr * factor * (g + decay * p). */
static void one_step(const char *backend, const char *optimizer, const cvr_param_rules *r, double decay, float *moved,
                     const char *name, size_t count) {
    static float before[HEAD], after[HEAD];
    small_net n;
    net_unit u;
    const net_spec spec = {
        .parts = NET_TRAIN | NET_UPDATE, .batch = 4, .optimizer = optimizer, .weight_decay = decay, .passes = "auto"};
    net_open(&n, backend, r);
    net_build(&n, &u, &spec);
    net_bind(&n, &u);
    net_images(&n, &u, 0);
    net_scalar(&n, &u, "lr", 0.25);
    net_read(&n, name, before, count);
    net_run(&n, &u);
    net_read(&n, name, after, count);
    for (size_t i = 0; i < count; i++) moved[i] = before[i] - after[i];
    net_drop(&n, &u);
    net_close(&n);
}

static void check_factors(const char *backend, const char *optimizer) {
    static float plain[HEAD], tenth[HEAD], same[HEAD];
    cvr_param_rules none = rules(NULL), r = rules(NULL);
    r.lr_factors = "*:3, backbone:0.125";
    one_step(backend, optimizer, &none, 0.125, plain, "c2.weight", BODY);
    one_step(backend, optimizer, &r, 0.125, tenth, "c2.weight", BODY);
    for (int i = 0; i < BODY; i++)
        cr_assert_float_eq(tenth[i], plain[i] * 0.125f, 1e-6f, "%s on %s: %g, %g", optimizer, backend, (double)tenth[i],
                           (double)plain[i]);
    one_step(backend, optimizer, &none, 0, plain, "fc.weight", HEAD);
    r.lr_factors = "head:1";
    r.weight_decays = "head:0";
    one_step(backend, optimizer, &r, 0.125, same, "fc.weight", HEAD);
    cr_expect_eq(memcmp(plain, same, sizeof same), 0, "%s on %s: a factor of 1 and a decay of 0 change bits", optimizer,
                 backend);
}

Test(rules, factors) {
    static const char *const optimizers[3] = {"sgd", "adamw", "rmsprop"};
    for (int i = 0; i < 3; i++) {
        check_factors("cpu", optimizers[i]);
        check_factors("reference", optimizers[i]);
    }
}

Test(rules, refuse_what_fits_nothing) {
    static const struct {
        const char *freeze, *factors, *message;
    } cases[] = {
        {"c9", NULL, "`c9` fits no parameter and no stage"},
        {"backbone,backbone.stm", NULL, "did you mean `backbone.stem`?"},
        {NULL, "hed:2", "did you mean `head`?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        small_net n;
        net_unit u;
        cvr_param_rules r = rules(cases[i].freeze);
        r.lr_factors = cases[i].factors;
        net_open(&n, "cpu", &r);
        net_build(&n, &u, &train);
        cr_expect_eq(cvr_store_check_rules(n.store, &n.err), CVR_ERR_USAGE);
        cr_expect(strstr(n.err.message, cases[i].message), "%s", n.err.message);
        net_drop(&n, &u);
        net_close(&n);
    }
}

Test(rules, refuse_what_is_no_rule) {
    static const char *const bad[] = {"head", "head:", ":2", "head:x", "head:-1", "head:nan", "head:1e999", "head:1:2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        small_net n;
        cvr_param_rules r = rules(NULL);
        net_open(&n, "cpu", NULL);
        r.lr_factors = bad[i];
        cr_expect_eq(cvr_store_rules(n.store, &r, &n.err), CVR_ERR_USAGE, "`%s`", bad[i]);
        cr_expect(strstr(n.err.message, "PATTERN:NUMBER"), "%s", n.err.message);
        net_close(&n);
    }
}

/* ---- constants ---- */

Test(roles, constants_are_in_no_file) {
    static const int64_t shape[1] = {4};
    small_net n;
    cvr_graph *g;
    cvr_value v;
    const cvr_init init = {.struct_size = sizeof init, .kind = CVR_INIT_CONSTANT, .a = 2};
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = "anchors",
                                 .dtype = CVR_F32,
                                 .rank = 1,
                                 .shape = {shape[0], 1, 1, 1, 1, 1},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .init = &init};
    net_open(&n, "cpu", NULL);
    net_good(&n, cvr_graph_create(&g, n.plugins, n.store, true, &n.err));
    net_good(&n, cvr_graph_builder(g)->param(cvr_graph_builder(g), &decl, &v, &n.err));
    const cvr_store_entry *e = net_entry(&n, "anchors");
    cr_expect(e->role == CVR_STORE_CONSTANT && !cvr_store_in_weights(e) && !cvr_store_in_checkpoint(e));
    cvr_graph_destroy(&g);
    net_close(&n);
}

/* What a buffer starts with is copied, whatever its type, and is read back in logical order. */
Test(roles, given_values) {
    int64_t numbers[3] = {5, -7, INT64_MAX};
    float picture[4] = {1, 2, 3, 4}, read[4];
    small_net n;
    cvr_graph *g;
    cvr_value v;
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = "numbers",
                           .dtype = CVR_I64,
                           .rank = 1,
                           .shape = {3, 1, 1, 1, 1, 1},
                           .values = numbers};
    net_open(&n, "cpu", NULL);
    net_good(&n, cvr_graph_create(&g, n.plugins, n.store, true, &n.err));
    const cvr_builder *b = cvr_graph_builder(g);
    net_good(&n, b->param(b, &decl, &v, &n.err));
    decl.name = "picture";
    decl.dtype = CVR_F32;
    decl.rank = 4;
    memcpy(decl.shape, (const int64_t[4]){1, 2, 2, 1}, 4 * sizeof *decl.shape);
    decl.values = picture;
    net_good(&n, b->param(b, &decl, &v, &n.err));
    decl.name = "nothing";
    decl.values = NULL;
    cr_expect_neq(b->param(b, &decl, &v, &n.err), CVR_OK);
    memset(numbers, 0, sizeof numbers);
    memset(picture, 0, sizeof picture);
    net_good(&n, cvr_store_place(n.store, n.device, &n.err));
    net_good(&n, cvr_store_read(n.store, (size_t)cvr_store_find(n.store, "numbers"), numbers, &n.err));
    net_good(&n, cvr_store_read(n.store, (size_t)cvr_store_find(n.store, "picture"), read, &n.err));
    cr_expect(numbers[0] == 5 && numbers[1] == -7 && numbers[2] == INT64_MAX);
    for (int i = 0; i < 4; i++) cr_expect_eq(read[i], (float)(i + 1));
    cvr_graph_destroy(&g);
    net_close(&n);
}

/* ---- a second network ---- */

/* The teacher has weights of its own, and does what the network does in evaluation; it is not trained. */
static void check_teacher(const char *backend) {
    small_net n;
    cvr_graph *g;
    cvr_program *p;
    cvr_value x, a, t, diff, loss;
    cvr_type type;
    cvr_arena *arena;
    static float weight[STEM], own[STEM];
    const cvr_param_rules r = rules(NULL);
    net_open(&n, backend, &r);
    net_good(&n, cvr_graph_create(&g, n.plugins, n.store, true, &n.err));
    const cvr_builder *b = cvr_graph_builder(g);
    cvr_type_set(&type, CVR_F32, 4, (int64_t[4]){2, 3, 8, 8});
    net_good(&n, cvr_graph_input(g, "image", &type, &x, &n.err));
    net_good(&n, cvr_layer(b, "c1", "conv2d", "8 kernel_size=3 padding=1", x, &a, &n.err));
    net_good(&n, cvr_layer(b, "b1", "batch_norm2d", "", a, &a, &n.err));
    net_good(&n, cvr_graph_enter(g, "teacher", CVR_NETWORK_FROZEN, &n.err));
    cr_expect_neq(cvr_graph_enter(g, "inner", CVR_NETWORK_FROZEN, &n.err), CVR_OK);
    cr_expect_eq(b->training, 0);
    net_good(&n, cvr_layer(b, "c1", "conv2d", "8 kernel_size=3 padding=1", x, &t, &n.err));
    net_good(&n, cvr_layer(b, "b1", "batch_norm2d", "", t, &t, &n.err));
    cvr_graph_leave(g);
    cr_expect(b->training == 1 && strcmp(b->scope(b), "") == 0);
    const cvr_value pair[2] = {a, t};
    net_good(&n, cvr_layer2(b, "product", "mul", "", pair, &diff, &n.err));
    net_good(&n, cvr_layer(b, "loss", "mean", "", diff, &loss, &n.err));
    net_good(&n, cvr_graph_output(g, "loss", loss, &n.err));
    net_good(&n, cvr_graph_backward(g, loss, &n.err));
    const void *desc;
    void *attrs;
    net_good(&n, cvr_plugins_find(n.plugins, CVR_KIND_OPTIMIZER, "adamw", &desc, &n.err));
    const cvr_optimizer_desc *adamw = desc;
    const cvr_schema schema = {adamw->attrs, adamw->n_attrs};
    net_good(&n, cvr_attrs_parse(&schema, "", NULL, "adamw", &attrs, &n.err));
    net_good(&n, cvr_graph_update(g, &(cvr_update_policy){adamw, attrs, 0, 0, 0}, &n.err));
    net_good(&n, cvr_graph_average(g, &n.err));
    cvr_free(attrs);
    net_good(&n, cvr_program_plan(&p, g, n.device, n.pool, CVR_FALLBACK_ALLOW, &n.err));
    net_good(&n, cvr_arena_create(&arena, n.device, &p, 1, 0, &n.err));
    net_good(&n, cvr_store_place(n.store, n.device, &n.err));
    net_good(&n, cvr_program_bind(p, arena, &n.err));
    net_unit u = {g, p, arena};
    const cvr_store_entry *e = net_entry(&n, "teacher.c1.weight");
    cr_expect(e->role == CVR_STORE_FROZEN && strcmp(e->network, "teacher") == 0 && !cvr_store_in_weights(e) &&
              !cvr_store_in_checkpoint(e));
    cr_expect_eq(cvr_store_find(n.store, "teacher.c1.weight.exp_avg"), -1);
    cr_expect_eq(cvr_store_find(n.store, "teacher.b1.running_mean.average"), -1);
    cr_expect_geq(cvr_store_find(n.store, "b1.running_mean.average"), 0);
    cr_expect_eq(net_nodes(&u, "batch_norm2d_inference", false), 1);
    cr_expect_eq(net_nodes(&u, "batch_norm2d", false), 1);
    net_read(&n, "teacher.c1.weight", own, STEM);
    net_read(&n, "c1.weight", weight, STEM);
    cr_expect_neq(memcmp(own, weight, sizeof own), 0, "the teacher starts as the network");
    net_images(&n, &u, 0);
    net_scalar(&n, &u, "loss_scale", 1);
    net_scalar(&n, &u, "lr", 0.1);
    net_run(&n, &u);
    static float after[STEM];
    net_read(&n, "teacher.c1.weight", after, STEM);
    cr_expect_eq(memcmp(own, after, sizeof own), 0);
    net_read(&n, "c1.weight", after, STEM);
    cr_expect_neq(memcmp(weight, after, sizeof own), 0);
    net_drop(&n, &u);
    net_close(&n);
}

Test(networks, a_teacher) {
    check_teacher("cpu");
    check_teacher("far");
    check_teacher("reference");
}

/* ---- scalars ---- */

/* Scalars have any names; all are there in the next run, also after another program has used the arena. */
Test(scalars, any_name) {
    small_net n;
    net_unit u[2];
    float out;
    net_open(&n, "far", NULL);
    for (int k = 0; k < 2; k++) {
        cvr_value a, b, sum;
        memset(&u[k], 0, sizeof u[k]);
        net_good(&n, cvr_graph_create(&u[k].graph, n.plugins, n.store, false, &n.err));
        const cvr_builder *builder = cvr_graph_builder(u[k].graph);
        net_good(&n, builder->scalar(builder, "acme.first", CVR_F32, &a, &n.err));
        net_good(&n, builder->scalar(builder, "acme.second", CVR_F32, &b, &n.err));
        cr_expect_neq(builder->scalar(builder, "acme.second", CVR_I64, &sum, &n.err), CVR_OK);
        const cvr_value pair[2] = {a, b};
        net_good(&n, cvr_emit(builder, "add", NULL, 0, pair, 2, &sum, &n.err));
        net_good(&n, cvr_graph_output(u[k].graph, "sum", sum, &n.err));
        net_good(&n, cvr_program_plan(&u[k].program, u[k].graph, n.device, n.pool, CVR_FALLBACK_ALLOW, &n.err));
    }
    net_good(&n,
             cvr_arena_create(&u[0].arena, n.device, (cvr_program *const[]){u[0].program, u[1].program}, 2, 0, &n.err));
    for (int k = 0; k < 2; k++) net_good(&n, cvr_program_bind(u[k].program, u[0].arena, &n.err));
    for (int round = 0; round < 3; round++)
        for (int k = 0; k < 2; k++) {
            if (round == 0) net_scalar(&n, &u[k], "acme.first", 100 * (k + 1));
            if (round == 1) net_scalar(&n, &u[k], "acme.second", k + 1);
            net_run(&n, &u[k]);
            net_good(&n, cvr_program_read(u[k].program, cvr_program_slot(u[k].program, "sum"), &out, &n.err));
            cr_expect_float_eq(out, (float)((round ? 101 : 100) * (k + 1)), 0, "round %d, program %d: %g", round, k,
                               (double)out);
        }
    cr_expect_eq(cvr_program_slot(u[0].program, "acme.third"), -1);
    net_drop(&n, &u[1]);
    net_drop(&n, &u[0]);
    net_close(&n);
}
