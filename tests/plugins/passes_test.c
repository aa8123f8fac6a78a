/*
 * Passes change no result: every random case, and chains that are made for them, with passes and without. In f32 no bit
 * of what fuse_conv, fuse_elementwise and fuse_dense make of a training step differs, gradients included; fuse_norm,
 * fuse_stats and fuse_grads add up in another order.
 */
#include "support/agree.h"
#include "support/each_draw.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define EXACT "fuse_conv,fuse_elementwise,fuse_dense"
#define NORMS "fuse_norm,fuse_stats,fuse_grads"
#define NORM_FAR 2e-5 /* relative */

typedef struct fused {
    case_machine machine;
    const char *passes;
    bool low;
    size_t nodes; /* that passes made */
} fused;

static void count_fused(fused *f, const layer_case *c) {
    case_run *run;
    cvr_error err;
    cvr_error_init(&err);
    if (case_open(&run, &f->machine, c, &err) != CVR_OK) return;
    for (size_t i = 0; i < cvr_program_nodes(case_program(run)); i++) {
        cvr_node_info info;
        cvr_program_node(case_program(run), i, &info);
        f->nodes += strncmp(info.op, "elementwise", 11) == 0 || strcmp(info.op, "conv2d_act") == 0 ||
                    strcmp(info.op, "conv2d_backward_input_norm") == 0 ||
                    (strcmp(info.op, "batch_norm2d_act") == 0 && !info.backward);
    }
    case_close(&run);
}

/* bf16: what is no longer rounded in between, and sums that are 0 but for the rounding of their terms. */
static bool alike(const fused *f, const layer_case *c, const case_tensor *have, const case_tensor *want) {
    if (f->low) return case_distance_rounded(c, have, want, AGREE_LOW, 9) <= 1;
    if (strcmp(f->passes, EXACT) != 0) return case_distance_in(c, have, want, NORM_FAR) <= 1;
    return case_bytes(&have->type) == case_bytes(&want->type) &&
           memcmp(have->data, want->data, case_bytes(&want->type)) == 0;
}

static void compare(void *ctx, layer_case *c, char *why, size_t size) {
    fused *f = ctx;
    case_result plain, with;
    cvr_error err;
    cvr_error_init(&err);
    c->low = f->low ? CVR_BF16 : 0;
    if (case_result_of(&f->machine, c, &plain, &err) != CVR_OK) {
        (void)snprintf(why, size, "%.400s", err.message);
        return;
    }
    c->passes = f->passes;
    count_fused(f, c);
    if (case_result_of(&f->machine, c, &with, &err) == CVR_OK) {
        for (uint32_t i = 0; i < plain.n && !*why; i++) {
            const case_tensor *have = case_result_find(&with, plain.all[i].name);
            if (!have || !alike(f, c, have, &plain.all[i])) (void)snprintf(why, size, "%s differs", plain.all[i].name);
        }
        case_result_clear(&with);
    } else {
        (void)snprintf(why, size, "with passes: %.400s", err.message);
    }
    case_result_clear(&plain);
}

static size_t compare_all(const char *folder, const char *family, const char *passes, bool low, size_t *nodes) {
    fused f = {.passes = passes, .low = low};
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_eq(machine_open(&f.machine, "cpu", NULL, 2, &err), CVR_OK, "%s", err.message);
    const size_t complaints = for_each_draw(folder, family, &f.machine, compare, &f);
    machine_close(&f.machine);
    *nodes = f.nodes;
    return complaints;
}

Test(passes, every_layer) {
    size_t nodes;
    cr_assert_eq(compare_all(CVR_TEST_DIR "/layers/cases", "", EXACT, false, &nodes), 0);
}

/* Every draw of every line has something to fuse. */
Test(passes, chains) {
    size_t nodes, n_files, n_lines;
    free(case_lines(CVR_TEST_DIR "/plugins/cases", "passes", &n_files, &n_lines));
    cr_assert_eq(compare_all(CVR_TEST_DIR "/plugins/cases", "passes", EXACT, false, &nodes), 0);
    cr_assert_geq(nodes, n_lines * draws_wanted(), "%zu nodes are fused in %zu lines", nodes, n_lines);
}

Test(passes, chains_bf16) {
    size_t nodes;
    cr_assert_eq(compare_all(CVR_TEST_DIR "/plugins/cases", "passes", EXACT, true, &nodes), 0);
    cr_assert_gt(nodes, 0);
}

/* Every draw of every line has a batch norm whose gradient a convolution's data gradient sums up. */
Test(passes, grads) {
    size_t nodes, n_files, n_lines;
    free(case_lines(CVR_TEST_DIR "/plugins/cases", "grads", &n_files, &n_lines));
    cr_assert_eq(compare_all(CVR_TEST_DIR "/plugins/cases", "grads", "fuse_grads", false, &nodes), 0);
    cr_assert_geq(nodes, n_lines * draws_wanted(), "%zu nodes are fused in %zu lines", nodes, n_lines);
}

