/* After the first step the compute path allocates nothing and opens nothing; the planned memory is what is used. */
#include <criterion/criterion.h>
#include <cvr/session.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

/* Every allocation of the process, plugins and libraries included; the sanitizers bring an allocator of their own. */
static atomic_long allocations;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
void *malloc(size_t n) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(p, n);
}
int posix_memalign(void **p, size_t align, size_t n) {
    atomic_fetch_add(&allocations, 1);
    *p = __libc_memalign(align, n);
    return *p ? 0 : 12;
}
#endif

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

static void add_layer(const cvr_builder *b, const char *layer, const char *settings, cvr_value *x) {
    good(cvr_layer(b, layer, layer, settings, *x, x, &err)); /* each stands once, so its own name will do */
}

/* conv, batch norm, relu, pool, dropout, linear, cross entropy, backward, SGD with momentum. */
static void make_step(step *s, const char *backend) {
    static const int64_t shape[4] = {8, 3, 16, 16}, labels[1] = {8};
    cvr_value x, in[2], loss;
    cvr_type type;
    const void *desc;
    void *attrs;
    cvr_error_init(&err);
    good(cvr_plugins_open(&s->plugins, NULL, 0, &err));
    good(cvr_pool_create(&s->pool, 2, &err));
    good(cvr_device_open(&s->device, s->plugins, &(cvr_device_choice){.backend = backend}, s->pool, &err));
    good(cvr_store_create(&s->store, 1, &err));
    good(cvr_graph_create(&s->graph, s->plugins, s->store, true, &err));
    const cvr_builder *b = cvr_graph_builder(s->graph);
    cvr_type_set(&type, CVR_F32, 4, shape);
    good(cvr_graph_input(s->graph, "image", &type, &x, &err));
    cvr_type_set(&type, CVR_I64, 1, labels);
    good(cvr_graph_input(s->graph, "target", &type, &in[1], &err));
    add_layer(b, "conv2d", "8 kernel_size=3 padding=1", &x);
    add_layer(b, "batch_norm2d", "", &x);
    add_layer(b, "relu", "", &x);
    add_layer(b, "max_pool2d", "2", &x);
    add_layer(b, "flatten", "", &x);
    add_layer(b, "dropout", "0.1", &x);
    add_layer(b, "linear", "5", &x);
    in[0] = x;
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = "cross_entropy",
                                 .name = "loss",
                                 .settings = "",
                                 .inputs = in,
                                 .outputs = &loss,
                                 .n_inputs = 2,
                                 .n_outputs = 1};
    good(b->layer(b, &call, &err));
    good(cvr_graph_output(s->graph, "loss", loss, &err));
    good(cvr_graph_backward(s->graph, loss, &err));
    good(cvr_plugins_find(s->plugins, CVR_KIND_OPTIMIZER, "sgd", &desc, &err));
    const cvr_optimizer_desc *sgd = desc;
    const cvr_schema schema = {sgd->attrs, sgd->n_attrs};
    good(cvr_attrs_parse(&schema, "momentum=0.9", NULL, "sgd", &attrs, &err));
    const cvr_update_policy policy = {sgd, attrs, 1e-4, 1e-4, 1e-4};
    good(cvr_graph_update(s->graph, &policy, &err));
    cvr_free(attrs);
    good(cvr_program_plan(&s->program, s->graph, s->device, s->pool, CVR_FALLBACK_ERROR, &err));
    good(cvr_arena_create(&s->arena, s->device, &s->program, 1, 0, &err));
    good(cvr_store_place(s->store, s->device, &err));
    good(cvr_program_bind(s->program, s->arena, &err));
}

static void free_step(step *s) {
    cvr_program_destroy(&s->program);
    cvr_graph_destroy(&s->graph);
    cvr_arena_destroy(&s->arena);
    cvr_store_destroy(&s->store);
    cvr_device_close(&s->device);
    cvr_plugins_close(&s->plugins);
    cvr_pool_destroy(&s->pool);
}

static float run_step(step *s, int64_t number) {
    static float image[8 * 3 * 16 * 16];
    static const int64_t target[8] = {0, 1, 2, 3, 4, 0, 1, 2};
    const float lr = 0.05f, one = 1.0f;
    const int64_t seed = 3;
    float loss;
    for (size_t i = 0; i < sizeof image / sizeof *image; i++)
        image[i] = (float)((i * 37 + (size_t)(i / 768) * 11) % 64) / 64.0f;
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "image"), image, &err));
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "target"), target, &err));
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "lr"), &lr, &err));
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "step"), &number, &err));
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "updates"), &number, &err));
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "seed"), &seed, &err));
    good(cvr_program_write(s->program, cvr_program_slot(s->program, "loss_scale"), &one, &err));
    good(cvr_program_run(s->program, &err));
    good(cvr_program_read(s->program, cvr_program_slot(s->program, "loss"), &loss, &err));
    return loss;
}

static void check_quiet(const char *backend) {
    step s = {0};
    make_step(&s, backend);
    const float first = run_step(&s, 0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    const struct rlimit none = {0, files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none); /* from here on nothing can be opened */
    const uint64_t own = cvr_alloc_count();
    const long all = atomic_load(&allocations);
    float last = first;
    for (int64_t i = 1; i < 20; i++) last = run_step(&s, i);
    const long made = atomic_load(&allocations) - all;
    setrlimit(RLIMIT_NOFILE, &files);
    cr_assert_eq(cvr_alloc_count(), own, "%s: the core allocated in a step", backend);
    cr_assert_eq(made, 0, "%s: %ld allocations in 19 steps", backend, made);
    cr_assert_lt(last, first, "%s: it does not learn", backend);
    free_step(&s);
}

Test(steps, allocate_and_open_nothing_on_cpu) {
    check_quiet("cpu");
}
Test(steps, allocate_and_open_nothing_on_reference) {
    check_quiet("reference");
}

/* The loss of each step is the same whichever backend computes it, to rounding. */
Test(steps, agree_between_backends) {
    static const char *const backends[] = {"cpu", "far", "reference"};
    float losses[3][10];
    for (int b = 0; b < 3; b++) {
        step s = {0};
        make_step(&s, backends[b]);
        for (int i = 0; i < 10; i++) losses[b][i] = run_step(&s, i);
        free_step(&s);
    }
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(losses[0][i], losses[1][i], "step %d: cpu %g, far %g", i, (double)losses[0][i],
                     (double)losses[1][i]);
        cr_assert_float_eq(losses[0][i], losses[2][i], 1e-4, "step %d: cpu %g, reference %g", i, (double)losses[0][i],
                           (double)losses[2][i]);
    }
}
