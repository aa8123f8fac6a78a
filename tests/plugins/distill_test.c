/*
 * The distillers against PyTorch (tests/golden/distill.safetensors, made by tests/parity/distill.py): loss, gradient of
 * the student, gradients of what a distiller trains, on kernels of the CPU, on the reference and on the device kernels,
 * none of which may leave a node to another. The gradient is also held against differences of the loss itself.
 *
 * Tolerance: as golden_test has it, 1e-5 of the largest value, times ten: a loss is a chain of some twenty ops.
 */
#include "support/golden_fields.h"
#include "support/small_net.h"
#include <cvr/plugin/distiller.h>
#include <cvr/session.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RELATIVE 1e-4
#define MOST_TRAINED 8

/* The ends of a teacher whose one result is given. */
typedef struct given_teacher {
    cvr_io_output output;
} given_teacher;

static const cvr_io_output *output_of(const cvr_io *io, uint32_t i) {
    const given_teacher *t = io->ctx;
    return i == 0 && t->output.value ? &t->output : NULL;
}

/* A case on a backend. */
typedef struct distill_case {
    golden *g;
    const char *label;
    small_net n;
    net_unit u;
    cvr_value student, teacher;
    const cvr_distiller_desc *method;
    void *attrs;
    double task_weight;
    char trained[MOST_TRAINED][64];
    size_t n_trained;
} distill_case;

static cvr_value input(distill_case *c, const char *field) {
    const golden_tensor *t = golden_need(c->g, c->label, field);
    cvr_value v;
    net_good(&c->n, cvr_graph_input(c->u.graph, field, &t->type, &v, &c->n.err));
    return v;
}

static void find_method(distill_case *c) {
    char method[64], settings[128];
    const void *desc;
    golden_text(c->g, c->label, "method", method, sizeof method);
    golden_text(c->g, c->label, "settings", settings, sizeof settings);
    method[strcspn(method, " ")] = '\0';
    net_good(&c->n, cvr_plugins_find(c->n.plugins, CVR_KIND_DISTILLER, method, &desc, &c->n.err));
    c->method = desc;
    const cvr_schema schema = {c->method->attrs, c->method->n_attrs};
    net_good(&c->n, cvr_attrs_parse(&schema, settings, NULL, method, &c->attrs, &c->n.err));
}

/* Calls the distiller, as a session does, and gives the loss. */
static int32_t distil(distill_case *c, cvr_value *loss) {
    const cvr_io *io = cvr_graph_io(c->u.graph);
    given_teacher taught = {{sizeof taught.output, "output", CVR_ROLE_RESULT, c->teacher, 0}};
    if (c->method->layers) taught.output.value = CVR_NONE;
    const cvr_io teacher = {.struct_size = sizeof teacher, .ctx = &taught, .output = output_of};
    const cvr_distill_pair pair = {sizeof pair, "layer", "layer", c->student, c->teacher}, *const pairs[1] = {&pair};
    const cvr_distillation d = {
        .struct_size = sizeof d,
        .builder = cvr_graph_builder(c->u.graph),
        .attrs = c->attrs,
        .student = io,
        .teacher = &teacher,
        .pairs = pairs,
        .n_pairs = c->method->layers ? 1 : 0,
        .n_classes = cvr_graph_builder(c->u.graph)->type(cvr_graph_builder(c->u.graph), c->student)->shape[1]};
    c->task_weight = 1;
    CVR_TRY(cvr_graph_enter(c->u.graph, "distill", CVR_NETWORK_TRAINED, &c->n.err));
    const int32_t status = c->method->losses(&d, &c->task_weight, &c->n.err);
    cvr_graph_leave(c->u.graph);
    *loss = CVR_NONE;
    const cvr_io_output *o;
    for (uint32_t i = 0; (o = io->output(io, i)); i++)
        if (o->role == CVR_ROLE_LOSS) *loss = o->value;
    return status;
}

static void keep_gradient(distill_case *c, cvr_value of, const char *name) {
    const cvr_value grad = cvr_graph_gradient(c->u.graph, of);
    cr_assert(grad, "%s: no gradient for %s", c->label, name);
    net_good(&c->n, cvr_graph_output(c->u.graph, name, grad, &c->n.err));
}