Test(passes, grads_bf16) {
    size_t nodes, n_files, n_lines;
    free(case_lines(CVR_TEST_DIR "/plugins/cases", "grads", &n_files, &n_lines));
    cr_assert_eq(compare_all(CVR_TEST_DIR "/plugins/cases", "grads", "fuse_grads", true, &nodes), 0);
    cr_assert_geq(nodes, n_lines * draws_wanted(), "%zu nodes are fused in %zu lines", nodes, n_lines);
}

/* Every draw of every line has a frozen batch norm that becomes part of a convolution, in a training step as well. */
Test(passes, frozen) {
    size_t nodes, n_files, n_lines;
    free(case_lines(CVR_TEST_DIR "/plugins/cases", "frozen", &n_files, &n_lines));
    for (int low = 0; low < 2; low++) {
        cr_assert_eq(compare_all(CVR_TEST_DIR "/plugins/cases", "frozen", "fuse_conv", low, &nodes), 0);
        cr_assert_geq(nodes, n_lines * draws_wanted(), "%zu nodes are fused in %zu lines", nodes, n_lines);
    }
}

/* Not in bf16, where statistics are of what was not rounded yet. */
Test(passes, norms) {
    size_t nodes, n_files, n_lines;
    free(case_lines(CVR_TEST_DIR "/plugins/cases", "norms", &n_files, &n_lines));
    cr_assert_eq(compare_all(CVR_TEST_DIR "/plugins/cases", "norms", NORMS, false, &nodes), 0);
    cr_assert_geq(nodes, n_lines * draws_wanted(), "%zu nodes are fused in %zu lines", nodes, n_lines);
}

/* How many nodes of an op the step of a linear layer and an activation has after these passes. */
static size_t dense_nodes(const char *layer, const char *passes, const char *op) {
    cvr_plugins *plugins;
    cvr_store *store;
    cvr_graph *g;
    cvr_value x;
    cvr_type type;
    cvr_error err;
    size_t n = 0;
    cvr_error_init(&err);
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_store_create(&store, 1, &err), CVR_OK);
    cr_assert_eq(cvr_graph_create(&g, plugins, store, true, &err), CVR_OK);
    cvr_type_set(&type, CVR_F32, 2, (int64_t[2]){4, 6});
    cr_assert_eq(cvr_graph_input(g, "image", &type, &x, &err), CVR_OK);
    cr_assert_eq(cvr_layer(cvr_graph_builder(g), "fc", "linear", "5", x, &x, &err), CVR_OK);
    cr_assert_eq(
        cvr_layer(cvr_graph_builder(g), "next", layer, strcmp(layer, "softmax") == 0 ? "dim=1" : "", x, &x, &err),
        CVR_OK);
    cr_assert_eq(cvr_layer(cvr_graph_builder(g), "loss", "mean", "", x, &x, &err), CVR_OK);
    cr_assert_eq(cvr_graph_backward(g, x, &err), CVR_OK, "%s", err.message);
    for (size_t i = 1; i < 3; i++) { /* gradients that nobody reads do not run */
        char name[8];
        const cvr_value v = cvr_graph_param(g, i == 1 ? "fc.weight" : "fc.bias");
        (void)snprintf(name, sizeof name, "grad%zu", i);
        cr_assert_eq(cvr_graph_output(g, name, cvr_graph_gradient(g, v), &err), CVR_OK, "%s", err.message);
    }
    cr_assert_eq(cvr_graph_passes(g, CVR_PASS_STEP, passes, &err), CVR_OK, "%s", err.message);
    for (size_t i = 0; i < cvr_graph_nodes(g); i++) {
        cvr_graph_node_info info;
        cvr_graph_node(g, i, &info);
        n += strcmp(info.op->name, op) == 0;
    }
    cvr_graph_destroy(&g);
    cvr_store_destroy(&store);
    cvr_plugins_close(&plugins);
    return n;
}

/* Weight's and bias's gradient become one, unless an activation's gradient takes the bias's along. */
Test(passes, dense) {
    cr_expect_eq(dense_nodes("softmax", "none", "linear_backward_weight_bias"), 0);
    cr_expect_eq(dense_nodes("softmax", "auto", "linear_backward_weight_bias"), 1);
    cr_expect_eq(dense_nodes("softmax", "auto", "linear_backward_bias"), 0);
    cr_expect_eq(dense_nodes("gelu", "fuse_dense", "linear_backward_weight_bias"), 1);
    cr_expect_eq(dense_nodes("gelu", "auto", "linear_backward_weight_bias"), 0);
    cr_expect_eq(dense_nodes("gelu", "auto", "elementwise_sum"), 1);
}
