/*
 * What happens to gradients between the backward pass and the updates: parts of a batch against the whole batch,
 * running means and clipping against PyTorch (tests/golden/running.safetensors), plugins that replace gradients and
 * veto.
 *
 * Tolerance of parts: 2e-5 of the largest number, the rounding of sums in another order over three updates. Of the
 * rest: |a - b| <= 2e-6 (|b| + max |b|), a few roundings of f32.
 */
#include "../apps/session/session_parts.h"
#include "support/golden.h"
#include "support/small_net.h"
#include <criterion/criterion.h>
#include <math.h>

#define HEAD (5 * 8 * 8 * 8)
#define RELATIVE 2e-6

/* ---- parts of a batch ---- */

static float largest(const float *x, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i]));
    return most;
}

/* Three updates by batches of 8, whole. */
static void whole_batches(const char *backend, const char *optimizer, float *head, float *moved) {
    const net_spec spec = {.parts = NET_TRAIN | NET_UPDATE, .batch = 8, .optimizer = optimizer, .passes = "auto"};
    small_net n;
    net_unit u;
    net_open(&n, backend, NULL);
    net_build(&n, &u, &spec);
    net_bind(&n, &u);
    net_read(&n, "fc.weight", moved, HEAD);
    for (int step = 0; step < 3; step++) {
        net_images(&n, &u, 8 * step);
        net_scalar(&n, &u, "lr", optimizer ? 0.001 : 0.5);
        net_scalar(&n, &u, "updates", step);
        net_run(&n, &u);
    }
    net_read(&n, "fc.weight", head, HEAD);
    for (size_t i = 0; i < HEAD; i++) moved[i] -= head[i];
    net_drop(&n, &u);
    net_close(&n);
}

/* The same in parts of 3, 3 and 2: the last has a program of its own, and weighs less. */
static void in_parts(const char *backend, const char *optimizer, const cvr_gradient_plugin *plugins, size_t n_plugins,
                     float *head) {
    const net_spec three = {.parts = NET_TRAIN | NET_ACCUMULATE, .batch = 3, .passes = "auto"},
                   two = {.parts = NET_TRAIN | NET_ACCUMULATE, .batch = 2, .passes = "auto"},
                   apply = {.parts = NET_TRAIN | NET_APPLY | NET_UPDATE,
                            .optimizer = optimizer,
                            .plugins = plugins,
                            .n_plugins = n_plugins,
                            .passes = "auto"};
    small_net n;
    net_unit u[3];
    net_open(&n, backend, NULL);
    net_build(&n, &u[0], &three);
    net_build(&n, &u[1], &two);
    net_build(&n, &u[2], &apply);
    for (int i = 0; i < 3; i++) net_bind(&n, &u[i]);
    for (int step = 0; step < 3; step++) {
        for (int part = 0; part < 3; part++) {
            net_unit *p = &u[part == 2];
            net_images(&n, p, 8 * step + 3 * part);
            net_scalar(&n, p, "micro_step", part);
            net_scalar(&n, p, "loss_scale", part == 2 ? 2.0 / 8 : 3.0 / 8);
            net_run(&n, p);
        }
        net_scalar(&n, &u[2], "lr", optimizer ? 0.001 : 0.5);
        net_scalar(&n, &u[2], "updates", step);
        net_run(&n, &u[2]);
    }
    net_read(&n, "fc.weight", head, HEAD);
    cr_expect_eq(net_entry(&n, "fc.weight.gradient")->role, CVR_STORE_GRADIENT);
    cr_expect(!cvr_store_in_checkpoint(net_entry(&n, "fc.weight.gradient")));
    for (int i = 2; i >= 0; i--) net_drop(&n, &u[i]);
    net_close(&n);
}

