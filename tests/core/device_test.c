/*
 * The device contract: a device that is strict about everything (`far`) gives the bits of the CPU, whose kernels it
 * runs; memory may come in many blocks; inputs land while a run goes on; nodes on the host copy at their edges alone; a
 * call that fails names the device, and leaves what was there before.
 */
#include "support/small_net.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define HEAD (5 * 8 * 64)
#define SMALL_BLOCK (128 * 1024) /* not much more than the largest workspace */

static const net_spec train = {
    .parts = NET_TRAIN | NET_UPDATE | NET_BATCH_NORM, .batch = 16, .settings = "momentum=0.9"};

/* As `far` has them. */
typedef struct far_settings {
    int64_t max_block, fail_call;
} far_settings;

static void open_on(small_net *n, const char *backend, const far_settings *s) {
    net_good(n, net_open_on(n, &(cvr_device_choice){.backend = backend, .attrs = s}));
}

static void train_steps(small_net *n, net_unit *u, int64_t steps, float *head) {
    net_steps(n, u, steps);
    net_read(n, "fc.weight", head, HEAD);
}

static void after_steps(const char *backend, const far_settings *s, int64_t steps, float *head) {
    small_net n;
    net_unit u;
    open_on(&n, backend, s);
    net_build(&n, &u, &train);
    net_bind(&n, &u);
    train_steps(&n, &u, steps, head);
    net_drop(&n, &u);
    net_close(&n);
}

Test(device, many_blocks_give_the_same_bits) {
    static float want[HEAD], have[HEAD];
    const far_settings one = {0, 0}, many = {SMALL_BLOCK, 0};
    after_steps("cpu", NULL, 3, want);
    after_steps("far", &one, 3, have);
    cr_expect_eq(memcmp(want, have, sizeof have), 0, "far, in one block, computes something else");
    after_steps("far", &many, 3, have);
    cr_expect_eq(memcmp(want, have, sizeof have), 0, "far, in many blocks, computes something else");
}

Test(device, blocks_are_as_small_as_the_device_says) {
    small_net n;
    net_unit u;
    const far_settings many = {SMALL_BLOCK, 0};
    uint64_t bytes, largest = 0, sum = 0;
    size_t blocks = 0;
    open_on(&n, "far", &many);
    net_build(&n, &u, &train);
    net_bind(&n, &u);
    for (; cvr_arena_block(u.arena, blocks, &bytes); blocks++) {
        largest = bytes > largest ? bytes : largest;
        sum += bytes;
        cr_expect_eq((uintptr_t)cvr_arena_block(u.arena, blocks, &bytes) % cvr_device_info_of(n.device)->alignment, 0);
    }
    cr_expect_gt(blocks, 1, "the arena has %zu block", blocks);
    cr_expect_leq(largest, (uint64_t)many.max_block);
    cr_expect_lt(sum, cvr_arena_bytes(u.arena), "nothing lands");
    net_drop(&n, &u);
    net_close(&n);
}

/* A tensor that no block can hold is named before anything runs. */
Test(device, refuses_what_no_block_holds) {
    small_net n;
    net_unit u = {0};
    const far_settings small = {2048, 0};
    cvr_type type;
    cvr_value x;
    open_on(&n, "far", &small);
    net_good(&n, cvr_graph_create(&u.graph, n.plugins, n.store, false, &n.err));
    cvr_type_set(&type, CVR_F32, 4, (int64_t[4]){4, 3, 8, 8});
    net_good(&n, cvr_graph_input(u.graph, "image", &type, &x, &n.err));
    net_good(&n, cvr_layer(cvr_graph_builder(u.graph), "r1", "relu", "", x, &x, &n.err));
    net_good(&n, cvr_graph_output(u.graph, "out", x, &n.err));
    cr_expect_eq(cvr_program_plan(&u.program, u.graph, n.device, n.pool, CVR_FALLBACK_ALLOW, &n.err), CVR_ERR_NOMEM);
    cr_expect(strstr(n.err.message, "r1/relu") && strstr(n.err.message, "train.batch"), "%s", n.err.message);
    cvr_graph_destroy(&u.graph);
    net_close(&n);
}

/* ---- landing ---- */

/* The inputs of run n + 1 are written while run n is under way: with a device that does everything as late as it may,
 * n must not see them. */
