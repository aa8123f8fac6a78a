/*
 * What happens to gradients between the backward pass and the updates: parts of a batch against the whole batch, and
 * plugins that replace gradients and veto.
 *
 * Tolerance of parts: 1e-4 of the largest change, the rounding of sums in another order over three updates.
 */
#include "support/small_net.h"
#include <criterion/criterion.h>
#include <math.h>

#define HEAD (5 * 8 * 8 * 8)

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
        bool said;
        net_good(&n, cvr_program_vetoed(u.program, &said, &n.err));
        cr_expect_eq(said, vetoed, "%s: run %d", backend, run);
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
