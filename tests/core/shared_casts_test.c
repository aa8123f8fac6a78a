/*
 * Weights that kernels want in the activations' type (CVR_KERNEL_CASTS) are cast once a step, whoever reads them:
 * counted in the planned step of a ResNet-18, and with the bits of kernels that read them in f32.
 */
#include <criterion/criterion.h>
#include <cvr/plugin/bf16.h>
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/conv.h>
#include <cvr/program.h>
#include <stdlib.h>

static cvr_error err;

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", err.message);
}

typedef struct step {
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    cvr_device *device;
    cvr_store *store;
    cvr_graph *graph;
    cvr_program *program;
    cvr_arena *arena;
} step;

/* With the kernels that cast, or with those of `emu` alone. */
static void open_step(step *s, bool casting) {
    cvr_error_init(&err);
    memset(s, 0, sizeof *s);
    (void)setenv("CVR_PLUGIN_PATH", casting ? CVR_CASTING_PLUGINS : "", 1);
    good(cvr_plugins_open(&s->plugins, NULL, 0, &err));
    good(cvr_pool_create(&s->pool, 1, &err));
    good(cvr_device_open(&s->device, s->plugins, &(cvr_device_choice){.backend = "emu"}, s->pool, &err));
    good(cvr_store_create(&s->store, 3, &err));
    good(cvr_graph_create(&s->graph, s->plugins, s->store, true, &err));
}

static void close_step(step *s) {
    cvr_program_destroy(&s->program);
    cvr_graph_destroy(&s->graph);
    cvr_arena_destroy(&s->arena);
    cvr_store_destroy(&s->store);
    cvr_device_close(&s->device);
    cvr_plugins_close(&s->plugins);
    cvr_pool_destroy(&s->pool);
}

/* A picture that has become `dtype`, as in mixed precision. */
static cvr_value picture(step *s, int64_t side, uint32_t dtype) {
    const cvr_cast_attrs cast = {dtype};
    cvr_value x;
    cvr_type type;
    cvr_type_set(&type, CVR_F32, 4, (int64_t[4]){2, 3, side, side});
    good(cvr_graph_input(s->graph, "image", &type, &x, &err));
    good(cvr_emit(cvr_graph_builder(s->graph), "cast", &cast, sizeof cast, &x, 1, &x, &err));
    return x;
}

/* The mean of the squares of x as the loss, gradients and SGD. */
static void train(step *s, cvr_value x) {
    const cvr_builder *b = cvr_graph_builder(s->graph);
    const cvr_value pair[2] = {x, x};
    const void *desc;
    void *attrs;
    good(cvr_layer2(b, "square", "mul", "", pair, &x, &err));
    good(cvr_layer(b, "loss", "mean", "", x, &x, &err));
    good(cvr_graph_output(s->graph, "loss", x, &err));
    good(cvr_graph_passes(s->graph, CVR_PASS_NETWORK, "auto", &err));
    good(cvr_graph_backward(s->graph, cvr_graph_output_value(s->graph, "loss"), &err));
    good(cvr_plugins_find(s->plugins, CVR_KIND_OPTIMIZER, "sgd", &desc, &err));
    const cvr_optimizer_desc *sgd = desc;
    good(cvr_attrs_parse(&(cvr_schema){sgd->attrs, sgd->n_attrs}, "", NULL, "sgd", &attrs, &err));
    good(cvr_graph_update(s->graph, &(cvr_update_policy){sgd, attrs, 0, 0, 0}, &err));
    cvr_free(attrs);
    good(cvr_graph_passes(s->graph, CVR_PASS_STEP, "auto", &err));
}

static void plan(step *s) {
    good(cvr_program_plan(&s->program, s->graph, s->device, s->pool, CVR_FALLBACK_ERROR, &err));
}

/* Nodes that cast weights to `dtype`: all else that is cast has a batch of two. */
static size_t weight_casts(const step *s, uint32_t dtype) {
    size_t n = 0;
    for (size_t i = 0; i < cvr_program_nodes(s->program); i++) {
        cvr_node_info info;
        cvr_program_node(s->program, i, &info);
        n += strcmp(info.op, "cast") == 0 && info.output->dtype == dtype && info.output->shape[0] != 2;
    }
    return n;
}

static void plan_resnet18(step *s, size_t recomputed) {
    const void *desc;
    void *attrs;
    cvr_recompute done = {0, 0};
    good(cvr_plugins_find(s->plugins, CVR_KIND_MODEL, "resnet18", &desc, &err));
    const cvr_model_desc *model = desc;
    good(cvr_attrs_parse(&(cvr_schema){model->attrs, model->n_attrs}, "", NULL, "resnet18", &attrs, &err));
    const cvr_value x = picture(s, 64, CVR_F16);
    good(cvr_graph_stand_in(s->graph, "image", x, &err));
    const cvr_model_args args = {sizeof args, attrs, 10, 3};
    const cvr_io *io = cvr_graph_io(s->graph);
    good(model->build(cvr_graph_builder(s->graph), &args, io, &err));
    cvr_free(attrs);
    train(s, io->output(io, 0)->value);
    good(cvr_graph_recompute(s->graph, recomputed, &done, &err));
    cr_expect_eq(done.dropped > 0, recomputed > 0);
    good(cvr_graph_schedule(s->graph, &err));
    plan(s);
}

