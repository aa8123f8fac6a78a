#include "support/small_net.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define STAGE(name_, globs_)                                                                                           \
    &(const cvr_stage) {                                                                                               \
        sizeof(cvr_stage), name_, globs_                                                                               \
    }
const cvr_stage *const net_stages[3] = {STAGE("backbone.stem", "c1,b?"), STAGE("backbone.body", "c2.*"),
                                        STAGE("head", "fc")};

void net_good(small_net *n, int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", n->err.message);
}

void net_open(small_net *n, const char *backend, const cvr_param_rules *rules) {
    memset(n, 0, sizeof *n);
    cvr_error_init(&n->err);
    (void)setenv("CVR_PLUGIN_PATH", CVR_TEST_PLUGINS, 1); /* the backend `faulty` */
    net_good(n, cvr_plugins_open(&n->plugins, NULL, 0, &n->err));
    net_good(n, cvr_pool_create(&n->pool, 2, &n->err));
    net_good(n, cvr_device_open(&n->device, n->plugins, &(cvr_device_choice){.backend = backend}, n->pool, &n->err));
    net_good(n, cvr_store_create(&n->store, 3, &n->err));
    if (rules) net_good(n, cvr_store_rules(n->store, rules, &n->err));
}

int32_t net_open_on(small_net *n, const cvr_device_choice *which) {
    net_open(n, "cpu", NULL);
    cvr_device_close(&n->device);
    return cvr_device_open(&n->device, n->plugins, which, n->pool, &n->err);
}

void net_close(small_net *n) {
    cvr_store_destroy(&n->store);
    cvr_device_close(&n->device);
    cvr_plugins_close(&n->plugins);
    cvr_pool_destroy(&n->pool);
}

static cvr_value layers(small_net *n, const cvr_builder *b, cvr_value x, bool norm) {
    net_good(n, cvr_layer(b, "c1", "conv2d", "8 kernel_size=3 padding=1", x, &x, &n->err));
    if (norm) net_good(n, cvr_layer(b, "b1", "batch_norm2d", "", x, &x, &n->err));
    net_good(n, cvr_layer(b, "r1", "relu", "", x, &x, &n->err));
    net_good(n, cvr_layer(b, "c2", "conv2d", "8 kernel_size=3 padding=1", x, &x, &n->err));
    net_good(n, cvr_layer(b, "r2", "relu", "", x, &x, &n->err));
    net_good(n, cvr_layer(b, "f", "flatten", "", x, &x, &n->err));
    net_good(n, cvr_layer(b, "fc", "linear", "5", x, &x, &n->err));
    return x;
}

static void build_network(small_net *n, net_unit *u, const net_spec *spec) {
    const cvr_builder *b = cvr_graph_builder(u->graph);
    cvr_value x, loss;
    cvr_type type;
    cvr_type_set(&type, CVR_F32, 4, (int64_t[4]){spec->batch, 3, 8, 8});
    net_good(n, cvr_graph_input(u->graph, "image", &type, &x, &n->err));
    x = layers(n, b, x, (spec->parts & NET_BATCH_NORM) != 0);
    net_good(n, cvr_graph_output(u->graph, "out", x, &n->err));
    const cvr_value pair[2] = {x, x};
    net_good(n, cvr_layer2(b, "square", "mul", "", pair, &x, &n->err));
    net_good(n, cvr_layer(b, "loss", "mean", "", x, &loss, &n->err));
    net_good(n, cvr_graph_output(u->graph, "loss", loss, &n->err));
    if (spec->passes) net_good(n, cvr_graph_passes(u->graph, CVR_PASS_NETWORK, spec->passes, &n->err));
    if (spec->parts & NET_TRAIN)
        net_good(n, cvr_graph_backward(u->graph, cvr_graph_output_value(u->graph, "loss"), &n->err));
}

static void build_update(small_net *n, net_unit *u, const net_spec *spec) {
    const char *name = spec->optimizer ? spec->optimizer : "sgd";
    const void *desc;
    void *attrs;
    net_good(n, cvr_plugins_find(n->plugins, CVR_KIND_OPTIMIZER, name, &desc, &n->err));
    const cvr_optimizer_desc *optimizer = desc;
    const cvr_schema schema = {optimizer->attrs, optimizer->n_attrs};
    net_good(n, cvr_attrs_parse(&schema, spec->settings ? spec->settings : "", NULL, name, &attrs, &n->err));
    const cvr_update_policy policy = {optimizer, attrs, spec->weight_decay, spec->weight_decay, spec->weight_decay};
    net_good(n, cvr_graph_gradients(u->graph, spec->plugins, spec->n_plugins, &n->err));
    net_good(n, cvr_graph_update(u->graph, &policy, &n->err));
    cvr_free(attrs);
}

void net_build(small_net *n, net_unit *u, const net_spec *spec) {
    memset(u, 0, sizeof *u);
    net_good(n, cvr_graph_create(&u->graph, n->plugins, n->store, (spec->parts & NET_TRAIN) != 0, &n->err));
    if ((spec->parts & (NET_AVERAGE | NET_TRAIN)) == NET_AVERAGE) cvr_graph_use_averages(u->graph);
    if (spec->parts & NET_APPLY)
        net_good(n, cvr_graph_take_gradients(u->graph, &n->err));
    else
        build_network(n, u, spec);
    if (spec->parts & NET_GUARD) net_good(n, cvr_graph_guard(u->graph, "loss", &n->err));
    if (spec->parts & NET_ACCUMULATE) net_good(n, cvr_graph_accumulate(u->graph, &n->err));
    if (spec->parts & NET_UPDATE) build_update(n, u, spec);
    if ((spec->parts & (NET_AVERAGE | NET_UPDATE)) == (NET_AVERAGE | NET_UPDATE))
        net_good(n, cvr_graph_average(u->graph, &n->err));
    if (spec->passes) net_good(n, cvr_graph_passes(u->graph, CVR_PASS_STEP, spec->passes, &n->err));
    net_good(n, cvr_graph_schedule(u->graph, &n->err));
    net_good(n, cvr_program_plan(&u->program, u->graph, n->device, n->pool, CVR_FALLBACK_ALLOW, &n->err));
}

