/*
 * What a plan costs: graph, passes and plan of ResNet-152's training step (batch 32 of 224 x 224, f32, SGD with
 * momentum), which every canvas and every batch size pays once. Processor time of one thread, median of five; the first
 * one, which loads plugins, does not count.
 */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <cvr/program.h>
#include <stdlib.h>
#include <time.h>

#define MOST_MS 150.0 /* on any machine that tests run on; an idle one of 2020 needs less than 50 */

static cvr_error err = CVR_ERROR_INIT;

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", err.message);
}

static const void *find(cvr_plugins *p, const char *kind, const char *name) {
    const void *desc;
    good(cvr_plugins_find(p, kind, name, &desc, &err));
    return desc;
}

static void *defaults(const cvr_attr_desc *const *list, uint32_t n, const char *text) {
    const cvr_schema schema = {list, n};
    void *attrs;
    good(cvr_attrs_parse(&schema, text, NULL, "test", &attrs, &err));
    return attrs;
}

typedef struct bench {
    cvr_plugins *plugins;
    cvr_device *device;
    cvr_threadpool *pool;
    const cvr_model_desc *model;
    cvr_update_policy policy;
    void *model_attrs;
} bench;

static void plan_once(const bench *b, size_t *nodes) {
    static const int64_t shape[4] = {32, 3, 224, 224}, labels[1] = {32};
    cvr_store *store;
    cvr_graph *g;
    cvr_program *program;
    cvr_value image, in[2], loss;
    cvr_type type;
    good(cvr_store_create(&store, 1, &err));
    good(cvr_graph_create(&g, b->plugins, store, true, &err));
    const cvr_builder *builder = cvr_graph_builder(g);
    cvr_type_set(&type, CVR_F32, 4, shape);
    good(cvr_graph_input(g, "image", &type, &image, &err));
    const cvr_model_args args = {sizeof args, b->model_attrs, 1000, 3};
    good(b->model->build(builder, &args, cvr_graph_io(g), &err));
    in[0] = cvr_graph_output_value(g, "output");
    cvr_type_set(&type, CVR_I64, 1, labels);
    good(cvr_graph_input(g, "target", &type, &in[1], &err));
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = "cross_entropy",
                                 .name = "loss",
                                 .inputs = in,
                                 .outputs = &loss,
                                 .n_inputs = 2,
                                 .n_outputs = 1};
    good(builder->layer(builder, &call, &err));
    good(cvr_graph_output(g, "loss", loss, &err));
    good(cvr_graph_passes(g, CVR_PASS_NETWORK, "auto", &err));
    good(cvr_graph_backward(g, cvr_graph_output_value(g, "loss"), &err));
    good(cvr_graph_update(g, &b->policy, &err));
    good(cvr_graph_passes(g, CVR_PASS_STEP, "auto", &err));
    good(cvr_graph_schedule(g, &err));
    good(cvr_program_plan(&program, g, b->device, b->pool, CVR_FALLBACK_ERROR, &err));
    *nodes = cvr_program_nodes(program);
    cvr_program_destroy(&program);
    cvr_graph_destroy(&g);
    cvr_store_destroy(&store);
}

static double now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

Test(plan_time, resnet152_training_step) {
    bench b;
    double ms[5];
    size_t nodes;
    memset(&b, 0, sizeof b);
    good(cvr_plugins_open(&b.plugins, NULL, 0, &err));
    good(cvr_pool_create(&b.pool, 1, &err));
    good(cvr_device_open(&b.device, b.plugins, &(cvr_device_choice){.backend = "cpu"}, b.pool, &err));
    b.model = find(b.plugins, CVR_KIND_MODEL, "resnet152");
    b.policy.optimizer = find(b.plugins, CVR_KIND_OPTIMIZER, "sgd");
    b.model_attrs = defaults(b.model->attrs, b.model->n_attrs, "");
    void *attrs = defaults(b.policy.optimizer->attrs, b.policy.optimizer->n_attrs, "momentum=0.9");
    b.policy.attrs = attrs;
    plan_once(&b, &nodes);
    for (int i = 0; i < 5; i++) {
        const double start = now_ms();
        plan_once(&b, &nodes);
        ms[i] = now_ms() - start;
    }
    qsort(ms, 5, sizeof *ms, by_size);
    printf("plan_time_test: %zu nodes, %.1f ms (median of 5, one core)\n", nodes, ms[2]);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    cr_assert_lt(ms[2], MOST_MS);
#endif
    cvr_device_close(&b.device);
    cvr_pool_destroy(&b.pool);
    cvr_free(b.model_attrs);
    cvr_free(attrs);
    cvr_plugins_close(&b.plugins);
}