/* What the case has numbers for, of all that the distiller has declared. */
static void keep_trained(distill_case *c) {
    for (size_t i = 0; i < c->g->n; i++) {
        golden_tensor *t = &c->g->tensors[i];
        char full[96];
        if (strcmp(t->label, c->label) != 0 || strncmp(t->field, "param.", 6) != 0) continue;
        cr_assert_lt(c->n_trained, MOST_TRAINED);
        (void)snprintf(c->trained[c->n_trained], sizeof c->trained[0], "%s", t->field + 6);
        (void)snprintf(full, sizeof full, "distill.%s", t->field + 6);
        const cvr_value v = cvr_graph_param(c->u.graph, full);
        cr_assert(v, "%s: the distiller has no %s", c->label, full);
        const cvr_store_entry *e = net_entry(&c->n, full);
        cr_expect(!cvr_store_in_weights(e) && cvr_store_in_checkpoint(e) && e->role == CVR_STORE_TRAINED, "%s", full);
        keep_gradient(c, v, full);
        c->n_trained++;
    }
}

static void build(distill_case *c, const char *backend, uint32_t fallback) {
    cvr_value loss;
    net_open(&c->n, backend, NULL);
    net_good(&c->n, cvr_graph_create(&c->u.graph, c->n.plugins, c->n.store, true, &c->n.err));
    c->student = input(c, "student");
    c->teacher = input(c, "teacher");
    (void)input(c, "label");
    cvr_graph_wants_gradient(c->u.graph, c->student);
    find_method(c);
    const cvr_io *io = cvr_graph_io(c->u.graph);
    if (!c->method->layers) net_good(&c->n, io->put(io, "output", CVR_ROLE_RESULT, c->student, &c->n.err));
    net_good(&c->n, distil(c, &loss));
    cr_assert(loss, "%s: no loss", c->label);
    net_good(&c->n, cvr_graph_output(c->u.graph, "sum", loss, &c->n.err));
    net_good(&c->n, cvr_graph_backward(c->u.graph, loss, &c->n.err));
    keep_gradient(c, c->student, "gstudent");
    keep_trained(c);
    net_good(&c->n, cvr_program_plan(&c->u.program, c->u.graph, c->n.device, c->n.pool, fallback, &c->n.err));
    net_bind(&c->n, &c->u);
}

/* ---- running ---- */

static void write_input(distill_case *c, const char *name, const void *logical) {
    const int32_t slot = cvr_program_slot(c->u.program, name);
    if (slot < 0) return; /* a method that does not read it */
    const cvr_type *t = cvr_program_slot_type(c->u.program, slot);
    void *memory = cvr_calloc((size_t)cvr_numel(t->rank, t->shape) + 1, cvr_dtype_size(t->dtype));
    cr_assert(memory);
    cvr_from_logical(t, logical, memory);
    net_good(&c->n, cvr_program_write(c->u.program, slot, memory, &c->n.err));
    cvr_free(memory);
}

/* The output's numbers in logical order; free. */
static float *read_output(distill_case *c, const char *name, size_t *n) {
    const int32_t slot = cvr_program_slot(c->u.program, name);
    const cvr_type *t = cvr_program_slot_type(c->u.program, slot);
    *n = (size_t)cvr_numel(t->rank, t->shape);
    float *memory = cvr_calloc(*n + 1, sizeof *memory), *logical = cvr_calloc(*n + 1, sizeof *logical);
    cr_assert(memory && logical);
    net_good(&c->n, cvr_program_read(c->u.program, slot, memory, &c->n.err));
    cvr_to_logical(t, memory, logical);
    cvr_free(memory);
    return logical;
}

static float run(distill_case *c, const float *student) {
    float loss;
    write_input(c, "student", student);
    write_input(c, "teacher", golden_need(c->g, c->label, "teacher")->data);
    write_input(c, "label", golden_need(c->g, c->label, "label")->data);
    net_scalar(&c->n, &c->u, "epoch", (double)golden_f32(c->g, c->label, "epoch"));
    net_scalar(&c->n, &c->u, "loss_scale", 1);
    net_run(&c->n, &c->u);
    net_good(&c->n, cvr_program_read(c->u.program, cvr_program_slot(c->u.program, "sum"), &loss, &c->n.err));
    return loss;
}

static void expect_near(const distill_case *c, const char *backend, const char *what, const float *is,
                        const float *wanted, size_t n) {
    double most = 0, worst = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)wanted[i]));
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)is[i] - (double)wanted[i]));
    cr_expect(worst <= RELATIVE * most + 1e-7 && isfinite(worst), "%s on %s: %s is off by %g of %g", c->label, backend,
              what, worst, most);
}

static void compare(distill_case *c, const char *backend, const char *output, const char *field) {
    size_t n;
    float *is = read_output(c, output, &n);
    const golden_tensor *t = golden_need(c->g, c->label, field);
    cr_assert_eq(t->bytes, n * sizeof(float));
    expect_near(c, backend, output, is, (const float *)(const void *)t->data, n);
    cvr_free(is);
}