Test(device, inputs_land_while_a_run_goes_on) {
    static float pixels[2][4 * NET_PIXELS], want[4][20], have[4][20];
    const net_spec eval = {.batch = 4};
    const far_settings plain = {0, 0};
    for (int early = 0; early < 2; early++) {
        small_net n;
        net_unit u;
        open_on(&n, "far", &plain);
        net_build(&n, &u, &eval);
        net_bind(&n, &u);
        const int32_t image = cvr_program_slot(u.program, "image"), out = cvr_program_slot(u.program, "out");
        for (int i = 0; i < 5; i++) {
            float *mine = pixels[i % 2];
            for (int k = 0; i < 4 && k < 4 * NET_PIXELS; k++) mine[k] = (float)((i + 1) * (k % 11 - 5)) / 16;
            if (i < 4) net_good(&n, cvr_program_begin_write(u.program, image, mine, &n.err));
            if (early && i > 0) net_good(&n, cvr_program_read(u.program, out, have[i - 1], &n.err));
            if (i < 4) net_run(&n, &u);
            if (!early && i < 4) net_good(&n, cvr_program_read(u.program, out, want[i], &n.err));
        }
        net_drop(&n, &u);
        net_close(&n);
    }
    cr_expect_eq(memcmp(want, have, sizeof want), 0, "a run saw the inputs of the next");
    cr_expect_neq(memcmp(want[0], want[1], sizeof want[0]), 0, "all runs are alike");
}

/* ---- nodes on the host ---- */

/* `counted_host` runs nothing itself: the whole step is one stretch of nodes on the host, and what is copied is its
 * edges: inputs and parameters in, the result and what is updated out. */
Test(device, host_nodes_copy_at_their_edges) {
    static float want[HEAD], have[HEAD];
    small_net n;
    net_unit u;
    unsigned long long was[7], is[7];
    char text[128];
    after_steps("reference", NULL, 1, want);
    net_open(&n, "counted_host", NULL);
    net_build(&n, &u, &train);
    net_bind(&n, &u);
    train_steps(&n, &u, 1, have);
    for (size_t i = 0; i < HEAD; i++)
        cr_assert_float_eq(have[i], want[i], 1e-4, "weight %zu: %g, not %g", i, (double)have[i], (double)want[i]);
    cvr_device_describe(n.device, text, sizeof text);
    cr_assert_eq(sscanf(text, "%llu %llu %llu %llu %llu %llu %llu", &was[0], &was[1], &was[2], &was[3], &was[4],
                        &was[5], &was[6]),
                 7, "%s", text);
    net_images(&n, &u, 0);
    net_run(&n, &u);
    cvr_device_describe(n.device, text, sizeof text);
    cr_assert_eq(
        sscanf(text, "%llu %llu %llu %llu %llu %llu %llu", &is[0], &is[1], &is[2], &is[3], &is[4], &is[5], &is[6]), 7);
    const size_t entries = cvr_store_count(n.store);
    /* up: the picture, and entries that were updated, `out` and `loss`; down: entries, the picture and the scalars */
    cr_expect_leq(is[3] - was[3], entries + 3, "%llu uploads for %zu entries", is[3] - was[3], entries);
    cr_expect_leq(is[5] - was[5], entries + 6, "%llu downloads for %zu entries", is[5] - was[5], entries);
    cr_expect_eq(is[6], was[6], "a step on the host replays something");
    net_drop(&n, &u);
    net_close(&n);
}

/* An op that is the host's by nature is no fallback; another without a kernel is. */
Test(device, host_ops_are_no_fallback) {
    static float pixels[NET_PIXELS], out[NET_PIXELS];
    const far_settings plain = {0, 0};
    small_net n;
    net_unit u = {0};
    cvr_type type;
    cvr_value x;
    open_on(&n, "far", &plain);
    net_good(&n, cvr_graph_create(&u.graph, n.plugins, n.store, false, &n.err));
    const cvr_builder *b = cvr_graph_builder(u.graph);
    cvr_type_set(&type, CVR_F32, 4, (int64_t[4]){1, 3, 8, 8});
    net_good(&n, cvr_graph_input(u.graph, "image", &type, &x, &n.err));
    for (int i = 0; i < 3; i++) net_good(&n, cvr_emit(b, "test.host_op", NULL, 0, &x, 1, &x, &n.err));
    net_good(&n, cvr_layer(b, "r1", "relu", "", x, &x, &n.err));
    net_good(&n, cvr_graph_output(u.graph, "out", x, &n.err));
    net_good(&n, cvr_program_plan(&u.program, u.graph, n.device, n.pool, CVR_FALLBACK_ERROR, &n.err));
    net_bind(&n, &u);
    for (int i = 0; i < NET_PIXELS; i++) pixels[i] = (float)i - 100;
    net_good(&n, cvr_program_write(u.program, cvr_program_slot(u.program, "image"), pixels, &n.err));
    net_run(&n, &u);
    net_good(&n, cvr_program_read(u.program, cvr_program_slot(u.program, "out"), out, &n.err));
    for (int i = 0; i < NET_PIXELS; i++)
        cr_assert_float_eq(out[i], pixels[i] + 3 > 0 ? pixels[i] + 3 : 0, 0, "%d: %g", i, (double)out[i]);
    net_drop(&n, &u);
    net_close(&n);
}