/* Twenty convolutions and the linear layer, each of which is read by the forward pass and, but for the stem, by the
 * data gradient; some are computed a second time where values are recomputed. */
Test(shared_casts, each_weight_of_a_resnet18_is_cast_once_a_step) {
    for (int recomputes = 0; recomputes < 2; recomputes++) {
        size_t readers = 0;
        step s;
        open_step(&s, true);
        plan_resnet18(&s, recomputes ? 1000 : 0);
        for (size_t i = 0; i < cvr_program_nodes(s.program); i++) {
            cvr_node_info info;
            cvr_program_node(s.program, i, &info);
            readers += !strcmp(info.op, "conv2d") || !strcmp(info.op, "conv2d_backward_input") ||
                       !strcmp(info.op, "linear") || !strcmp(info.op, "linear_backward_input");
        }
        cr_expect_eq(weight_casts(&s, CVR_F16), 21);
        if (recomputes)
            cr_expect_gt(readers, 41);
        else
            cr_expect_eq(readers, 41);
        close_step(&s);
    }
}

Test(shared_casts, kernels_that_take_f32_weights_get_them) {
    step s;
    open_step(&s, false);
    plan_resnet18(&s, 0);
    cr_expect_eq(weight_casts(&s, CVR_F16), 0);
    close_step(&s);
}

static cvr_value two_layers(step *s, cvr_value x) {
    const cvr_cast_attrs in_f32 = {CVR_F32};
    const cvr_builder *b = cvr_graph_builder(s->graph);
    good(cvr_layer(b, "c1", "conv2d", "4 kernel_size=3", x, &x, &err));
    good(cvr_layer(b, "r1", "relu", "", x, &x, &err));
    good(cvr_layer(b, "c2", "conv2d", "5 kernel_size=3", x, &x, &err));
    good(cvr_layer(b, "f", "flatten", "", x, &x, &err));
    good(cvr_layer(b, "fc", "linear", "7", x, &x, &err));
    good(cvr_emit(b, "cast", &in_f32, sizeof in_f32, &x, 1, &x, &err));
    return x;
}

/* One step from weights that bf16 has, so that kernels which read them in f32 compute the same. */
static void run_step(step *s, float *weight) {
    static const char *const weights[] = {"c1.weight", "c2.weight", "fc.weight"};
    static float pixels[2 * 3 * 8 * 8], values[5 * 4 * 4 * 7];
    const float one = 1, rate = 0.5f;
    good(cvr_store_place(s->store, s->device, &err));
    for (size_t i = 0; i < 3; i++) {
        const size_t at = (size_t)cvr_store_find(s->store, weights[i]);
        good(cvr_store_read(s->store, at, values, &err));
        for (size_t k = 0; k < cvr_store_get(s->store, at)->bytes / 4; k++)
            values[k] = cvr_f32_of_bf16(cvr_bf16_of_f32(values[k]));
        good(cvr_store_write(s->store, at, values, &err));
    }
    good(cvr_arena_create(&s->arena, s->device, &s->program, 1, 0, &err));
    good(cvr_program_bind(s->program, s->arena, &err));
    for (size_t i = 0; i < sizeof pixels / sizeof *pixels; i++) pixels[i] = (float)(i * 37 % 64) / 64;
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "image"), pixels, &err));
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "lr"), &rate, &err));
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "loss_scale"), &one, &err));
    good(cvr_program_run(s->program, &err));
    good(cvr_store_read(s->store, (size_t)cvr_store_find(s->store, "c1.weight"), weight, &err));
}

/* How many numbers bf16 does not have: before the step there is none. */
static size_t not_bf16(const float *x, size_t n) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) found += cvr_f32_of_bf16(cvr_bf16_of_f32(x[i])) != x[i];
    return found;
}

Test(shared_casts, the_bits_of_a_step_stay) {
    float weights[2][4 * 3 * 3 * 3];
    for (int casting = 0; casting < 2; casting++) {
        step s;
        open_step(&s, casting);
        train(&s, two_layers(&s, picture(&s, 8, CVR_BF16)));
        plan(&s);
        cr_expect_eq(weight_casts(&s, CVR_BF16), casting ? 3 : 0);
        run_step(&s, weights[casting]);
        cr_expect_gt(not_bf16(weights[casting], sizeof *weights / sizeof **weights), 0, "the step changes nothing");
        close_step(&s);
    }
    cr_expect_eq(memcmp(weights[0], weights[1], sizeof weights[0]), 0);
}

/* A convolution that reads the weight after its update reads a new cast. */
Test(shared_casts, what_was_updated_is_cast_again) {
    const cvr_conv2d_attrs attrs = {{1, 1}, {0, 0}, {1, 1}, 1};
    step s;
    open_step(&s, true);
    const cvr_value x = picture(&s, 8, CVR_BF16);
    train(&s, two_layers(&s, x));
    cvr_value in[2] = {x, cvr_graph_param(s.graph, "c1.weight")}, after;
    good(cvr_emit(cvr_graph_builder(s.graph), "conv2d", &attrs, sizeof attrs, in, 2, &after, &err));
    good(cvr_graph_output(s.graph, "after", after, &err));
    plan(&s);
    cr_expect_eq(weight_casts(&s, CVR_BF16), 4);
    close_step(&s);
}
