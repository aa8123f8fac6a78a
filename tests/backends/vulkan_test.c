/*
 * The backend `vulkan` on whatever driver the machine has, with the validation layers: the small network's steps follow
 * the CPU's; bits do not depend on where barriers are, nor on whether memory is mapped; a barrier that is left out, a
 * lost device, and memory that is out are told in one line; a tensor may exceed 128 MiB.
 */
#include "support/left_out.h"
#include "support/small_net.h"
#include "vulkan/vulkan_device.h"
#include <criterion/criterion.h>
#include <math.h>

#define HEAD (5 * 8 * 64)

static const net_spec train = {
    .parts = NET_TRAIN | NET_UPDATE | NET_BATCH_NORM, .batch = 8, .settings = "momentum=0.9"};

/* As the backend's defaults are. */
static const vulkan_keys plain = {.unified = 1, .submit_ms = 200, .timeout_s = 600};
static const vulkan_keys checked = {
    .validation = VULKAN_VALIDATION_SYNC, .check = 1, .unified = 1, .submit_ms = 200, .timeout_s = 600};

/* Whether there is a device; what is left out is said. */
static bool has_device(const char *what) {
    small_net n;
    const void *desc;
    net_open(&n, "cpu", NULL);
    net_good(&n, cvr_plugins_find(n.plugins, CVR_KIND_BACKEND, "vulkan", &desc, &n.err));
    const bool has = cvr_backend_devices(n.plugins, (const cvr_backend_desc *)desc) > 0;
    net_close(&n);
    if (!has) leave_out(what, "a driver for Vulkan 1.3");
    return has;
}

static int32_t try_open(small_net *n, const vulkan_keys *keys) {
    return net_open_on(n, &(cvr_device_choice){.backend = "vulkan", .attrs = keys});
}

/* Without the layers the rest is tested all the same. */
static void open_on(small_net *n, const vulkan_keys *keys) {
    vulkan_keys without = *keys;
    if (try_open(n, keys) == CVR_OK) return;
    cr_assert(strstr(n->err.message, "VK_LAYER_KHRONOS_validation"), "%s", n->err.message);
    leave_out("validation of vulkan_test", "VK_LAYER_KHRONOS_validation");
    net_close(n);
    without.validation = VULKAN_VALIDATION_NO;
    net_good(n, try_open(n, &without));
}

static void after_steps(small_net *n, float *head) {
    net_unit u;
    net_build(n, &u, &train);
    net_bind(n, &u);
    net_steps(n, &u, 3);
    net_read(n, "fc.weight", head, HEAD);
    net_drop(n, &u);
    net_close(n);
}

Test(vulkan, steps_follow_the_cpu_and_bits_do_not_depend_on_barriers) {
    static float cpu[HEAD], want[HEAD], have[HEAD];
    const vulkan_keys all = {.barriers = VULKAN_BARRIERS_ALL, .unified = 1, .timeout_s = 600};
    const vulkan_keys copies = {.submit_ms = 1, .timeout_s = 600};
    small_net n;
    if (!has_device("training of vulkan_test")) return;
    net_open(&n, "cpu", NULL);
    after_steps(&n, cpu);
    open_on(&n, &checked);
    after_steps(&n, want);
    for (size_t i = 0; i < HEAD; i++)
        cr_assert_float_eq(want[i], cpu[i], 1e-5, "weight %zu: %g, not %g", i, (double)want[i], (double)cpu[i]);
    open_on(&n, &all);
    after_steps(&n, have);
    cr_expect_eq(memcmp(want, have, sizeof have), 0, "a barrier before every command changes bits");
    open_on(&n, &copies);
    after_steps(&n, have);
    cr_expect_eq(memcmp(want, have, sizeof have), 0, "memory that is not mapped, or many submits, change bits");
}

/* ---- nodes on the host ---- */

/* They work in place where memory is mapped, else on copies: x + 3 by an op that is the host's, then relu on the
 * device. */
Test(vulkan, host_nodes_work_in_place_or_on_copies) {
    static float pixels[NET_PIXELS], out[NET_PIXELS];
    if (!has_device("nodes on the host of vulkan_test")) return;
    for (int unified = 0; unified < 2; unified++) {
        vulkan_keys keys = plain;
        small_net n;
        net_unit u = {0};
        cvr_type type;
        cvr_value x;
        keys.unified = unified;
        open_on(&n, &keys);
        net_good(&n, cvr_graph_create(&u.graph, n.plugins, n.store, false, &n.err));
        const cvr_builder *b = cvr_graph_builder(u.graph);
        cvr_type_set(&type, CVR_F32, 4, (int64_t[4]){1, 3, 8, 8});
        net_good(&n, cvr_graph_input(u.graph, "image", &type, &x, &n.err));
        net_good(&n, cvr_layer(b, "r0", "relu", "", x, &x, &n.err));
        for (int i = 0; i < 3; i++) net_good(&n, cvr_emit(b, "test.host_op", NULL, 0, &x, 1, &x, &n.err));
        net_good(&n, cvr_layer(b, "r1", "relu6", "", x, &x, &n.err));
        net_good(&n, cvr_graph_output(u.graph, "out", x, &n.err));
        net_good(&n, cvr_program_plan(&u.program, u.graph, n.device, n.pool, CVR_FALLBACK_ERROR, &n.err));
        net_bind(&n, &u);
        for (int i = 0; i < NET_PIXELS; i++) pixels[i] = (float)i / 16 - 4;
        net_good(&n, cvr_program_write(u.program, cvr_program_slot(u.program, "image"), pixels, &n.err));
        net_run(&n, &u);
        net_good(&n, cvr_program_read(u.program, cvr_program_slot(u.program, "out"), out, &n.err));
        for (int i = 0; i < NET_PIXELS; i++) {
            const float after = (pixels[i] > 0 ? pixels[i] : 0) + 3;
            cr_assert_float_eq(out[i], after > 6 ? 6 : after, 0, "pixel %d: %g", i, (double)out[i]);
        }
        net_drop(&n, &u);
        net_close(&n);
    }
}

