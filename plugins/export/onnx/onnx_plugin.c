/* The exporter "onnx": goes through the network's nodes, lets each op write itself, and writes the file. */
#include "onnx_model.h"

static const cvr_attr_desc *const settings[] = {
    CVR_ATTR(INT, "opset", "17", "version of ONNX's operators", CVR_ATTR_BETWEEN(13, 21)),
    CVR_ATTR(BOOL, "external", "no", "weights in a file of their own, FILE.data, as they are in any case past 2 GB"),
};

/* The core's own op. */
static int32_t is_cast(const cvr_op_desc *op) {
    return strcmp(op->name, "cast") == 0;
}

/* A program whose operands are the op's inputs. */
static const cvr_elementwise_trait *program_of(const cvr_op_desc *op) {
    const cvr_elementwise_trait *t = cvr_op_trait(op, CVR_TRAIT_ELEMENTWISE);
    return t && !t->operands ? t : NULL;
}

static int32_t takes(const cvr_op_desc *op) {
    return cvr_op_trait(op, CVR_TRAIT_ONNX) || program_of(op) || is_cast(op);
}

/* ---- what an op is given ---- */

static const cvr_type *type_of(const cvr_onnx *o, cvr_onnx_value v) {
    const onnx_model *m = o->ctx;
    return v && v < m->n_values && m->values[v].has_type ? m->values[v].type : NULL;
}

static const int64_t *per_picture_of(const cvr_onnx *o, cvr_onnx_value v) {
    static const int64_t none[CVR_MAX_RANK];
    const onnx_model *m = o->ctx;
    return v && v < m->n_values ? m->values[v].per_picture : none;
}

static cvr_onnx table_of(onnx_model *m) {
    const cvr_onnx o = {.struct_size = sizeof o,
                        .ctx = m,
                        .host = m->host,
                        .opset = m->attrs->opset,
                        .type = type_of,
                        .per_picture = per_picture_of,
                        .node = onnx_write_node,
                        .constant = onnx_write_constant,
                        .batch = onnx_write_batch,
                        .program = onnx_write_program};
    return o;
}

/* A stored value with a row for each picture: its rows are alike, so that the file has one and repeats it. */
static int32_t repeat_row(onnx_model *m, cvr_value v, const cvr_export_value *is, cvr_error *err) {
    const cvr_onnx o = table_of(m);
    const uint64_t bytes = (uint64_t)cvr_numel(is->type->rank, is->type->shape) * cvr_dtype_size(is->type->dtype);
    char *numbers = m->host->alloc(m->host, bytes + 8, 64);
    cvr_onnx_dim dims[CVR_MAX_RANK];
    cvr_onnx_value row = 0, shape = 0;
    cvr_type one = *is->type;
    one.shape[0] = 1;
    int32_t status = numbers ? CVR_OK : onnx_no_memory(err);
    CVR_TRY_OUT(status);
    CVR_TRY_OUT(m->x->read(m->x, v, numbers, err));
    CVR_TRY_OUT(onnx_write_constant(&o, &one, numbers, &row, err));
    CVR_TRY_OUT(onnx_new_value(m, NULL, &m->of[v], err));
    onnx_set_type(m, m->of[v], is);
    CVR_TRY_OUT(cvr_onnx_shape(&o, dims, cvr_onnx_axes(&o, m->of[v], dims), &shape, err));
    CVR_TRY_OUT(cvr_onnx_emit2(&o, "Expand", row, shape, &m->of[v], err));
out:
    m->host->free(m->host, numbers);
    return status;
}

static int32_t read_value(onnx_model *m, cvr_value v, cvr_onnx_value *out, cvr_error *err) {
    cvr_export_value is;
    m->x->value(m->x, v, &is);
    if (v < m->n_of && !m->of[v] && is.kind >= CVR_VALUE_PARAMETER && is.per_picture[0])
        CVR_TRY(repeat_row(m, v, &is, err));
    return onnx_value_of(m, v, out, err);
}

static int32_t write_op(const cvr_onnx *o, const cvr_node_view *n, cvr_error *err) {
    const cvr_onnx_trait *trait = cvr_op_trait(n->op, CVR_TRAIT_ONNX);
    cvr_onnx_value out = o->outputs[0];
    cvr_steps steps;
    if (trait) return trait->write(o, err);
    if (is_cast(n->op))
        return cvr_onnx_cast(o, o->inputs[0], cvr_onnx_type_of((uint32_t)((const cvr_cast_attrs *)n->attrs)->dtype),
                             &out, err);
    memset(&steps, 0, sizeof steps);
    steps.struct_size = sizeof steps;
    program_of(n->op)->steps(n->attrs, &steps);
    return o->program(o, &steps, o->inputs, o->n_inputs, &out, err);
}