static void check_parts(const char *backend, const char *optimizer) {
    static float whole[HEAD], parts[HEAD], moved[HEAD];
    whole_batches(backend, optimizer, whole, moved);
    in_parts(backend, optimizer, NULL, 0, parts);
    const float most = largest(moved, HEAD);
    cr_expect_gt(most, 2e-3f, "nothing is trained: %g", (double)most);
    for (size_t i = 0; i < HEAD; i++)
        cr_assert_float_eq(whole[i], parts[i], 1e-4f * most, "%s: %zu is %g, not %g", backend, i, (double)parts[i],
                           (double)whole[i]);
}

Test(parts, cpu) {
    check_parts("cpu", NULL);
    check_parts("cpu", "adamw");
}
Test(parts, far) {
    check_parts("far", NULL);
}
Test(parts, reference) {
    check_parts("reference", NULL);
}

/* ---- a gradient plugin, and its veto ---- */

/* As a stranger's plugin would: leaves gradients of the head out, by a mask that is a product with zeros. */
static int32_t mask_head(const cvr_gradients *g, cvr_error *err) {
    for (uint64_t i = 0; i < g->n; i++) {
        cvr_value zero, pair[2] = {g->all[i]->grad}, masked;
        if (strncmp(g->all[i]->name, "fc.", 3) != 0) continue;
        CVR_TRY(g->builder->scalar(g->builder, "acme.zero", CVR_F32, &zero, err));
        pair[1] = zero;
        CVR_TRY(cvr_emit(g->builder, "gradient_scale", NULL, 0, pair, 2, &masked, err));
        CVR_TRY(g->replace(g, i, masked, err));
    }
    return CVR_OK;
}

static int32_t veto_by_scalar(const cvr_gradients *g, cvr_error *err) {
    cvr_value v, pair[2], sum;
    CVR_TRY(g->builder->scalar(g->builder, "acme.veto", CVR_F32, &v, err));
    pair[0] = pair[1] = v;
    CVR_TRY(cvr_emit(g->builder, "add", NULL, 0, pair, 2, &sum, err));
    return g->veto(g, "acme.vetoed", sum, err);
}

static int32_t wrong_shape(const cvr_gradients *g, cvr_error *err) {
    return g->replace(g, 0, g->all[1]->grad, err);
}

static int32_t out_of_range(const cvr_gradients *g, cvr_error *err) {
    return g->replace(g, g->n, g->all[0]->grad, err);
}

static int32_t big_veto(const cvr_gradients *g, cvr_error *err) {
    return g->veto(g, "acme.big", g->all[0]->grad, err);
}

#define PLUGIN(name_, run_)                                                                                            \
    { .struct_size = sizeof(cvr_gradient_desc), .name = name_, .run = run_ }
static const cvr_gradient_desc mask = PLUGIN("acme.mask", mask_head), veto = PLUGIN("acme.veto", veto_by_scalar),
                               wrong[3] = {PLUGIN("acme.shape", wrong_shape), PLUGIN("acme.range", out_of_range),
                                           PLUGIN("acme.big", big_veto)};

static void check_veto(const char *backend, const char *passes) {
    static float before[HEAD], after[HEAD];
    const cvr_gradient_plugin plugins[2] = {{&mask, NULL}, {&veto, NULL}};
    const net_spec spec = {.parts = NET_TRAIN | NET_UPDATE | NET_AVERAGE | NET_BATCH_NORM,
                           .batch = 4,
                           .settings = "momentum=0.9",
                           .plugins = plugins,
                           .n_plugins = 2,
                           .passes = passes};
    small_net n;
    net_unit u;
    net_open(&n, backend, NULL);
    net_build(&n, &u, &spec);
    net_bind(&n, &u);
    net_scalar(&n, &u, "lr", 0.5);
    net_scalar(&n, &u, "average_weight", 1);
    for (int run = 0; run < 5; run++) {
        const double says[5] = {0, 1, 0, (double)NAN, 0};
        net_images(&n, &u, run);
        net_scalar(&n, &u, "acme.veto", says[run]);
        net_scalar(&n, &u, "acme.zero", run == 4);
        net_run(&n, &u);
        const bool vetoed = run == 1 || run == 3;
        cr_expect_eq(cvr_program_vetoed(u.program), vetoed, "%s: run %d", backend, run);
        net_read(&n, "fc.weight", after, HEAD);
        net_read(&n, "fc.weight.average", before, HEAD);
        cr_expect_eq(memcmp(before, after, sizeof after), 0, "%s: the mean is no copy after run %d", backend, run);
    }
    net_drop(&n, &u);
    net_close(&n);
}