/* ---- failures ---- */

/* Everything from the opening of the device to a step's result, until the first failure. */
static int32_t whole_life(small_net *n, const far_settings *s, float *loss) {
    const cvr_device_choice which = {.backend = "far", .attrs = s};
    small_net there = *n;
    net_unit u;
    int32_t status;
    there.device = NULL;
    there.store = NULL;
    CVR_TRY_OUT(cvr_device_open(&there.device, n->plugins, &which, n->pool, &there.err));
    CVR_TRY_OUT(cvr_store_create(&there.store, 3, &there.err));
    net_build(&there, &u, &train);
    status = net_try(&there, &u, 2, loss);
out:
    n->err = there.err;
    cvr_store_destroy(&there.store);
    cvr_device_close(&there.device);
    return status;
}

/* Each of the calls fails once: one line says which, and nothing is lost or left (the address sanitizer counts). */
Test(device, each_call_fails_once) {
    small_net n;
    float loss = NAN;
    int64_t call = 1;
    net_open(&n, "cpu", NULL);
    for (;; call++) {
        const far_settings s = {0, call};
        char says[64];
        cvr_error_init(&n.err);
        const int32_t status = whole_life(&n, &s, &loss);
        if (status == CVR_OK) break;
        (void)snprintf(says, sizeof says, "call %lld", (long long)call);
        cr_assert_eq(status, CVR_ERR_DEVICE, "call %lld: status %d, %s", (long long)call, status, n.err.message);
        cr_assert(strstr(n.err.message, says), "call %lld: %s", (long long)call, n.err.message);
        cr_assert_lt(call, 1000);
    }
    cr_expect_gt(call, 20, "only %lld calls were made", (long long)call);
    cr_expect(isfinite(loss));
    net_close(&n);
}

/* ---- which device ---- */

static int64_t three_devices(const cvr_host *host) {
    (void)host;
    return 3;
}

static int32_t one_of_three(const cvr_host *host, int64_t device, cvr_device_info *out, cvr_error *err) {
    static const char *const names[] = {"Acme A100", "Acme A100", "Acme B7 mobile"};
    static const char *const uuids[] = {"GPU-11", "GPU-12", ""};
    (void)host, (void)err;
    out->name = names[device];
    out->uuid = uuids[device];
    out->driver = out->features = "";
    out->max_allocation = 1 << 20;
    out->alignment = 256;
    return CVR_OK;
}

/* By number, UUID, name or a part of it, in upper or lower case; what is nobody's, or several devices', is refused with
 * the list. */
Test(device, is_found_by_number_name_or_uuid) {
    static const struct {
        const char *wanted;
        int64_t device; /* -1: none */
        const char *says;
    } cases[] = {
        {NULL, 0, ""},
        {"", 0, ""},
        {"2", 2, ""},
        {"3", -1, "here: 0 (Acme A100, GPU-11), 1 (Acme A100, GPU-12), 2 (Acme B7 mobile); backend.device=3 is none"},
        {"99999999999999999999", -1, "is none of them"},
        {"gpu-12", 1, ""},
        {"GPU-1", -1, "0 (Acme A100, GPU-11), 1 (Acme A100, GPU-12), 2 (Acme B7 mobile); backend.device=GPU-1"},
        {"acme b7 mobile", 2, ""},
        {"b7", 2, ""},
        {"Acme A100", -1, "2 devices that backend.device=Acme A100 may be: 0 (Acme A100, GPU-11), 1"},
        {"acme", -1, "3 devices"},
        {"B8", -1, "is none of them"}};
    static const cvr_backend_desc three = {
        .struct_size = sizeof three, .name = "three", .device_count = three_devices, .device_info = one_of_three};
    small_net n;
    net_open(&n, "cpu", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t device;
        cvr_error_init(&n.err);
        const int32_t status = cvr_backend_find_device(n.plugins, &three, cases[i].wanted, &device, &n.err);
        cr_expect_eq(status, cases[i].device < 0 ? CVR_ERR_USAGE : CVR_OK, "%s: %s", cases[i].wanted, n.err.message);
        if (status == CVR_OK)
            cr_expect_eq(device, cases[i].device, "%s: device %lld", cases[i].wanted, (long long)device);
        cr_expect(strstr(n.err.message, cases[i].says), "%s: %s", cases[i].wanted, n.err.message);
    }
    net_close(&n);
}