void net_bind(small_net *n, net_unit *u) {
    const float one = 1;
    net_good(n, cvr_store_place(n->store, n->device, &n->err));
    net_good(n, cvr_arena_create(&u->arena, n->device, &u->program, 1, 0, &n->err));
    net_good(n, cvr_program_bind(u->program, u->arena, &n->err));
    if (cvr_program_slot(u->program, "loss_scale") >= 0)
        net_good(n, cvr_program_write(u->program, cvr_program_slot(u->program, "loss_scale"), &one, &n->err));
}

void net_drop(small_net *n, net_unit *u) {
    (void)n;
    cvr_program_destroy(&u->program);
    cvr_graph_destroy(&u->graph);
    cvr_arena_destroy(&u->arena);
}

static int64_t batch_of(const net_unit *u) {
    return cvr_program_slot_type(u->program, cvr_program_slot(u->program, "image"))->shape[0];
}

void net_images(small_net *n, net_unit *u, int64_t first) {
    const int32_t slot = cvr_program_slot(u->program, "image");
    const int64_t batch = batch_of(u);
    float *pixels = cvr_calloc((size_t)batch * NET_PIXELS, sizeof *pixels);
    cr_assert(pixels);
    for (int64_t i = 0; i < batch * NET_PIXELS; i++)
        pixels[i] = (float)((i + first * NET_PIXELS) * 7919 % 1009) / 1009.0f - 0.4f;
    net_good(n, cvr_program_write(u->program, slot, pixels, &n->err));
    cvr_free(pixels);
}

void net_scalar(small_net *n, net_unit *u, const char *name, double value) {
    const int32_t slot = cvr_program_slot(u->program, name);
    const float real = (float)value;
    const int64_t whole = isnan(value) ? 0 : (int64_t)value;
    if (slot < 0) return;
    const bool is_real = cvr_program_slot_type(u->program, slot)->dtype == CVR_F32;
    net_good(n, cvr_program_write(u->program, slot, is_real ? (const void *)&real : &whole, &n->err));
}

void net_run(small_net *n, net_unit *u) {
    net_good(n, cvr_program_run(u->program, &n->err));
}

void net_steps(small_net *n, net_unit *u, int64_t steps) {
    for (int64_t i = 0; i < steps; i++) {
        net_images(n, u, batch_of(u) * i);
        net_scalar(n, u, "lr", 0.05 / (double)(i + 1));
        net_scalar(n, u, "step", (double)i);
        net_run(n, u);
    }
}

static int32_t write_to(small_net *n, net_unit *u, const char *name, const void *data) {
    return cvr_program_write(u->program, cvr_program_slot(u->program, name), data, &n->err);
}

int32_t net_try(small_net *n, net_unit *u, int64_t steps, float *loss) {
    const float one = 1, rate = 0.05f;
    float *pixels = cvr_calloc((size_t)batch_of(u) * NET_PIXELS, sizeof *pixels);
    int32_t status;
    cr_assert(pixels);
    CVR_TRY_OUT(cvr_store_place(n->store, n->device, &n->err));
    CVR_TRY_OUT(cvr_arena_create(&u->arena, n->device, &u->program, 1, 0, &n->err));
    CVR_TRY_OUT(cvr_program_bind(u->program, u->arena, &n->err));
    for (int64_t i = 0; i < steps; i++) {
        CVR_TRY_OUT(write_to(n, u, "loss_scale", &one));
        CVR_TRY_OUT(write_to(n, u, "lr", &rate));
        CVR_TRY_OUT(write_to(n, u, "image", pixels));
        CVR_TRY_OUT(cvr_program_run(u->program, &n->err));
        CVR_TRY_OUT(cvr_program_read(u->program, cvr_program_slot(u->program, "loss"), loss, &n->err));
    }
out:
    cvr_free(pixels);
    net_drop(n, u);
    return status;
}

static size_t index_of(const small_net *n, const char *name) {
    const int64_t i = cvr_store_find(n->store, name);
    cr_assert_geq(i, 0, "there is no entry %s", name);
    return (size_t)i;
}

const cvr_store_entry *net_entry(const small_net *n, const char *name) {
    return cvr_store_get(n->store, index_of(n, name));
}

size_t net_count(const small_net *n, const char *name) {
    return net_entry(n, name)->bytes / sizeof(float);
}

void net_read(small_net *n, const char *name, float *out, size_t count) {
    cr_assert_eq(count, net_count(n, name));
    net_good(n, cvr_store_read(n->store, index_of(n, name), out, &n->err));
}

void net_write(small_net *n, const char *name, const float *in, size_t count) {
    cr_assert_eq(count, net_count(n, name));
    net_good(n, cvr_store_write(n->store, index_of(n, name), in, &n->err));
}

size_t net_nodes(const net_unit *u, const char *op, bool backward) {
    size_t count = 0;
    for (size_t i = 0; i < cvr_program_nodes(u->program); i++) {
        cvr_node_info info;
        cvr_program_node(u->program, i, &info);
        count += (!op || strcmp(info.op, op) == 0) && (!backward || info.backward);
    }
    return count;
}
