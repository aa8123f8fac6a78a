/*
 * The backend `cuda` on a stand-in for the driver, which runs its kernels as `emu` does: the small network's steps have
 * emu's bits however they are replayed, and follow the CPU's; uploads come from page-locked memory; devices are chosen.
 */
#include "cuda_case.h"
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <math.h>

#define HEAD (5 * 8 * 64)
#define STEPS 5 /* of which the last are replayed as graphs */

static const net_spec train = {
    .parts = NET_TRAIN | NET_UPDATE | NET_BATCH_NORM, .batch = 4, .settings = "momentum=0.9"};
static const cuda_keys plain = {.replay = CUDA_REPLAY_GRAPH};

cuda_standin_control *standin(void) {
    void *handle = dlopen(CVR_STANDIN, RTLD_NOW | RTLD_LOCAL);
    cr_assert(handle, "%s", dlerror());
    cuda_standin_control *c = dlsym(handle, "cuda_standin");
    cr_assert(c);
    return c;
}

int32_t cuda_try_open(small_net *n, const cuda_keys *keys) {
    (void)standin();
    return net_open_on(n, &(cvr_device_choice){.backend = "cuda", .attrs = keys});
}

void cuda_open(small_net *n, const cuda_keys *keys) {
    net_good(n, cuda_try_open(n, keys));
}

static void after_steps(small_net *n, float *head) {
    net_unit u;
    net_build(n, &u, &train);
    net_bind(n, &u);
    net_steps(n, &u, STEPS);
    net_read(n, "fc.weight", head, HEAD);
    net_drop(n, &u);
    net_close(n);
}

Test(cuda, steps_have_the_bits_of_emu_however_they_are_replayed) {
    static float cpu[HEAD], emu[HEAD], have[HEAD];
    static const char *const names[] = {"graph", "list", "each"};
    cuda_standin_control *c = standin();
    small_net n;
    net_open(&n, "cpu", NULL);
    after_steps(&n, cpu);
    net_open(&n, "emu", NULL);
    after_steps(&n, emu);
    for (size_t i = 0; i < HEAD; i++)
        cr_assert_float_eq(emu[i], cpu[i], 1e-5, "weight %zu: %g, not %g", i, (double)emu[i], (double)cpu[i]);
    for (int64_t how = 0; how < 3; how++) {
        const cuda_keys keys = {.replay = how, .check = how != CUDA_REPLAY_LIST};
        c->graphs = c->captures = 0;
        cuda_open(&n, &keys);
        after_steps(&n, have);
        cr_expect_eq(memcmp(emu, have, sizeof have), 0, "replayed as %s the bits differ", names[how]);
        cr_expect_eq(c->captures > 0, how == CUDA_REPLAY_GRAPH, "%llu captures as %s", (unsigned long long)c->captures,
                     names[how]);
        cr_expect_eq(c->graphs, c->captures * (STEPS - 2), "%llu graphs were launched", (unsigned long long)c->graphs);
        cr_expect_eq(c->alive, 0, "%llu things were not freed", (unsigned long long)c->alive);
    }
}

Test(cuda, what_cannot_be_captured_is_launched_one_by_one) {
    static float emu[HEAD], have[HEAD];
    cuda_standin_control *c = standin();
    small_net n;
    net_open(&n, "emu", NULL);
    after_steps(&n, emu);
    c->refuse_capture = 1;
    cuda_open(&n, &plain);
    after_steps(&n, have);
    cr_expect_eq(memcmp(emu, have, sizeof have), 0, "without graphs the bits differ");
    cr_expect_eq(c->graphs, 0);
}

/* ---- devices ---- */

static int32_t open_choice(small_net *n, const char *device) {
    return net_open_on(n, &(cvr_device_choice){.backend = "cuda", .device = device, .attrs = &plain});
}

Test(cuda, devices_are_chosen_by_number_name_and_uuid) {
    static const char *const second[] = {"1", "Stand-in 1", "in 1", "GPU-a0a1a2a3-a4a5-a6a7-a8a9-aaabacadae01"};
    cuda_standin_control *c = standin();
    small_net n;
    c->devices = 2;
    for (size_t i = 0; i < sizeof second / sizeof *second; i++) {
        net_good(&n, open_choice(&n, second[i]));
        const cvr_device_info *info = cvr_device_info_of(n.device);
        cr_expect_str_eq(info->name, "Stand-in 1");
        cr_expect_eq(info->arch, 90);
        cr_expect(strstr(info->features, "sm_75 sm_80 sm_86 sm_89 sm_90 tf32 sm_90a"), "%s", info->features);
        net_close(&n);
    }
    cr_expect_neq(open_choice(&n, "2"), CVR_OK);
    cr_expect(strstr(n.err.message, "2"), "%s", n.err.message);
    net_close(&n);
}