/* What a run changes: (c2, fc). */
static void what_changes(const char *backend, double zero, double says, bool changed[2]) {
    static float before[HEAD], after[HEAD], body[8 * 8 * 9], later[8 * 8 * 9];
    const cvr_gradient_plugin plugins[2] = {{&mask, NULL}, {&veto, NULL}};
    const net_spec spec = {.parts = NET_TRAIN | NET_UPDATE, .batch = 4, .plugins = plugins, .n_plugins = 2};
    small_net n;
    net_unit u;
    net_open(&n, backend, NULL);
    net_build(&n, &u, &spec);
    net_bind(&n, &u);
    net_scalar(&n, &u, "lr", 0.5);
    net_images(&n, &u, 0);
    net_scalar(&n, &u, "acme.veto", says);
    net_scalar(&n, &u, "acme.zero", zero);
    net_read(&n, "fc.weight", before, HEAD);
    net_read(&n, "c2.weight", body, 8 * 8 * 9);
    net_run(&n, &u);
    net_read(&n, "fc.weight", after, HEAD);
    net_read(&n, "c2.weight", later, 8 * 8 * 9);
    changed[0] = memcmp(body, later, sizeof body) != 0;
    changed[1] = memcmp(before, after, sizeof after) != 0;
    net_drop(&n, &u);
    net_close(&n);
}

Test(plugins, replace_and_veto) {
    static const char *const backends[3] = {"cpu", "far", "reference"};
    bool changed[2];
    for (int i = 0; i < 3; i++) {
        what_changes(backends[i], 0, 0, changed);
        cr_expect(changed[0] && !changed[1], "%s: the mask", backends[i]);
        what_changes(backends[i], 1, 0, changed);
        cr_expect(changed[0] && changed[1], "%s: no mask", backends[i]);
        what_changes(backends[i], 1, -0.0, changed);
        cr_expect(changed[0] && changed[1], "%s: minus zero", backends[i]);
        what_changes(backends[i], 1, 0.5, changed);
        cr_expect(!changed[0] && !changed[1], "%s: a veto", backends[i]);
        check_veto(backends[i], "none");
    }
    check_veto("cpu", "auto");
}

Test(plugins, are_refused_by_name) {
    static const char *const messages[3] = {"another shape", "replaces gradient", "a veto is one number"};
    for (int i = 0; i < 3; i++) {
        const net_spec spec = {.parts = NET_TRAIN, .batch = 2};
        const cvr_gradient_plugin plugin = {&wrong[i], NULL};
        small_net n;
        net_unit u;
        net_open(&n, "cpu", NULL);
        net_build(&n, &u, &spec);
        cr_expect_eq(cvr_graph_gradients(u.graph, &plugin, 1, &n.err), CVR_ERR_PLUGIN);
        cr_expect(strstr(n.err.message, messages[i]) && strstr(n.err.message, wrong[i].name), "%s", n.err.message);
        net_drop(&n, &u);
        net_close(&n);
    }
}

/* ---- against PyTorch ---- */

static const golden_tensor *need(golden *g, const char *label, const char *field) {
    const golden_tensor *t = golden_find(g, label, field);
    cr_assert_not_null(t, "case %s has no field %s", label, field);
    return t;
}

static int64_t whole(golden *g, const char *label, const char *field) {
    int64_t v;
    memcpy(&v, need(g, label, field)->data, sizeof v);
    return v;
}

static double real(golden *g, const char *label, const char *field) {
    double v;
    memcpy(&v, need(g, label, field)->data, sizeof v);
    return v;
}

