/*
 * The exporter "onnx" on networks that are made up here: what ops may do wrong, names that meet, results that are no
 * node's, weights past 2 GB, and memory that runs out anywhere. What it writes of real networks is export_cli_test's
 * business.
 */
#include <criterion/criterion.h>
#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/plugin.h>
#include <stdlib.h>

/* ---- a host that counts memory, and lacks it at will ---- */

static int64_t live, allocations, fails_at;

static void *host_alloc(const cvr_host *h, uint64_t bytes, uint64_t align) {
    (void)h;
    if (++allocations == fails_at) return NULL;
    void *p = aligned_alloc(align, (bytes + align - 1) / align * align + align);
    live += p != NULL;
    return p;
}

static void host_free(const cvr_host *h, void *p) {
    (void)h;
    live -= p != NULL;
    free(p);
}

static const cvr_host host = {.struct_size = sizeof host, .alloc = host_alloc, .free = host_free};

static const cvr_exporter_desc *exporter;

static int32_t take(const cvr_registrar *r, const char *kind, const void *desc, cvr_error *err) {
    (void)r, (void)err;
    cr_assert_str_eq(kind, CVR_KIND_EXPORTER);
    exporter = desc;
    return CVR_OK;
}

/* ---- ops ---- */

/* Of the picture alone. */
static int32_t write_relu(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value out = o->outputs[0];
    return cvr_onnx_emit1(o, "Relu", o->inputs[0], &out, err);
}

static int32_t write_nothing(const cvr_onnx *o, cvr_error *err) {
    (void)o, (void)err;
    return CVR_OK;
}

static int32_t write_ahead(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value out = o->outputs[0];
    return cvr_onnx_emit1(o, "Relu", out + 1000, &out, err);
}

static int32_t write_twice(const cvr_onnx *o, cvr_error *err) {
    CVR_TRY(cvr_onnx_op(o, "Relu", NULL, 0, err));
    return cvr_onnx_op(o, "Relu", NULL, 0, err);
}

static int32_t write_fails(const cvr_onnx *o, cvr_error *err) {
    (void)o;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "not today");
}

static int32_t write_foreign(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value out = o->outputs[0];
    const cvr_onnx_node n = {.struct_size = sizeof n,
                             .type = "Shrug",
                             .domain = "com.acme",
                             .inputs = o->inputs,
                             .outputs = &out,
                             .n_inputs = 1,
                             .n_outputs = 1};
    return o->node(o, &n, err);
}

/* A weight that is turned, one that is reshaped, and a size that depends on the batch. */
static int32_t write_much(const cvr_onnx *o, cvr_error *err) {
    static const int64_t swap[2] = {1, 0};
    const cvr_onnx_dim dims[2] = {cvr_onnx_axis(o, o->inputs[0], 0), cvr_onnx_size(3)}, flat = cvr_onnx_size(9);
    cvr_onnx_value turned = 0, y = 0, shape = 0, z = 0, line = 0, unread = 0, out = o->outputs[0];
    CVR_TRY(cvr_onnx_transpose(o, o->inputs[1], swap, 2, &turned, err));
    CVR_TRY(cvr_onnx_emit2(o, "MatMul", o->inputs[0], turned, &y, err));
    CVR_TRY(cvr_onnx_shape(o, dims, 2, &shape, err));
    CVR_TRY(cvr_onnx_emit2(o, "Reshape", y, shape, &z, err));
    CVR_TRY(cvr_onnx_reshape(o, o->inputs[1], &flat, 1, &line, err));
    CVR_TRY(cvr_onnx_emit1(o, "Relu", line, &unread, err));
    return cvr_onnx_with(o, "Mul", z, 2, &out, err);
}

static int32_t write_add(const cvr_onnx *o, cvr_error *err) {
    return cvr_onnx_op(o, "Add", NULL, 0, err);
}

static void add_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_step4(s, CVR_STEP_SELECT_GT, 0, cvr_constant(s, 1), 0, cvr_constant(s, 0));
}