/* Says which layer's op it was. */
static int32_t blame(const cvr_node_view *n, int32_t status, cvr_error *err) {
    char why[700];
    if (status == CVR_OK || !err) return status;
    (void)snprintf(why, sizeof why, "%.699s", err->message);
    (void)snprintf(err->message, sizeof err->message, "layer %.200s: op %s: %s", *n->scope ? n->scope : n->name,
                   n->op->name, why);
    return status;
}

static int32_t check_outputs(const onnx_model *m, const cvr_node_view *n, const cvr_onnx_value *outputs,
                             cvr_error *err) {
    if (!n->n_outputs || m->values[outputs[0]].made) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "it writes no node that makes its first output");
}

/* Shapes of what lies between, for who looks at the file; results have theirs at its end. */
static void put_infos(onnx_model *m, const cvr_onnx_value *outputs, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        int32_t is_result = 0;
        for (uint32_t k = 0; k < m->n_results; k++) is_result = is_result || outputs[i] == m->results[k];
        if (m->values[outputs[i]].made && !is_result)
            onnx_put_info(m, &m->infos, GRAPH_INFO, outputs[i], m->values[outputs[i]].name);
    }
}

static int32_t write_node(onnx_model *m, const cvr_node_view *n, cvr_error *err) {
    cvr_onnx_value inputs[CVR_MAX_IO], outputs[CVR_MAX_IO];
    cvr_onnx o = table_of(m);
    m->scope = n->scope;
    m->op = n->op->name;
    for (uint32_t i = 0; i < n->n_inputs; i++) CVR_TRY(read_value(m, n->inputs[i], &inputs[i], err));
    for (uint32_t i = 0; i < n->n_outputs; i++) CVR_TRY(onnx_value_of(m, n->outputs[i], &outputs[i], err));
    o.attrs = n->attrs;
    o.inputs = inputs;
    o.outputs = outputs;
    o.n_inputs = n->n_inputs;
    while (o.n_inputs && !inputs[o.n_inputs - 1]) o.n_inputs--;
    o.n_outputs = n->n_outputs;
    CVR_TRY(write_op(&o, n, err));
    CVR_TRY(check_outputs(m, n, outputs, err));
    put_infos(m, outputs, n->n_outputs);
    return CVR_OK;
}

/* ---- the ends ---- */

/* Pixels come as files have them, (N,H,W,C), and are brought into the order of all else. */
static int32_t add_pixels(onnx_model *m, cvr_value v, const cvr_export_value *is, cvr_onnx_value *input,
                          cvr_error *err) {
    static const int64_t to_nchw[4] = {0, 3, 1, 2};
    const cvr_onnx o = table_of(m);
    cvr_type nhwc = *is->type;
    cvr_export_value pixels = *is;
    nhwc.shape[1] = is->type->shape[2];
    nhwc.shape[2] = is->type->shape[3];
    nhwc.shape[3] = is->type->shape[1];
    pixels.type = &nhwc;
    CVR_TRY(onnx_new_value(m, is->name, input, err));
    onnx_set_type(m, *input, &pixels);
    m->values[*input].made = 1;
    CVR_TRY(onnx_value_of(m, v, &m->of[v], err));
    m->scope = "pixels";
    m->op = "";
    return cvr_onnx_transpose(&o, *input, to_nchw, 4, &m->of[v], err);
}

static int32_t add_inputs(onnx_model *m, cvr_error *err) {
    for (uint32_t i = 0; i < m->x->n_inputs; i++) {
        const cvr_value v = m->x->input(m->x, i);
        cvr_export_value is;
        m->x->value(m->x, v, &is);
        if (is.type->dtype == CVR_U8 && is.type->rank == 4) {
            CVR_TRY(add_pixels(m, v, &is, &m->inputs[i], err));
        } else {
            CVR_TRY(onnx_new_value(m, is.name, &m->inputs[i], err));
            onnx_set_type(m, m->inputs[i], &is);
            m->values[m->inputs[i]].made = 1;
            m->of[v] = m->inputs[i];
        }
        m->n_inputs++;
    }
    return CVR_OK;
}