static void expect_close(const char *label, const float *have, const float *want, size_t n) {
    const float most = largest(want, n);
    for (size_t i = 0; i < n; i++)
        cr_assert_leq(fabs((double)have[i] - (double)want[i]), RELATIVE * (double)(fabsf(want[i]) + most),
                      "%s: %zu is %.9g, PyTorch's %.9g", label, i, (double)have[i], (double)want[i]);
}

static int32_t declare(const cvr_builder *b, const char *name, uint32_t dtype, const cvr_type *like, cvr_value *out,
                       cvr_error *err) {
    const cvr_init zero = {.struct_size = sizeof zero, .kind = CVR_INIT_CONSTANT};
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = name,
                           .dtype = dtype,
                           .rank = like->rank,
                           .flags = dtype == CVR_F32 ? CVR_PARAM_TRAINABLE : 0,
                           .init = &zero};
    memcpy(decl.shape, like->shape, sizeof decl.shape);
    return b->param(b, &decl, out, err);
}

/* torchvision's loop: weights by ema_weight(), means by the op. */
static void check_ema(small_net *n, golden *g, const char *label) {
    const train_settings settings = {.batch = whole(g, label, "batch"),
                                     .epochs = whole(g, label, "epochs"),
                                     .ema_decay = real(g, label, "decay"),
                                     .ema_steps = whole(g, label, "ema_steps")};
    const int64_t steps = whole(g, label, "steps"), warmup = whole(g, label, "warmup");
    const float *p = (const float *)(const void *)need(g, label, "p")->data,
                *means = (const float *)(const void *)need(g, label, "average")->data;
    const int64_t *counter = (const int64_t *)(const void *)need(g, label, "n")->data,
                  *counted = (const int64_t *)(const void *)need(g, label, "counter")->data;
    net_unit u = {NULL, NULL, NULL};
    cvr_value v;
    cvr_type type, scalar;
    cvr_type_set(&type, CVR_F32, 2, (int64_t[2]){7, 5});
    cvr_type_set(&scalar, CVR_I64, 0, NULL);
    net_good(n, cvr_graph_create(&u.graph, n->plugins, n->store, true, &n->err));
    net_good(n, declare(cvr_graph_builder(u.graph), "p", CVR_F32, &type, &v, &n->err));
    net_good(n, declare(cvr_graph_builder(u.graph), "n", CVR_I64, &scalar, &v, &n->err));
    net_good(n, cvr_graph_average(u.graph, &n->err));
    net_good(n, cvr_program_plan(&u.program, u.graph, n->device, n->pool, CVR_FALLBACK_ALLOW, &n->err));
    net_bind(n, &u);
    const size_t at = (size_t)cvr_store_find(n->store, "n"), mean = (size_t)cvr_store_find(n->store, "n.average");
    for (int64_t epoch = 0; epoch < settings.epochs; epoch++)
        for (int64_t i = 0; i < steps; i++, p += 35, means += 35) {
            float have[35];
            int64_t have_counter;
            net_write(n, "p", p, 35);
            net_good(n, cvr_store_write(n->store, at, &counter[epoch * steps + i], &n->err));
            net_scalar(n, &u, "average_weight", ema_weight(&settings, (double)warmup, epoch, i));
            net_run(n, &u);
            net_read(n, "p.average", have, 35);
            net_good(n, cvr_store_read(n->store, mean, &have_counter, &n->err));
            expect_close(label, have, means, 35);
            cr_expect_eq(have_counter, counted[epoch * steps + i], "%s: a counter's mean is %d, PyTorch's %d", label,
                         (int)have_counter, (int)counted[epoch * steps + i]);
        }
    net_drop(n, &u);
}