/* Along the gradient itself the loss changes by its length. */
static void check_slope(distill_case *c, const char *backend) {
    size_t n;
    float *grad = read_output(c, "gstudent", &n), *at = cvr_calloc(n + 1, sizeof *at);
    const float *x = golden_floats(c->g, c->label, "student");
    double length = 0, loss[2];
    cr_assert(at);
    for (size_t i = 0; i < n; i++) length += (double)grad[i] * (double)grad[i];
    length = sqrt(length);
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++) at[i] = x[i] + (float)((side ? 5e-3 : -5e-3) * (double)grad[i] / length);
        loss[side] = (double)run(c, at);
    }
    const double slope = (loss[1] - loss[0]) / 1e-2;
    cr_expect(fabs(slope - length) <= 0.02 * length, "%s on %s: the loss rises by %g where its gradient is %g long",
              c->label, backend, slope, length);
    cvr_free(at);
    cvr_free(grad);
}

static void check_case(golden *g, const char *label, const char *backend, uint32_t fallback) {
    distill_case c = {.g = g, .label = label};
    char full[96], field[80];
    build(&c, backend, fallback);
    for (size_t i = 0; i < c.n_trained; i++) {
        (void)snprintf(full, sizeof full, "distill.%s", c.trained[i]);
        (void)snprintf(field, sizeof field, "param.%s", c.trained[i]);
        const golden_tensor *t = golden_need(g, label, field);
        net_write(&c.n, full, (const float *)(const void *)t->data, t->bytes / sizeof(float));
    }
    const float loss = run(&c, golden_floats(g, label, "student")), wanted = golden_f32(g, label, "loss");
    expect_near(&c, backend, "the loss", &loss, &wanted, 1);
    cr_expect_float_eq(c.task_weight, (double)golden_f32(g, label, "task_weight"), 1e-6, "%s", label);
    compare(&c, backend, "gstudent", "gstudent");
    for (size_t i = 0; i < c.n_trained; i++) {
        (void)snprintf(full, sizeof full, "distill.%s", c.trained[i]);
        (void)snprintf(field, sizeof field, "gparam.%s", c.trained[i]);
        compare(&c, backend, full, field);
    }
    check_slope(&c, backend);
    net_drop(&c.n, &c.u);
    net_close(&c.n);
    cvr_free(c.attrs);
}

Test(distill, losses_and_gradients_are_pytorchs) {
    static const struct {
        const char *backend;
        uint32_t fallback;
    } on[] = {{"cpu", CVR_FALLBACK_ERROR}, {"reference", CVR_FALLBACK_ALLOW}, {"emu", CVR_FALLBACK_ERROR}};
    small_net n;
    golden g;
    net_open(&n, "cpu", NULL);
    net_good(&n, golden_open(&g, n.plugins, CVR_GOLDEN_DIR "/distill.safetensors", &n.err));
    cr_assert_geq(g.n_cases, 15);
    for (size_t i = 0; i < sizeof on / sizeof *on; i++)
        for (size_t k = 0; k < g.n_cases; k++) check_case(&g, g.cases[k], on[i].backend, on[i].fallback);
    golden_close(&g);
    net_close(&n);
}

/* ---- what is refused ---- */

/* The status of a distiller between two values of these shapes. */
static int32_t try_shapes(const char *method, uint32_t rank, const int64_t *student, const int64_t *teacher,
                          int64_t n_classes, char *message, size_t size) {
    small_net n;
    cvr_graph *g;
    cvr_type type;
    cvr_value s, t, label;
    const void *desc;
    void *attrs;
    double weight = 1;
    net_open(&n, "cpu", NULL);
    net_good(&n, cvr_graph_create(&g, n.plugins, n.store, true, &n.err));
    cvr_type_set(&type, CVR_F32, rank, student);
    net_good(&n, cvr_graph_input(g, "student", &type, &s, &n.err));
    cvr_type_set(&type, CVR_F32, rank, teacher);
    net_good(&n, cvr_graph_input(g, "teacher", &type, &t, &n.err));
    cvr_type_set(&type, CVR_I64, 1, student);
    net_good(&n, cvr_graph_input(g, "label", &type, &label, &n.err));
    net_good(&n, cvr_plugins_find(n.plugins, CVR_KIND_DISTILLER, method, &desc, &n.err));
    const cvr_distiller_desc *m = desc;
    const cvr_schema schema = {m->attrs, m->n_attrs};
    net_good(&n, cvr_attrs_parse(&schema, "", NULL, method, &attrs, &n.err));
    const cvr_io *io = cvr_graph_io(g);
    net_good(&n, io->put(io, "output", CVR_ROLE_RESULT, s, &n.err));
    given_teacher taught = {{sizeof taught.output, "output", CVR_ROLE_RESULT, t, 0}};
    const cvr_io there = {.struct_size = sizeof there, .ctx = &taught, .output = output_of};
    const cvr_distill_pair pair = {sizeof pair, "a", "b", s, t}, *const pairs[1] = {&pair};
    const cvr_distillation d = {sizeof d, cvr_graph_builder(g), attrs, io, &there, pairs, m->layers, n_classes};
    const int32_t status = m->losses(&d, &weight, &n.err);
    (void)snprintf(message, size, "%s", n.err.message);
    cvr_graph_destroy(&g);
    cvr_free(attrs);
    net_close(&n);
    return status;
}