static void refuses(const char *says) {
    small_net n;
    cr_expect_neq(cuda_try_open(&n, &plain), CVR_OK);
    cr_expect(strstr(n.err.message, says), "`%s` lacks `%s`", n.err.message, says);
    net_close(&n);
}

Test(cuda, a_machine_may_have_no_device) {
    standin()->devices = 0;
    refuses("the driver finds no NVIDIA GPU on this machine");
}
Test(cuda, a_device_may_be_too_old) {
    standin()->arch = 70;
    refuses("has compute capability 7.0; the kernels here need 7.5");
}
Test(cuda, the_driver_may_not_start) {
    cuda_standin_control *c = standin();
    c->fail_call = 1;
    c->fail_with = CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    refuses("cuInit gives CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)");
}

/* ---- transfers ---- */

#define BYTES ((size_t)(11 << 20)) /* three pieces of staging memory */

/* Both ways, through staging memory or from where the bytes are; `after` keeps the lanes in order. */
Test(cuda, transfers_go_through_staging_memory_or_directly) {
    cuda_standin_control *c = standin();
    small_net n;
    void *address, *other;
    uint64_t up, down, moved;
    uint32_t *from = malloc(BYTES), *to = malloc(BYTES);
    cr_assert(from && to);
    cuda_open(&n, &plain);
    const cvr_backend_desc *b = cvr_device_backend(n.device);
    void *d = cvr_device_self(n.device);
    net_good(&n, b->alloc(d, BYTES, &address, &n.err));
    net_good(&n, b->alloc(d, BYTES, &other, &n.err));
    for (int direct = 0; direct < 2; direct++) {
        for (size_t i = 0; i < BYTES / 4; i++) from[i] = (uint32_t)(i * 2654435761u + (uint32_t)direct);
        if (direct) net_good(&n, b->pin(d, from, BYTES, &n.err));
        c->direct_uploads = c->staged_uploads = 0;
        net_good(&n, b->upload(d, &(cvr_transfer){sizeof(cvr_transfer), address, from, BYTES, 0}, &up, &n.err));
        cr_expect_eq(c->direct_uploads, direct ? 1 : 0);
        cr_expect_eq(c->staged_uploads, direct ? 0 : 3);
        net_good(&n, b->copy(d, &(cvr_transfer){sizeof(cvr_transfer), other, address, BYTES, up}, &moved, &n.err));
        net_good(&n, b->download(d, &(cvr_transfer){sizeof(cvr_transfer), to, other, BYTES, 0}, &down, &n.err));
        memset(to, 0, BYTES);
        net_good(&n, b->wait(d, down, &n.err));
        cr_expect_eq(memcmp(from, to, BYTES), 0, "bytes are lost on the way, %d", direct);
    }
    b->unpin(d, from);
    /* more than there are events: the oldest are waited for */
    for (int i = 0; i < 100; i++)
        net_good(&n, b->copy(d, &(cvr_transfer){sizeof(cvr_transfer), other, address, 4, 0}, &moved, &n.err));
    net_good(&n, b->wait(d, moved, &n.err));
    cr_expect_eq(b->copy(d, &(cvr_transfer){sizeof(cvr_transfer), other, address, 4, moved}, &moved, &n.err),
                 CVR_ERR_INVALID);
    cr_expect_eq(
        b->upload(d, &(cvr_transfer){sizeof(cvr_transfer), (uint8_t *)address + 8, from, BYTES, 0}, &up, &n.err),
        CVR_ERR_INVALID);
    b->free(d, other);
    b->free(d, address);
    net_close(&n);
    cr_expect_eq(c->alive, 0);
    free(from);
    free(to);
}

/* ---- fatbins ---- */

Test(cuda, what_is_no_fatbin_is_refused) {
    uint8_t bytes[32] = {0x50, 0xED, 0x55, 0xBA, 1, 0, 16, 0, 16};
    cr_expect_null(cuda_fatbin_bad(bytes, sizeof bytes));
    for (uint64_t n = 0; n < sizeof bytes; n++) cr_expect(cuda_fatbin_bad(bytes, n), "of %d bytes", (int)n);
    bytes[8] = 17;
    cr_expect(cuda_fatbin_bad(bytes, sizeof bytes));
    bytes[8] = 16;
    bytes[15] = 0x80;
    cr_expect(cuda_fatbin_bad(bytes, sizeof bytes));
    bytes[15] = 0;
    bytes[6] = 8;
    cr_expect(cuda_fatbin_bad(bytes, sizeof bytes));
    bytes[0] = 0x7F;
    cr_expect(strstr(cuda_fatbin_bad(bytes, sizeof bytes), "no fatbin"));
}
