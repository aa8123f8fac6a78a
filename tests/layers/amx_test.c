/*
 * The kernels of the AMX packs where there is no AMX: compiled with the instructions in plain C (support/amx_shim.h) as
 * plugins of the tests' own, they run convolution and dense layers against the reference, with guard pages and without.
 *
 * They need AVX-512 with BF16 for all but the tiles. A machine without ends the test with 77, which ctest counts as
 * skipped.
 */
#define _DEFAULT_SOURCE /* setenv */
#include "support/guarded.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define SKIPPED 77
#define BF16_SHIM "cpu_amx_bf16_shim"
#define BF16X3_SHIM "cpu_amx_bf16x3_shim"

static const char *const families[] = {"conv", "linear", "peak"};

/* How many nodes of an op there were, and how many the shim's kernels ran. */
typedef struct op_count {
    const char *op;
    size_t all, ours;
} op_count;

typedef struct counting {
    const case_machine *machine;
    const char *isa; /* the shim's, which no other pack has in this order */
    bool low;
    uint32_t math;
    op_count ops[10];
    size_t n_ops;
} counting;

static void count_program(counting *k, const cvr_program *p) {
    for (size_t i = 0; i < cvr_program_nodes(p); i++) {
        cvr_node_info info;
        cvr_program_node(p, i, &info);
        for (op_count *op = k->ops; op < k->ops + k->n_ops; op++) {
            if (strcmp(op->op, info.op) != 0) continue;
            op->all++;
            op->ours += strcmp(info.isa, k->isa) == 0;
        }
    }
}

/* Training, then evaluation. */
static void count_nodes(void *ctx, layer_case *c, char *why, size_t size) {
    counting *k = ctx;
    case_run *run;
    cvr_error err;
    cvr_error_init(&err);
    c->low = k->low;
    c->math = k->math;
    for (int evaluation = 0; evaluation < 2 && !*why; evaluation++) {
        c->training = c->backward = !evaluation;
        if (case_open(&run, k->machine, c, &err) == CVR_OK)
            count_program(k, case_program(run));
        else
            (void)snprintf(why, size, "%.400s", err.message);
        case_close(&run);
    }
}

/* Without this, a pack that says no to everything would pass. */
static void ours_are_used(const char *pack, bool low, uint32_t math) {
    counting k = {.low = low,
                  .math = math,
                  .ops = {{"conv2d", 0, 0},
                          {"conv2d_backward_input", 0, 0},
                          {"conv2d_backward_weight", 0, 0},
                          {"conv_transpose2d", 0, 0},
                          {"conv2d_act", 0, 0},
                          {"linear", 0, 0},
                          {"linear_backward_input", 0, 0},
                          {"linear_backward_weight", 0, 0},
                          {"matmul", 0, 0},
                          {"peak_multiply_add", 0, 0}}};
    k.n_ops = sizeof k.ops / sizeof *k.ops - !low; /* what calibrates does so in bf16 alone */
    case_machine m;
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_eq(machine_open(&m, "cpu", NULL, 1, &err), CVR_OK, "%s", err.message);
    k.machine = &m;
    for (size_t i = 0; i < cvr_plugins_count(m.plugins); i++) {
        if (strcmp(cvr_plugins_info(m.plugins, i)->id, pack) == 0) k.isa = cvr_plugins_info(m.plugins, i)->isa;
    }
    cr_assert(k.isa, "no plugin %s", pack);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        cr_assert_eq(for_each_draw(CVR_TEST_DIR "/layers/cases", families[i], &m, count_nodes, &k), 0);
    /* The rest is depthwise, or has more taps than a call. */
    for (size_t i = 0; i < k.n_ops; i++)
        cr_expect(k.ops[i].ours > 0 && 2 * k.ops[i].ours >= k.ops[i].all, "%s: %zu of %zu nodes are by %s", k.ops[i].op,
                  k.ops[i].ours, k.ops[i].all, pack);
    machine_close(&m);
}

static void agree_in(agree_what what) {
    const bool guarded = strcmp(what.backend, "guard_cpu") == 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        what.family = families[i];
        const size_t complaints = guarded ? guarded_all(&what) : agree_all(&what);
        cr_expect_eq(complaints, 0, "%s: %zu draws fail", families[i], complaints);
    }
}

Test(amx_bf16, is_used) {
    ours_are_used(BF16_SHIM, true, CVR_MATH_F32);
}
Test(amx_bf16, agrees) {
    agree_in((agree_what){.backend = "cpu", .low = true, .relative = AGREE_LOW});
}
Test(amx_bf16, guards) {
    agree_in((agree_what){.backend = "guard_cpu", .low = true, .relative = AGREE_LOW});
}

Test(amx_bf16x3, is_used) {
    ours_are_used(BF16X3_SHIM, false, CVR_MATH_BF16X3);
}
Test(amx_bf16x3, agrees) {
    agree_in((agree_what){.backend = "cpu", .math = CVR_MATH_BF16X3, .relative = AGREE_BF16X3, .by_terms = true});
}
Test(amx_bf16x3, guards) {
    agree_in((agree_what){.backend = "guard_cpu", .math = CVR_MATH_BF16X3, .relative = AGREE_LOW});
}

/* Criterion finds main by its name as it starts a process for each test. */
__attribute__((visibility("default"))) int main(int argc, char **argv) {
    (void)setenv("CVR_PLUGIN_PATH", CVR_AMX_PLUGINS ":" CVR_TEST_PLUGINS, 1);
    const char *missing = "";
    if (!cvr_cpu_has(CVR_AMX_NEEDS, &missing)) {
        fprintf(stderr, "amx_test: skipped, since this machine lacks %.*s\n", (int)strcspn(missing, " "), missing);
        return SKIPPED;
    }
    struct criterion_test_set *tests = criterion_initialize();
    int result = 0;
    if (criterion_handle_args(argc, argv, true)) result = !criterion_run_all_tests(tests);
    criterion_finalize(tests);
    return result;
}