/* YOLOX's ModelEMA: decay * (1 - e^(-n / 2000)) at the n-th update, whatever batch and epochs are. */
Test(averages, ramp_as_yolox) {
    const train_settings each = {.batch = 8, .epochs = 300, .ema_decay = 0.9998, .ema_steps = 1, .ema_ramp = 2000};
    train_settings fifth = each;
    fifth.ema_steps = 5;
    cr_expect(fabs(ema_ramp_weight(&each, 0) - 0.99950022495) < 1e-9, "%.12g", ema_ramp_weight(&each, 0));
    cr_expect(fabs(ema_ramp_weight(&each, 1999) - 0.36800586528) < 1e-9, "%.12g", ema_ramp_weight(&each, 1999));
    cr_expect(fabs(ema_ramp_weight(&each, 1000000) - 0.0002) < 1e-12);
    cr_expect_eq(ema_ramp_weight(&fifth, 4), 0);
    cr_expect_eq(ema_ramp_weight(&fifth, 5), ema_ramp_weight(&each, 1));
}

/* Writes the case's `letter`0 to 4 where the program or the store has them. */
static void write_five(small_net *n, net_unit *u, golden *g, const char *label, char letter) {
    char name[16];
    for (int i = 0; i < 5; i++) {
        (void)snprintf(name, sizeof name, "%c%d", letter, i);
        const golden_tensor *t = need(g, label, name);
        void *memory = cvr_calloc(1, t->bytes);
        cr_assert(memory);
        cvr_from_logical(&t->type, t->data, memory);
        if (letter == 'g')
            net_good(n, cvr_program_write(u->program, cvr_program_slot(u->program, name), memory, &n->err));
        else
            net_good(n, cvr_store_write(n->store, (size_t)cvr_store_find(n->store, name), memory, &n->err));
        cvr_free(memory);
    }
}

static void expect_five(small_net *n, net_unit *u, golden *g, const char *label) {
    char name[16];
    float clipped[60 * 40];
    for (int i = 0; i < 5; i++) {
        (void)snprintf(name, sizeof name, "c%d", i);
        const golden_tensor *t = need(g, label, name);
        float *memory = cvr_calloc(1, t->bytes);
        cr_assert(memory);
        net_good(n, cvr_program_read(u->program, cvr_program_slot(u->program, name), memory, &n->err));
        cvr_to_logical(&t->type, memory, clipped);
        expect_close(label, clipped, (const float *)(const void *)t->data, t->bytes / sizeof(float));
        cvr_free(memory);
    }
}

/* Five gradients through the plugin, with these settings. */
static void build_clip(small_net *n, net_unit *u, golden *g, const char *label, const char *plugin,
                       const char *settings, void **attrs) {
    const void *desc;
    char name[16];
    net_good(n, cvr_plugins_find(n->plugins, CVR_KIND_GRADIENT, plugin, &desc, &n->err));
    const cvr_gradient_desc *clip = desc;
    const cvr_schema schema = {clip->attrs, clip->n_attrs};
    net_good(n, cvr_attrs_parse(&schema, settings, NULL, plugin, attrs, &n->err));
    net_good(n, cvr_graph_create(&u->graph, n->plugins, n->store, true, &n->err));
    for (int i = 0; i < 5; i++) {
        cvr_value p, gradient;
        (void)snprintf(name, sizeof name, "g%d", i);
        const cvr_type *type = &need(g, label, name)->type;
        net_good(n, cvr_graph_input(u->graph, name, type, &gradient, &n->err));
        (void)snprintf(name, sizeof name, "p%d", i);
        net_good(n, declare(cvr_graph_builder(u->graph), name, CVR_F32, type, &p, &n->err));
        net_good(n, cvr_graph_backward_from(u->graph, p, gradient, &n->err));
    }
    net_good(n, cvr_graph_gradients(u->graph, &(cvr_gradient_plugin){clip, *attrs}, 1, &n->err));
    for (int i = 0; i < 5; i++) {
        (void)snprintf(name, sizeof name, "p%d", i);
        const cvr_value p = cvr_graph_param(u->graph, name);
        name[0] = 'c';
        net_good(n, cvr_graph_output(u->graph, name, cvr_graph_gradient(u->graph, p), &n->err));
    }
    net_good(n, cvr_program_plan(&u->program, u->graph, n->device, n->pool, CVR_FALLBACK_ALLOW, &n->err));
    net_bind(n, u);
}