Test(distill, refuses_what_it_cannot_compare) {
    char why[1024];
    const int64_t scores[2] = {4, 5}, boxes[3] = {4, 100, 4}, map[4] = {2, 3, 4, 4}, wide[4] = {2, 3, 8, 8},
                  across[4] = {2, 3, 8, 2};
    cr_expect_eq(try_shapes("hinton", 3, boxes, boxes, 5, why, sizeof why), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(why, "no scores of classes"), "%s", why);
    cr_expect_eq(try_shapes("hinton", 2, scores, scores, 6, why, sizeof why), CVR_ERR_UNSUPPORTED);
    cr_expect_eq(try_shapes("hinton", 4, map, wide, 3, why, sizeof why), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(why, "8x8 places"), "%s", why);
    cr_expect_eq(try_shapes("dkd", 4, map, map, 3, why, sizeof why), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(why, "one class a picture"), "%s", why);
    cr_expect_eq(try_shapes("deit", 4, map, map, 3, why, sizeof why), CVR_ERR_UNSUPPORTED);
    cr_expect_eq(try_shapes("hints", 2, scores, scores, 5, why, sizeof why), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(why, "`a`") || strstr(why, "a gives no map"), "%s", why);
    cr_expect_eq(try_shapes("attention", 4, wide, across, 3, why, sizeof why), CVR_OK, "%s", why);
}

/* ---- memory ---- */

static void open_with(cvr_session **s, uint32_t purpose, const char *const *more, size_t n_more,
                      cvr_session_info *info) {
    static const char *const common[] = {"run.task=classify", "data.format=fake", "data.size=16",  "data.classes=10",
                                         "data.img_size=96",  "data.workers=0",   "train.batch=16"};
    const char *all[24];
    cvr_error err = CVR_ERROR_INIT;
    size_t n = 0;
    for (; n < sizeof common / sizeof *common; n++) all[n] = common[n];
    for (size_t i = 0; i < n_more; i++) all[n++] = more[i];
    const cvr_session_options o = {.overrides = all, .n_overrides = n, .purpose = purpose};
    cr_assert_eq(cvr_session_open(s, &o, &err), CVR_OK, "%s", err.message);
    cvr_session_describe(*s, info);
}

/* The arena of a step under a teacher is what the larger of the two networks needs: activations share it, and what
 * kernels make of the teacher's weights lasts no longer than a layer. A hundredth is for losses and scores. */
Test(distill, memory_is_not_the_sum) {
    char folder[] = "/tmp/cvr_teacher_XXXXXX", path[64], given[128];
    cvr_session *s;
    cvr_session_info alone, teacher, both;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/teacher.safetensors", folder);
    (void)snprintf(given, sizeof given, "distill.teacher=%s", path);
    const char *const student[] = {"model.name=resnet_cifar", "model.depth=8", given, "distill.model=mobilenet_v2"};
    const char *const large[] = {"model.name=mobilenet_v2"};
    open_with(&s, CVR_FOR_EVALUATION, large, 1, &teacher);
    cr_assert_eq(cvr_session_save_weights(s, path, &err), CVR_OK, "%s", err.message);
    cvr_session_close(&s);
    open_with(&s, CVR_FOR_TRAINING, student, 2, &alone);
    cvr_session_close(&s);
    open_with(&s, CVR_FOR_TRAINING, student, 4, &both);
    cvr_session_close(&s);
    (void)unlink(path);
    (void)rmdir(folder);
    const uint64_t larger = alone.arena_bytes > teacher.arena_bytes ? alone.arena_bytes : teacher.arena_bytes;
    cr_expect_leq(both.arena_bytes, larger + larger / 100, "student %llu, teacher %llu, both %llu",
                  (unsigned long long)alone.arena_bytes, (unsigned long long)teacher.arena_bytes,
                  (unsigned long long)both.arena_bytes);
    cr_expect_eq(both.params, alone.params);
    printf("arena: student %.2f MB, teacher in evaluation %.2f MB, student under the teacher %.2f MB\n",
           (double)alone.arena_bytes / 1e6, (double)teacher.arena_bytes / 1e6, (double)both.arena_bytes / 1e6);
}
