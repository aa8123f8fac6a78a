/* What kernels prepare from weights (cvr_kernel_desc.prepares): made once, and again whenever it could be out of date.
 */
#include <criterion/criterion.h>
#include <cvr/program.h>
#include <math.h>

#define PIXELS (4 * 3 * 12 * 12)
#define RESULTS (4 * 10)

static cvr_error err;
static uint64_t launches;

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", err.message);
}

static int32_t counts(const cvr_profiler *p) {
    (void)p;
    return 1;
}

static void begin(const cvr_profiler *p, uint64_t program, uint64_t index) {
    (void)p, (void)program, (void)index;
    launches++;
}

static void end(const cvr_profiler *p, uint64_t program, uint64_t index) {
    (void)p, (void)program, (void)index;
}

static const cvr_profiler profiler = {.struct_size = sizeof profiler, .enabled = counts, .begin = begin, .end = end};

typedef struct machine {
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    cvr_device *device;
    cvr_store *store;
    cvr_graph *eval_graph, *train_graph;
    cvr_program *eval, *train;
    cvr_arena *arena;
} machine;

/* conv, relu, conv, relu, linear; where it trains: the mean of the squares, and SGD. */
static void build(machine *m, cvr_graph **graph, bool training) {
    static const int64_t shape[4] = {4, 3, 12, 12};
    cvr_value x, loss;
    cvr_type type;
    const void *desc;
    void *attrs;
    good(cvr_graph_create(graph, m->plugins, m->store, training, &err));
    const cvr_builder *b = cvr_graph_builder(*graph);
    cvr_type_set(&type, CVR_F32, 4, shape);
    good(cvr_graph_input(*graph, "image", &type, &x, &err));
    good(cvr_layer(b, "c1", "conv2d", "40 kernel_size=3 padding=1", x, &x, &err));
    good(cvr_layer(b, "r1", "relu", "", x, &x, &err));
    good(cvr_layer(b, "c2", "conv2d", "33 kernel_size=3 padding=1", x, &x, &err));
    good(cvr_layer(b, "r2", "relu", "", x, &x, &err));
    good(cvr_layer(b, "f", "flatten", "", x, &x, &err));
    good(cvr_layer(b, "l", "linear", "10", x, &x, &err));
    good(cvr_graph_output(*graph, "out", x, &err));
    if (!training) return;
    const cvr_value pair[2] = {x, x};
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = "mul",
                                 .name = "square",
                                 .settings = "",
                                 .inputs = pair,
                                 .outputs = &x,
                                 .n_inputs = 2,
                                 .n_outputs = 1};
    good(b->layer(b, &call, &err));
    good(cvr_layer(b, "loss", "mean", "", x, &loss, &err));
    good(cvr_graph_backward(*graph, loss, &err));
    good(cvr_plugins_find(m->plugins, CVR_KIND_OPTIMIZER, "sgd", &desc, &err));
    const cvr_optimizer_desc *sgd = desc;
    const cvr_schema schema = {sgd->attrs, sgd->n_attrs};
    good(cvr_attrs_parse(&schema, "", NULL, "sgd", &attrs, &err));
    good(cvr_graph_update(*graph, &(cvr_update_policy){sgd, attrs, 0, 0, 0}, &err));
    cvr_free(attrs);
}

static void open_machine(machine *m, const char *backend) {
    cvr_error_init(&err);
    memset(m, 0, sizeof *m);
    good(cvr_plugins_open(&m->plugins, NULL, 0, &err));
    good(cvr_pool_create(&m->pool, 2, &err));
    cvr_plugins_offer(m->plugins, CVR_SERVICE_PROFILER, &profiler);
    good(cvr_device_open(&m->device, m->plugins, &(cvr_device_choice){.backend = backend}, m->pool, &err));
    good(cvr_store_create(&m->store, 1, &err));
    build(m, &m->eval_graph, false);
    build(m, &m->train_graph, true);
    good(cvr_program_plan(&m->eval, m->eval_graph, m->device, m->pool, CVR_FALLBACK_ALLOW, &err));
    good(cvr_program_plan(&m->train, m->train_graph, m->device, m->pool, CVR_FALLBACK_ALLOW, &err));
    good(cvr_arena_create(&m->arena, m->device, (cvr_program *const[]){m->eval, m->train}, 2, 0, &err));
    good(cvr_store_place(m->store, m->device, &err));
    good(cvr_program_bind(m->eval, m->arena, &err));
    good(cvr_program_bind(m->train, m->arena, &err));
}

static void close_machine(machine *m) {
    cvr_program_destroy(&m->eval);
    cvr_program_destroy(&m->train);
    cvr_graph_destroy(&m->eval_graph);
    cvr_graph_destroy(&m->train_graph);
    cvr_arena_destroy(&m->arena);
    cvr_store_destroy(&m->store);
    cvr_device_close(&m->device);
    cvr_plugins_close(&m->plugins);
    cvr_pool_destroy(&m->pool);
}

static void run(cvr_program *p, const char *result, float *out) {
    static float image[PIXELS];
    const float lr = 0.5f, one = 1.0f;
    const int64_t zero = 0;
    const struct {
        const char *name;
        const void *bytes;
    } slots[] = {{"image", image},   {"lr", &lr},     {"step", &zero},
                 {"updates", &zero}, {"seed", &zero}, {"loss_scale", &one}};
    for (int i = 0; i < PIXELS; i++) image[i] = (float)(i * 37 % 64) / 64.0f;
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        const int32_t slot = cvr_program_slot(p, slots[i].name);
        if (slot >= 0) good(cvr_program_write(p, slot, slots[i].bytes, &err));
    }
    launches = 0;
    good(cvr_program_run(p, &err));
    good(cvr_program_read(p, cvr_program_slot(p, result), out, &err));
}

/* Evaluates on both, which must agree. Returns how many launches the first one had. */
static uint64_t agree(const machine *m, const machine *reference, const char *when) {
    float have[RESULTS], want[RESULTS];
    run(reference->eval, "out", want);
    run(m->eval, "out", have);
    for (int i = 0; i < RESULTS; i++)
        cr_assert_float_eq(have[i], want[i], 1e-4f * (1 + fabsf(want[i])), "%s: result %d is %g, not %g", when, i,
                           (double)have[i], (double)want[i]);
    return launches;
}

static void write_weight(const machine *m, float to) {
    const int64_t i = cvr_store_find(m->store, "c2.weight");
    static float weight[33 * 40 * 9];
    for (size_t k = 0; k < sizeof weight / sizeof *weight; k++) weight[k] = to * (float)(k % 7);
    good(cvr_store_write(m->store, (size_t)i, weight, &err));
}

Test(prepared, is_never_out_of_date) {
    machine m, reference;
    float unused[RESULTS];
    open_machine(&m, "cpu");
    open_machine(&reference, "reference");
    const uint64_t first = agree(&m, &reference, "at first"), again = agree(&m, &reference, "again");
    cr_assert_gt(first, again, "nothing was prepared, or it was every time: %llu launches, then %llu",
                 (unsigned long long)first, (unsigned long long)again);
    write_weight(&m, 0.01f);
    write_weight(&reference, 0.01f);
    cr_assert_eq(agree(&m, &reference, "after a write"), first);
    run(m.train, "out", unused);
    run(reference.train, "out", unused);
    cr_assert_eq(agree(&m, &reference, "after a step in the same memory"), first);
    cr_assert_eq(agree(&m, &reference, "in peace"), again);
    close_machine(&m);
    close_machine(&reference);
}