/* `units`: adaptive clipping, which looks at the weights, too. */
static void check_clip(small_net *n, golden *g, const char *label, bool units) {
    void *attrs;
    char settings[64];
    net_unit u = {NULL, NULL, NULL};
    float norm;
    (void)snprintf(settings, sizeof settings, units ? "clip_grad_agc=%.17g" : "clip_grad_norm=%.17g",
                   real(g, label, units ? "factor" : "max_norm"));
    build_clip(n, &u, g, label, units ? "clip_units" : "clip_norm", settings, &attrs);
    write_five(n, &u, g, label, 'g');
    if (units) write_five(n, &u, g, label, 'p');
    net_run(n, &u);
    expect_five(n, &u, g, label);
    if (!units) {
        net_good(n, cvr_program_read(u.program, cvr_program_slot(u.program, "grad_norm"), &norm, &n->err));
        expect_close(label, &norm, (const float *)(const void *)need(g, label, "norm")->data, 1);
    }
    cvr_free(attrs);
    net_drop(n, &u);
}

static void check_golden(const char *backend) {
    golden g;
    small_net first;
    net_open(&first, backend, NULL);
    net_good(&first, golden_open(&g, first.plugins, CVR_GOLDEN_DIR "/running.safetensors", &first.err));
    cr_assert_eq(g.n_cases, 9);
    for (size_t i = 0; i < g.n_cases; i++) {
        small_net n;
        net_open(&n, backend, NULL);
        if (strncmp(g.cases[i], "ema.", 4) == 0)
            check_ema(&n, &g, g.cases[i]);
        else
            check_clip(&n, &g, g.cases[i], strncmp(g.cases[i], "agc.", 4) == 0);
        net_close(&n);
    }
    golden_close(&g);
    net_close(&first);
}

Test(running, cpu) {
    check_golden("cpu");
}
Test(running, far) {
    check_golden("far");
}
Test(running, reference) {
    check_golden("reference");
}

/* Evaluation reads the running means without weights of its own. */
Test(running, evaluation_reads_the_means) {
    const net_spec train = {.parts = NET_TRAIN | NET_UPDATE | NET_AVERAGE | NET_BATCH_NORM, .batch = 4},
                   plain = {.parts = NET_BATCH_NORM, .batch = 2},
                   means = {.parts = NET_BATCH_NORM | NET_AVERAGE, .batch = 2};
    small_net n;
    net_unit t, e[2];
    float out[2][10], first[10];
    net_open(&n, "far", NULL);
    net_build(&n, &e[1], &means); /* before the means are asked for: the order does not matter */
    net_build(&n, &t, &train);
    net_build(&n, &e[0], &plain);
    net_bind(&n, &t);
    net_bind(&n, &e[0]);
    net_bind(&n, &e[1]);
    for (int run = 0; run < 3; run++) {
        const double weights[3] = {1, 0, 0.5};
        net_images(&n, &t, run);
        net_scalar(&n, &t, "lr", 0.5);
        net_scalar(&n, &t, "average_weight", weights[run]);
        net_run(&n, &t);
        for (int i = 0; i < 2; i++) {
            net_images(&n, &e[i], 0);
            net_run(&n, &e[i]);
            net_good(&n, cvr_program_read(e[i].program, cvr_program_slot(e[i].program, "out"), out[i], &n.err));
        }
        const bool same = memcmp(out[0], out[1], sizeof out[0]) == 0;
        cr_expect_eq(same, run == 0, "run %d", run);
        if (run == 0) memcpy(first, out[1], sizeof first);
        cr_expect_eq(memcmp(first, out[1], sizeof first) == 0, run < 2, "run %d: weight 0 changes the means", run);
    }
    for (int i = 0; i < 2; i++) net_drop(&n, &e[i]);
    net_drop(&n, &t);
    net_close(&n);
}