/* Names of results are taken before any node has one. */
static int32_t name_results(onnx_model *m, cvr_error *err) {
    const char *name;
    for (uint32_t i = 0; i < m->x->n_outputs; i++) {
        cvr_export_value is;
        m->x->value(m->x, m->x->output(m->x, i, &name), &is);
        CVR_TRY(onnx_new_value(m, name, &m->results[i], err));
        onnx_set_type(m, m->results[i], &is);
        m->n_results++;
    }
    return CVR_OK;
}

/* The node that makes a result makes it under its name; a result that is an input, a weight, or another result, too,
 * is a copy. */
static int32_t claim_results(onnx_model *m) {
    for (uint32_t i = 0; i < m->n_results; i++) {
        const cvr_value v = m->x->output(m->x, i, NULL);
        cvr_export_value is;
        m->x->value(m->x, v, &is);
        if (is.kind == CVR_VALUE_TEMPORARY && !m->of[v]) m->of[v] = m->results[i];
    }
    return CVR_OK;
}

static int32_t copy_results(onnx_model *m, cvr_error *err) {
    const cvr_onnx o = table_of(m);
    m->scope = "results";
    for (uint32_t i = 0; i < m->n_results; i++) {
        cvr_onnx_value from;
        CVR_TRY(read_value(m, m->x->output(m->x, i, NULL), &from, err));
        if (from != m->results[i]) CVR_TRY(cvr_onnx_emit1(&o, "Identity", from, &m->results[i], err));
    }
    return CVR_OK;
}

static int32_t open_model(onnx_model *m, cvr_error *err) {
    cvr_value most = 0;
    for (uint64_t i = 0; i < m->x->n_nodes; i++) {
        cvr_node_view n;
        m->x->node(m->x, i, &n);
        for (uint32_t k = 0; k < n.n_inputs; k++) most = n.inputs[k] > most ? n.inputs[k] : most;
        for (uint32_t k = 0; k < n.n_outputs; k++) most = n.outputs[k] > most ? n.outputs[k] : most;
    }
    for (uint32_t i = 0; i < m->x->n_inputs; i++) most = m->x->input(m->x, i) > most ? m->x->input(m->x, i) : most;
    for (uint32_t i = 0; i < m->x->n_outputs; i++) {
        const cvr_value v = m->x->output(m->x, i, NULL);
        most = v > most ? v : most;
    }
    m->n_of = (uint64_t)most + 1;
    m->of = m->host->alloc(m->host, m->n_of * sizeof *m->of, 64);
    m->inputs = m->host->alloc(m->host, (m->x->n_inputs + 1u) * sizeof *m->inputs, 64);
    m->results = m->host->alloc(m->host, (m->x->n_outputs + 1u) * sizeof *m->results, 64);
    if (!m->of || !m->inputs || !m->results) return onnx_no_memory(err);
    memset(m->of, 0, m->n_of * sizeof *m->of);
    return CVR_OK;
}

static int32_t write_all(onnx_model *m, cvr_error *err) {
    CVR_TRY(open_model(m, err));
    CVR_TRY(name_results(m, err));
    CVR_TRY(add_inputs(m, err));
    CVR_TRY(claim_results(m));
    for (uint64_t i = 0; i < m->x->n_nodes; i++) {
        cvr_node_view n;
        m->x->node(m->x, i, &n);
        CVR_TRY(blame(&n, write_node(m, &n, err), err));
    }
    CVR_TRY(copy_results(m, err));
    return onnx_write_file(m, err);
}

static int32_t write(const cvr_export *x, cvr_error *err) {
    onnx_model m = {.x = x, .host = x->host, .attrs = x->attrs};
    m.nodes.host = m.infos.host = x->host;
    for (int i = 0; i < 4; i++) m.scratch[i].host = x->host;
    const int32_t status = write_all(&m, err);
    onnx_model_clear(&m);
    return status;
}

static const cvr_exporter_desc onnx = {.struct_size = sizeof onnx,
                                       .name = "onnx",
                                       .extension = ".onnx",
                                       .doc = "ONNX, which ONNX Runtime, OpenVINO, TensorRT and OpenCV read",
                                       .n_attrs = sizeof settings / sizeof *settings,
                                       .attrs = settings,
                                       .takes = takes,
                                       .write = write,
                                       .remedy = "give the op the trait " CVR_TRAIT_ONNX
                                                 " (cvr/plugin/formats/onnx.h) or a decomposition"};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_EXPORTER, &onnx, err);
}

CVR_DEFINE_PLUGIN("export_onnx", "0.1.0", "", load)
