/*
 * Running means and clipping of gradients against PyTorch (tests/golden/running.safetensors): |a - b| <= 2e-6 (|b| +
 * max |b|), a few roundings of f32. And what evaluation reads of running means.
 */
#include "../apps/session/session_parts.h"
#include "support/golden_fields.h"
#include "support/small_net.h"
#include <math.h>

#define RELATIVE 2e-6

static void expect_close(const char *label, const float *have, const float *want, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(want[i]));
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
    const train_settings settings = {.batch = golden_i64(g, label, "batch"),
                                     .epochs = golden_i64(g, label, "epochs"),
                                     .ema_decay = golden_f64(g, label, "decay"),
                                     .ema_steps = golden_i64(g, label, "ema_steps")};
    const int64_t steps = golden_i64(g, label, "steps"), warmup = golden_i64(g, label, "warmup");
    const float *p = golden_floats(g, label, "p"), *means = golden_floats(g, label, "average");
    const int64_t *counter = (const int64_t *)(const void *)golden_need(g, label, "n")->data,
                  *counted = (const int64_t *)(const void *)golden_need(g, label, "counter")->data;
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
        const golden_tensor *t = golden_need(g, label, name);
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
        const golden_tensor *t = golden_need(g, label, name);
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
        const cvr_type *type = &golden_need(g, label, name)->type;
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
                   golden_f64(g, label, units ? "factor" : "max_norm"));
    build_clip(n, &u, g, label, units ? "clip_units" : "clip_norm", settings, &attrs);
    write_five(n, &u, g, label, 'g');
    if (units) write_five(n, &u, g, label, 'p');
    net_run(n, &u);
    expect_five(n, &u, g, label);
    if (!units) {
        net_good(n, cvr_program_read(u.program, cvr_program_slot(u.program, "grad_norm"), &norm, &n->err));
        expect_close(label, &norm, golden_floats(g, label, "norm"), 1);
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
