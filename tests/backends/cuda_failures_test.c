/*
 * What goes wrong on a GPU: memory that is out, a kernel that fails, and every call of the driver failing once, with an
 * error after which the device is lost and with one after which it is not. Each is one line, and nothing is left
 * behind.
 */
#include "cuda_case.h"
#include <criterion/criterion.h>
#include <math.h>

static const net_spec train = {.parts = NET_TRAIN | NET_UPDATE | NET_BATCH_NORM, .batch = 2};
static const cuda_keys plain = {.replay = CUDA_REPLAY_GRAPH};

static int32_t try_steps(small_net *n, int64_t steps) {
    net_unit u;
    float loss = NAN;
    net_build(n, &u, &train);
    return net_try(n, &u, steps, &loss);
}

static void fails(const cuda_keys *keys, int32_t status, const char *says, const char *says_too) {
    small_net n;
    cuda_open(&n, keys);
    const int32_t got = try_steps(&n, 4);
    cr_expect_eq(got, status, "status %d: %s", got, n.err.message);
    cr_expect(strstr(n.err.message, says) && strstr(n.err.message, says_too), "`%s` lacks `%s` or `%s`", n.err.message,
              says, says_too);
    net_close(&n);
    cr_expect_eq(standin()->alive, 0, "%llu things were not freed", (unsigned long long)standin()->alive);
}

Test(cuda_failures, memory_is_told_before_the_first_step) {
    standin()->memory = 40000;
    fails(&plain, CVR_ERR_NOMEM, "the programs need ", "cuda has ");
    cr_expect_eq(standin()->launches, 0);
}

Test(cuda_failures, memory_that_is_out_is_told_in_megabytes) {
    small_net n;
    void *address;
    standin()->memory = 1000000;
    cuda_open(&n, &plain);
    const int32_t status = cvr_device_backend(n.device)->alloc(cvr_device_self(n.device), 2000000, &address, &n.err);
    cr_expect_eq(status, CVR_ERR_NOMEM);
    cr_expect_str_eq(n.err.message,
                     "cuda: Stand-in 0 is out of memory: 2.0 MB wanted, about 1.0 MB of 1.0 MB free; lower "
                     "train.batch or data.img_size");
    net_close(&n);
}

Test(cuda_failures, a_kernel_that_fails_is_near_the_nodes_that_are_named) {
    cuda_standin_control *c = standin();
    c->idle = 1;
    c->fail_with = CUDA_ERROR_ILLEGAL_ADDRESS;
    c->fail_launch = 10;
    fails(&plain, CVR_ERR_DEVICE,
          "cuda: Stand-in 0: the device is lost (CUDA_ERROR_ILLEGAL_ADDRESS of cuEventSynchronize), in c1/",
          "; backend.cuda_replay=each tells which node it was");
}

Test(cuda_failures, in_the_middle_of_a_graph_as_well) {
    cuda_standin_control *c = standin();
    c->idle = 1;
    c->fail_with = CUDA_ERROR_CONTAINED;
    c->fail_launch = 100;
    fails(&plain, CVR_ERR_DEVICE, "the device is lost (CUDA_ERROR_CONTAINED of cu", "), in ");
    cr_expect_gt(c->graphs, 0);
}

Test(cuda_failures, a_kernel_that_is_waited_for_is_named) {
    static const cuda_keys each = {.replay = CUDA_REPLAY_EACH};
    cuda_standin_control *c = standin();
    c->idle = 1;
    c->fail_with = CUDA_ERROR_LAUNCH_TIMEOUT;
    c->fail_launch = 1;
    fails(&each, CVR_ERR_DEVICE, "(CUDA_ERROR_LAUNCH_TIMEOUT of cuEventSynchronize), in c1/conv2d", "");
}

/* What may fail and be lived with: without a capture there is a list; a question is asked again; and what is left when
 * all is closed. */
static bool may_fail(const char *call) {
    static const char *const calls[] = {
        "cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate", "cuGraphDestroy",
        "cuGraphExecDestroy",   "cuEventQuery",       "cuEventDestroy",     "cuStreamDestroy",
        "cuModuleUnload",       "cuMemFree",          "cuMemFreeHost",      "cuDevicePrimaryCtxRelease"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i], call) == 0) return true;
    return false;
}

/* Launches fail while they are captured, too; the context is made current as things are closed; and that there is no
 * second argument is known by an error. */
static bool may_fail_late(const char *call) {
    return strcmp(call, "cuLaunchKernel") == 0 || strcmp(call, "cuFuncGetParamInfo") == 0 ||
           strcmp(call, "cuCtxSetCurrent") == 0 || strcmp(call, "cuMemsetD32Async") == 0 ||
           strcmp(call, "cuMemcpyDtoDAsync") == 0 || strcmp(call, "cuStreamSynchronize") == 0;
}

/* One call of all that opening, three steps and closing take; opening alone where there are no steps. False: there is
 * no such call. */
static bool one_call_fails(uint64_t number, CUresult with, int64_t steps, uint64_t *lived_with) {
    cuda_standin_control *c = standin();
    small_net n;
    c->calls = 0;
    c->fail_call = number;
    c->fail_with = with;
    c->failed[0] = 0;
    int32_t status = cuda_try_open(&n, &plain);
    const bool opened = status == CVR_OK;
    if (opened && steps) status = try_steps(&n, steps);
    const bool failed = status != CVR_OK;
    if (failed) {
        cr_expect(c->failed[0], "without a call that fails: %s", n.err.message);
        cr_expect(n.err.message[0] && !strchr(n.err.message, '\n'), "call %llu, %s: `%s`", (unsigned long long)number,
                  c->failed, n.err.message);
        if (strcmp(c->failed, "cuLaunchKernel") == 0) /* the error may be that of a kernel before, in the same list */
            cr_expect(!strstr(n.err.message, "nothing that was under way"), "%s", n.err.message);
        cr_expect(!opened || (status == CVR_ERR_DEVICE) == (with == CUDA_ERROR_LAUNCH_FAILED),
                  "call %llu, %s: status %d, %s", (unsigned long long)number, c->failed, status, n.err.message);
    }
    net_close(&n);
    if (!failed && c->failed[0] && !may_fail(c->failed)) {
        *lived_with += 1;
        cr_expect(may_fail_late(c->failed), "call %llu, %s, fails, and nobody says so", (unsigned long long)number,
                  c->failed);
    }
    cr_expect_eq(c->alive, 0, "call %llu, %s: %llu things were not freed", (unsigned long long)number, c->failed,
                 (unsigned long long)c->alive);
    return c->failed[0] != 0;
}

static void each_call_fails(CUresult with) {
    cuda_standin_control *c = standin();
    uint64_t number = 1, lived_with = 0;
    c->idle = 1;
    while (one_call_fails(number, with, 0, &lived_with)) number++; /* the devices are listed from here on */
    for (number = 1; one_call_fails(number, with, 3, &lived_with);) number++;
    cr_expect_gt(number, 150, "only %llu calls", (unsigned long long)number);
    cr_expect_lt(lived_with, number / 4, "%llu of %llu failures were lived with", (unsigned long long)lived_with,
                 (unsigned long long)number);
}

Test(cuda_failures, every_call_loses_the_device_once) {
    each_call_fails(CUDA_ERROR_LAUNCH_FAILED);
}
Test(cuda_failures, every_call_fails_once) {
    each_call_fails(CUDA_ERROR_INVALID_VALUE);
}
