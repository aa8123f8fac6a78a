/* The store moves to another device in two phases, with a way back, and takes new entries without moving the others. */
#include "support/small_net.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define HEAD (5 * 8 * 8 * 8)

static const net_spec train = {
    .parts = NET_TRAIN | NET_UPDATE | NET_BATCH_NORM, .batch = 4, .settings = "momentum=0.9"};

static void step(small_net *n, net_unit *u) {
    net_images(n, u, 0);
    net_scalar(n, u, "lr", 0.05);
    net_run(n, u);
}

/* Weights after steps on one device, for comparison. */
static void expected(const char *backend, int steps, float *head) {
    small_net n;
    net_unit u;
    net_open(&n, backend, NULL);
    net_build(&n, &u, &train);
    net_bind(&n, &u);
    for (int i = 0; i < steps; i++) step(&n, &u);
    net_read(&n, "fc.weight", head, HEAD);
    net_drop(&n, &u);
    net_close(&n);
}

/* Another device with its own program on the same store. */
static void target_open(small_net *target, small_net *from, net_unit *u, const char *backend) {
    *target = *from;
    net_good(target, cvr_device_open(&target->device, from->plugins, &(cvr_device_choice){.backend = backend},
                                     from->pool, &target->err));
    net_build(target, u, &train);
    net_good(target, cvr_arena_create(&u->arena, target->device, &u->program, 1, 0, &target->err));
}

static void target_close(small_net *target, net_unit *u) {
    net_drop(target, u);
    cvr_device_close(&target->device);
}

/* Two steps on the cpu, with a move between them that is given up after `fault`. */
static void check_way_back(const char *backend, const char *fault) {
    static float want[HEAD], have[HEAD];
    small_net n, target;
    net_unit u, there;
    const float one = 1;
    expected("cpu", 2, want);
    net_open(&n, "cpu", NULL);
    net_build(&n, &u, &train);
    net_bind(&n, &u);
    step(&n, &u);
    target_open(&target, &n, &there, backend);
    net_good(&target, cvr_store_prepare(n.store, target.device, &target.err));
    cr_expect_neq(cvr_store_prepare(n.store, target.device, &target.err), CVR_OK, "a move within a move");
    if (fault) setenv("CVR_TEST_FAULT", fault, 1);
    int32_t status = cvr_program_bind(there.program, there.arena, &target.err);
    if (status == CVR_OK) {
        net_images(&target, &there, 0);
        net_scalar(&target, &there, "lr", 0.05);
        net_good(&target,
                 cvr_program_write(there.program, cvr_program_slot(there.program, "loss_scale"), &one, &target.err));
        status = cvr_program_run(there.program, &target.err);
    }
    unsetenv("CVR_TEST_FAULT");
    cr_expect_eq(status != CVR_OK, fault != NULL, "%s", target.err.message);
    cvr_store_rollback(n.store);
    target_close(&target, &there);
    step(&n, &u); /* at the addresses that it always had */
    net_read(&n, "fc.weight", have, HEAD);
    cr_expect_eq(memcmp(want, have, sizeof have), 0, "%s, %s: the cpu goes on with other numbers", backend,
                 fault ? fault : "no fault");
    net_drop(&n, &u);
    net_close(&n);
}

Test(store, goes_back) {
    check_way_back("faulty", "record");
    check_way_back("faulty", "replay");
    check_way_back("faulty", NULL); /* after a replay that worked, too */
    check_way_back("far", NULL);
}

Test(store, moves) {
    static float want[HEAD], have[HEAD];
    small_net n, target;
    net_unit u, there;
    expected("cpu", 3, want);
    net_open(&n, "cpu", NULL);
    net_build(&n, &u, &train);
    net_bind(&n, &u);
    step(&n, &u);
    target_open(&target, &n, &there, "far");
    net_good(&target, cvr_store_prepare(n.store, target.device, &target.err));
    net_good(&target, cvr_program_bind(there.program, there.arena, &target.err));
    net_scalar(&target, &there, "loss_scale", 1);
    step(&target, &there);
    cvr_store_commit(n.store);
    net_drop(&n, &u);
    step(&target, &there);
    net_read(&target, "fc.weight", have, HEAD);
    cr_expect_eq(memcmp(want, have, sizeof have), 0, "other numbers after the move");
    net_good(&n, cvr_store_place(n.store, n.device, &n.err)); /* and back, at once */
    target_close(&target, &there);
    net_read(&n, "fc.weight", have, HEAD);
    cr_expect_eq(memcmp(want, have, sizeof have), 0, "other numbers after the way back");
    net_close(&n);
}

/* New entries get memory of their own: programs that are bound already go on. */
Test(store, grows_in_place) {
    static float want[HEAD], have[HEAD];
    small_net n;
    net_unit u, averages;
    const net_spec eval = {.parts = NET_AVERAGE | NET_BATCH_NORM, .batch = 2};
    expected("far", 2, want);
    net_open(&n, "far", NULL);
    net_build(&n, &u, &train);
    net_bind(&n, &u);
    step(&n, &u);
    const size_t before = cvr_store_count(n.store);
    net_build(&n, &averages, &eval);
    cr_expect_gt(cvr_store_count(n.store), before);
    net_bind(&n, &averages);
    net_images(&n, &averages, 0);
    net_run(&n, &averages);
    net_read(&n, "fc.weight", have, HEAD);
    net_read(&n, "fc.weight.average", want, HEAD);
    cr_expect_eq(memcmp(want, have, sizeof have), 0, "a running mean starts as something else");
    step(&n, &u);
    expected("far", 2, want);
    net_read(&n, "fc.weight", have, HEAD);
    cr_expect_eq(memcmp(want, have, sizeof have), 0, "the program has lost its parameters");
    net_drop(&n, &averages);
    net_drop(&n, &u);
    net_close(&n);
}

Test(store, refuses_two_shapes_of_one_name) {
    small_net n;
    cvr_graph *g;
    cvr_value v;
    const cvr_init init = {.struct_size = sizeof init, .kind = CVR_INIT_CONSTANT};
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = "p",
                           .dtype = CVR_F32,
                           .rank = 1,
                           .shape = {4, 1, 1, 1, 1, 1},
                           .flags = CVR_PARAM_TRAINABLE,
                           .init = &init};
    net_open(&n, "cpu", NULL);
    net_good(&n, cvr_graph_create(&g, n.plugins, n.store, true, &n.err));
    const cvr_builder *b = cvr_graph_builder(g);
    net_good(&n, b->param(b, &decl, &v, &n.err));
    net_good(&n, b->param(b, &decl, &v, &n.err));
    decl.shape[0] = 5;
    cr_expect_eq(b->param(b, &decl, &v, &n.err), CVR_ERR_INVALID);
    decl.shape[0] = 4;
    decl.flags = 0;
    cr_expect_eq(b->param(b, &decl, &v, &n.err), CVR_ERR_INVALID);
    for (int i = 0; i < 2000; i++) { /* many names */
        char name[16];
        (void)snprintf(name, sizeof name, "q%d", i);
        decl.name = name;
        net_good(&n, b->param(b, &decl, &v, &n.err));
        cr_assert_eq(cvr_store_find(n.store, name), i + 1);
    }
    cr_expect_eq(cvr_store_find(n.store, "q2000"), -1);
    cvr_graph_destroy(&g);
    net_close(&n);
}