#define OP(name_, write_)                                                                                              \
    static CVR_ONNX_TRAITS(name_##_traits, write_, cvr_onnx_alone) static const cvr_op_desc name_ = {                  \
        .struct_size = sizeof(cvr_op_desc), .name = "acme." #name_, .n_outputs = 1, .trait = name_##_traits};
OP(relu, write_relu)
OP(nothing, write_nothing)
OP(ahead, write_ahead)
OP(twice, write_twice)
OP(fails, write_fails)
OP(foreign, write_foreign)
OP(much, write_much)
OP(add, write_add)
static const cvr_elementwise_trait program = {sizeof program, add_steps, NULL};
CVR_DEFINE_TRAITS(program_traits, {CVR_TRAIT_ELEMENTWISE, &program})
static const cvr_op_desc programmed = {
    .struct_size = sizeof programmed, .name = "acme.program", .n_outputs = 1, .trait = program_traits};

/* ---- a network: value 1 is the input (batch,3), 2 a weight (rows,3), the nodes make 3, 4, ...; each: the weight has a
 * row for each picture ---- */

typedef struct network {
    cvr_export api;
    const cvr_op_desc *ops[4];
    cvr_value in[4][2], out[4], results[4];
    const char *names[4], *weight;
    int64_t rows;
    char bytes[1 << 16];
    uint64_t n, data;
    int32_t in_data, began;
    int64_t each;
    int64_t settings[2]; /* opset, external */
} network;

static void get_node(const cvr_export *x, uint64_t i, cvr_node_view *out) {
    const network *n = x->ctx;
    *out = (cvr_node_view){.struct_size = sizeof *out,
                           .op = n->ops[i],
                           .inputs = n->in[i],
                           .outputs = &n->out[i],
                           .n_inputs = 2,
                           .n_outputs = 1,
                           .name = "layer/op",
                           .scope = "layer"};
}

static void get_value(const cvr_export *x, cvr_value v, cvr_export_value *out) {
    static cvr_type types[2];
    const network *n = x->ctx;
    const int weight = v == 2;
    cvr_type_set(&types[weight], CVR_F32, 2, (const int64_t[]){weight ? n->rows : 2, 3});
    *out = (cvr_export_value){.struct_size = sizeof *out,
                              .type = &types[weight],
                              .name = v == 1   ? "images"
                                      : weight ? n->weight
                                               : "",
                              .kind = v == 1   ? CVR_VALUE_INPUT
                                      : weight ? CVR_VALUE_PARAMETER
                                               : CVR_VALUE_TEMPORARY,
                              .per_picture = {weight ? n->each : 1}};
}

static cvr_value get_input(const cvr_export *x, uint32_t i) {
    (void)x, (void)i;
    return 1;
}

static cvr_value get_output(const cvr_export *x, uint32_t i, const char **name) {
    const network *n = x->ctx;
    if (name) *name = n->names[i];
    return n->results[i];
}

/* Nobody looks at the numbers, so that large ones cost nothing. */
static int32_t read_numbers(const cvr_export *x, cvr_value v, void *out, cvr_error *err) {
    const network *n = x->ctx;
    (void)v, (void)err;
    for (int i = 0; i < (n->each ? 6 : 1); i++) ((float *)out)[i] = 7;
    return CVR_OK;
}

static int32_t begin(const cvr_export *x, const char *suffix, cvr_error *err) {
    network *n = x->ctx;
    (void)err;
    n->in_data = strcmp(suffix, ".data") == 0;
    n->began++;
    return CVR_OK;
}

static int32_t put(const cvr_export *x, const void *bytes, uint64_t size, cvr_error *err) {
    network *n = x->ctx;
    (void)err;
    if (n->in_data) {
        n->data += size;
    } else if (n->n + size < sizeof n->bytes) {
        memcpy(n->bytes + n->n, bytes, size);
        n->n += size;
    }
    return CVR_OK;
}

static void make(network *n, const cvr_op_desc *op) {
    static const char *const metadata[] = {"model", "made_up"};
    memset(n, 0, sizeof *n);
    n->ops[0] = op;
    n->in[0][0] = 1;
    n->in[0][1] = 2;
    n->out[0] = n->results[0] = 3;
    n->names[0] = "output";
    n->weight = "fc.weight";
    n->rows = 3;
    n->settings[0] = 17;
    n->api = (cvr_export){.struct_size = sizeof n->api,
                          .ctx = n,
                          .host = &host,
                          .attrs = n->settings,
                          .file = "net.onnx",
                          .n_inputs = 1,
                          .n_outputs = 1,
                          .n_nodes = 1,
                          .n_metadata = 1,
                          .metadata = metadata,
                          .node = get_node,
                          .value = get_value,
                          .input = get_input,
                          .output = get_output,
                          .read = read_numbers,
                          .begin = begin,
                          .put = put};
}

static int32_t run(network *n, cvr_error *err) {
    const cvr_registrar r = {.struct_size = sizeof r, .add = take};
    cvr_error_init(err);
    live = allocations = 0;
    if (!exporter) cr_assert_eq(cvr_plugin_query(CVR_ABI_MAJOR, CVR_ABI_MINOR)->load(&host, &r, err), CVR_OK);
    for (uint64_t i = 0; i < n->api.n_nodes; i++) cr_assert(exporter->takes(n->ops[i]));
    const int32_t status = exporter->write(&n->api, err);
    cr_expect_eq(live, 0, "%lld blocks are left", (long long)live);
    return status;
}

/* Whether the file holds a text. */
static int holds(const network *n, const char *text) {
    const uint64_t size = strlen(text);
    for (uint64_t i = 0; i + size <= n->n; i++)
        if (memcmp(n->bytes + i, text, size) == 0) return 1;
    return 0;
}

static void refused(const cvr_op_desc *op, const char *text) {
    static network n;
    cvr_error err;
    make(&n, op);
    cr_expect_neq(run(&n, &err), CVR_OK, "%s is taken", op->name);
    cr_expect(strstr(err.message, text) && strstr(err.message, "layer layer: op acme."), "%s: %s", op->name,
              err.message);
    cr_expect_eq(n.began, 0, "%s: a file was begun", op->name);
}

Test(onnx, what_an_op_does_wrong_is_named) {
    refused(&nothing, "writes no node that makes its first output");
    refused(&ahead, "reads a value that no node before it makes");
    refused(&twice, "makes a value that is there already");
    refused(&fails, "not today");
}

Test(onnx, ops_by_trait_program_and_domain) {
    static network n;
    cvr_error err;
    make(&n, &foreign);
    n.ops[1] = &programmed;
    n.in[1][0] = 3;
    n.out[1] = n.results[0] = 4;
    n.api.n_nodes = 2;
    cr_assert_eq(run(&n, &err), CVR_OK, "%s", err.message);
    cr_expect(holds(&n, "Shrug") && holds(&n, "com.acme") && holds(&n, "Greater") && holds(&n, "Where") &&
              holds(&n, "made_up"));
    cr_expect(!holds(&n, "fc.weight"), "a weight that nobody reads is written");
}

/* A result that is an input, two that are one value, and a weight that is called as a result is. */
Test(onnx, results_and_names_that_meet) {
    static network n;
    cvr_error err;
    make(&n, &much);
    n.weight = "output";
    n.results[1] = 1;
    n.names[1] = "same";
    n.results[2] = 3;
    n.names[2] = "twice";
    n.api.n_outputs = 3;
    cr_assert_eq(run(&n, &err), CVR_OK, "%s", err.message);
    cr_expect(holds(&n, "output_1") && holds(&n, "Identity") && holds(&n, "same") && holds(&n, "twice"));
    cr_expect(!holds(&n, "Transpose"), "a weight is turned in the file");
}

Test(onnx, weights_past_2_gb_are_in_a_file_of_their_own) {
    static network n;
    cvr_error err;
    make(&n, &much);
    cr_assert_eq(run(&n, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(n.began, 1);
    make(&n, &relu);
    n.rows = (int64_t)1 << 28;
    n.results[1] = 2;
    n.names[1] = "weight";
    n.api.n_outputs = 2;
    cr_assert_eq(run(&n, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(n.began, 2);
    cr_expect_eq(n.data, (uint64_t)12 << 28, "%llu bytes", (unsigned long long)n.data);
    cr_expect(holds(&n, "net.onnx.data") && holds(&n, "3221225472"));
}

static void make_rows(network *n) {
    make(n, &add);
    n->each = 1;
    n->rows = 2;
}

/* The tensor is dims 1, 3 (protobuf's 08 01 08 03), f32 (10 01), and three numbers. */
Test(onnx, a_stored_row_for_each_picture_is_written_once) {
    static network n;
    cvr_error err;
    make_rows(&n);
    n.results[1] = 2;
    n.names[1] = "rows";
    n.api.n_outputs = 2;
    cr_assert_eq(run(&n, &err), CVR_OK, "%s", err.message);
    cr_expect(holds(&n, "Expand") && holds(&n, "rows"));
    cr_expect(holds(&n, "\x08\x01\x08\x03\x10\x01"), "not one row");
    cr_expect(!holds(&n, "\x08\x02\x08\x03\x10\x01"), "two rows: those of the batch that it was built with");
}

static void memory_runs_out(void (*build)(network *n), int64_t least) {
    static network n;
    cvr_error err;
    int32_t status = CVR_ERR_NOMEM;
    for (fails_at = 1; status != CVR_OK && fails_at < 500; fails_at++) {
        build(&n);
        status = run(&n, &err);
        cr_expect(status == CVR_OK || status == CVR_ERR_NOMEM, "allocation %lld: %d %s", (long long)fails_at, status,
                  err.message);
    }
    cr_expect_eq(status, CVR_OK);
    cr_expect_gt(fails_at, least);
    fails_at = 0;
}

static void make_much(network *n) {
    make(n, &much);
}

Test(onnx, memory_that_runs_out_is_said_and_given_back) {
    memory_runs_out(make_much, 20);
    memory_runs_out(make_rows, 20);
}