/* ---- what goes wrong ---- */

static void fails(const vulkan_keys *keys, int32_t status, const char *says, const char *says_too) {
    small_net n;
    net_unit u;
    float loss = NAN;
    open_on(&n, keys);
    net_build(&n, &u, &train);
    const int32_t got = net_try(&n, &u, 1, &loss);
    cr_expect_eq(got, status, "status %d: %s", got, n.err.message);
    cr_expect(strstr(n.err.message, says) && strstr(n.err.message, says_too), "`%s` lacks `%s` or `%s`", n.err.message,
              says, says_too);
    net_close(&n);
}

Test(vulkan, failures_are_one_line) {
    vulkan_keys k = plain;
    if (!has_device("failures of vulkan_test")) return;
    k.fail_submit = 1;
    fails(&k, CVR_ERR_DEVICE, "the device is lost (VK_ERROR_DEVICE_LOST of vkQueueSubmit2), in ", "a copy");
    k.fail_submit = 8;
    fails(&k, CVR_ERR_DEVICE, "the device is lost (VK_ERROR_DEVICE_LOST of vkQueueSubmit2), in ", "/");
    k = plain;
    k.fail_alloc = 3;
    fails(&k, CVR_ERR_NOMEM, "is out of memory: ", "train.batch");
    k = plain;
    k.check = 1;
    k.drop_barrier = 2;
    fails(&k, CVR_ERR_PLUGIN, "vulkan_check: there is no barrier between ", "command");
    k.drop_barrier = 100000;
    fails(&k, CVR_ERR_USAGE, "backend.vulkan_drop_barrier is 100000", "fewer barriers");
}

/* Of a whole step: each barrier is dropped in turn, and the check objects. */
Test(vulkan, each_barrier_of_a_step_is_missed) {
    vulkan_keys k = plain;
    small_net n;
    net_unit u;
    int32_t status = CVR_OK;
    if (!has_device("barriers of vulkan_test")) return;
    k.check = 1;
    open_on(&n, &k);
    net_build(&n, &u, &train);
    net_bind(&n, &u);
    vulkan_keys *keys = &((vulkan_device *)cvr_device_self(n.device))->keys;
    for (keys->drop_barrier = 1; status != CVR_ERR_USAGE; keys->drop_barrier++) {
        cvr_error_init(&n.err);
        status = cvr_program_bind(u.program, u.arena, &n.err);
        cr_assert(status == CVR_ERR_PLUGIN || status == CVR_ERR_USAGE, "barrier %lld is not missed: %s",
                  (long long)keys->drop_barrier, n.err.message);
    }
    cr_expect_gt(keys->drop_barrier, 10, "only %lld barriers", (long long)keys->drop_barrier - 2);
    keys->drop_barrier = 0;
    net_good(&n, cvr_program_bind(u.program, u.arena, &n.err));
    net_drop(&n, &u);
    net_close(&n);
}

/* ---- large tensors ---- */

#define LARGE 6400 /* pixels a side: 164 MB, past the 128 MiB that descriptors reach on lavapipe */

Test(vulkan, a_tensor_may_exceed_128_mib) {
    small_net n;
    net_unit u = {0};
    cvr_type type;
    cvr_value x;
    const size_t count = (size_t)LARGE * LARGE;
    if (!has_device("large tensors of vulkan_test")) return;
    open_on(&n, &plain);
    net_good(&n, cvr_graph_create(&u.graph, n.plugins, n.store, false, &n.err));
    cvr_type_set(&type, CVR_F32, 4, (int64_t[4]){1, 1, LARGE, LARGE});
    net_good(&n, cvr_graph_input(u.graph, "image", &type, &x, &n.err));
    net_good(&n, cvr_layer(cvr_graph_builder(u.graph), "r1", "relu", "", x, &x, &n.err));
    net_good(&n, cvr_graph_output(u.graph, "out", x, &n.err));
    net_good(&n, cvr_program_plan(&u.program, u.graph, n.device, n.pool, CVR_FALLBACK_ERROR, &n.err));
    net_bind(&n, &u);
    float *pixels = malloc(count * sizeof *pixels);
    cr_assert(pixels);
    for (size_t i = 0; i < count; i++) pixels[i] = (float)(i % 1000) - 500;
    net_good(&n, cvr_program_write(u.program, cvr_program_slot(u.program, "image"), pixels, &n.err));
    net_run(&n, &u);
    memset(pixels, 0xFF, count * sizeof *pixels);
    net_good(&n, cvr_program_read(u.program, cvr_program_slot(u.program, "out"), pixels, &n.err));
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const float want = (float)(i % 1000) - 500;
        wrong += pixels[i] != (want > 0 ? want : 0);
    }
    cr_expect_eq(wrong, 0, "%zu of %zu pixels are wrong", wrong, count);
    free(pixels);
    net_drop(&n, &u);
    net_close(&n);
}
