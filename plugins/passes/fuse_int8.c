/*
 * The pass "fuse_int8": dequantize -> op -> [bound] -> quantize becomes the op on integers that the op's trait names
 * (CVR_TRAIT_INT8), where nobody else reads what lies between. A bound (relu, relu6) behind the op is left out: the
 * range of the quantiser that follows is within it, which whoever put that quantiser there has seen to. quantize of
 * dequantize becomes requantize_int8.
 */
#include <cvr/plugin/ops/quant.h>
#include <cvr/plugin/plugin.h>

/* What becomes of one node. */
typedef struct match {
    uint64_t last; /* the quantize at the end; CVR_NO_NODE: nothing starts here */
    cvr_quantize_attrs to;
} match;

static int is_op(const cvr_node_view *n, const char *name) {
    return strcmp(n->op->name, name) == 0;
}

/* The dequantize that makes a value, of that element type; 0: there is none. */
static int behind(const cvr_rewriter *r, cvr_value v, uint32_t dtype, cvr_node_view *out) {
    const uint64_t at = v == CVR_NONE ? CVR_NO_NODE : r->producer(r, v);
    if (at == CVR_NO_NODE) return 0;
    r->node(r, at, out);
    return is_op(out, "dequantize") && r->builder->type(r->builder, out->inputs[0])->dtype == dtype;
}

static int has_rows(const cvr_node_view *dequantize) {
    return dequantize->n_inputs > 1 && dequantize->inputs[1] != CVR_NONE;
}

/* Whether all inputs come from integers, and share a scale where the op asks for that: it may be the result's, too. */
static int inputs_fit(const cvr_rewriter *r, const cvr_node_view *n, const cvr_int8_trait *t,
                      const cvr_quantize_attrs *to) {
    const cvr_dequantize_attrs *first = NULL; /* of the activations */
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        const uint64_t bit = (uint64_t)1 << i;
        cvr_node_view from;
        if (n->inputs[i] == CVR_NONE && (bit & t->bias)) continue;
        if (bit & t->weight) {
            if (!behind(r, n->inputs[i], CVR_I8, &from) || !has_rows(&from)) return 0;
            const int64_t axis = ((const cvr_dequantize_attrs *)from.attrs)->axis;
            if (axis != (t->flags & CVR_INT8_TRANSPOSED ? 1 : 0)) return 0;
        } else if (bit & t->bias) {
            if (!behind(r, n->inputs[i], CVR_I32, &from)) return 0;
        } else {
            if (!(bit & t->activations) || !behind(r, n->inputs[i], CVR_U8, &from) || has_rows(&from)) return 0;
            const cvr_dequantize_attrs *a = from.attrs;
            if ((t->flags & CVR_INT8_SAME) && (a->scale != to->scale || a->zero != to->zero)) return 0;
            if ((t->flags & CVR_INT8_SHARED) && first && (a->scale != first->scale || a->zero != first->zero)) return 0;
            first = a;
        }
    }
    return 1;
}

static uint64_t only_reader(const cvr_rewriter *r, cvr_value v, cvr_node_view *out) {
    uint64_t first;
    if (r->uses(r, v, &first) != 1 || first == CVR_NO_NODE) return CVR_NO_NODE;
    r->node(r, first, out);
    return first;
}

/* The quantize at the end of the chain that begins with node n. */
static int find_end(const cvr_rewriter *r, const cvr_node_view *n, match *m) {
    cvr_node_view next;
    uint64_t at = only_reader(r, n->outputs[0], &next);
    while (at != CVR_NO_NODE) {
        const cvr_int8_trait *t = cvr_op_trait(next.op, CVR_TRAIT_INT8);
        if (!t || !(t->flags & CVR_INT8_CLAMP)) break;
        at = only_reader(r, next.outputs[0], &next);
    }
    if (at == CVR_NO_NODE || !is_op(&next, "quantize")) return 0;
    m->to = *(const cvr_quantize_attrs *)next.attrs;
    if (m->to.dtype != CVR_U8) return 0;
    m->last = at;
    return 1;
}

static int starts(const cvr_rewriter *r, const cvr_node_view *n, match *m) {
    const cvr_int8_trait *t = cvr_op_trait(n->op, CVR_TRAIT_INT8);
    if (!t || (t->flags & CVR_INT8_CLAMP) || !find_end(r, n, m)) return 0;
    for (uint32_t k = 1; k < n->n_outputs; k++)
        if (r->uses(r, n->outputs[k], NULL)) return 0;
    return inputs_fit(r, n, t, &m->to);
}

/* Inputs and scales of the op on integers. Returns the number of inputs. */
static uint32_t gather(const cvr_rewriter *r, const cvr_node_view *n, const cvr_int8_trait *t, cvr_requant *q,
                       cvr_value *in) {
    uint32_t count = 0, activations = 0;
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        const uint64_t bit = (uint64_t)1 << i;
        cvr_node_view from;
        if (n->inputs[i] == CVR_NONE) {
            in[count++] = CVR_NONE;
            continue;
        }
        r->node(r, r->producer(r, n->inputs[i]), &from);
        in[count++] = r->current(r, from.inputs[0]);
        if (bit & t->weight) in[count++] = r->current(r, from.inputs[1]);
        if (!(bit & t->activations)) continue;
        const cvr_dequantize_attrs *a = from.attrs;
        if (activations++ == 0) {
            q->x_scale = a->scale;
            q->x_zero = a->zero;
        } else {
            q->b_scale = a->scale;
            q->b_zero = a->zero;
        }
    }
    return count;
}

static int32_t fuse(const cvr_rewriter *r, uint64_t i, const match *m, cvr_error *err) {
    cvr_node_view n, end;
    cvr_value in[CVR_MAX_IO] = {CVR_NONE}, out = CVR_NONE;
    r->node(r, i, &n);
    r->node(r, m->last, &end);
    const cvr_int8_trait *t = cvr_op_trait(n.op, CVR_TRAIT_INT8);
    cvr_requant q = {.x_scale = 1, .b_scale = 1, .y_scale = m->to.scale, .y_zero = m->to.zero};
    if (n.n_inputs + 1 > CVR_MAX_IO) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a node of too many inputs");
    const uint32_t count = gather(r, &n, t, &q, in);
    CVR_TRY(r->enter(r, i, err));
    if (!t->op) {
        CVR_TRY(cvr_emit(r->builder, n.op->name, n.attrs, n.attrs_size, in, count, &out, err));
        return r->replace(r, end.outputs[0], out, err);
    }
    char *attrs = r->host->alloc(r->host, sizeof q + n.attrs_size, 16);
    if (!attrs) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(attrs, &q, sizeof q);
    if (n.attrs_size) memcpy(attrs + sizeof q, n.attrs, n.attrs_size);
    const int32_t status = cvr_emit(r->builder, t->op, attrs, sizeof q + n.attrs_size, in, count, &out, err);
    r->host->free(r->host, attrs);
    CVR_TRY(status);
    return r->replace(r, end.outputs[0], out, err);
}

/* Whether node n takes integers to integers of another scale; `from` is the dequantize. */
static int is_requantize(const cvr_rewriter *r, const cvr_node_view *n, cvr_node_view *from) {
    return is_op(n, "quantize") && ((const cvr_quantize_attrs *)n->attrs)->dtype == CVR_U8 &&
           behind(r, n->inputs[0], CVR_U8, from) && !has_rows(from);
}

static int32_t requantize(const cvr_rewriter *r, uint64_t i, const cvr_node_view *n, const cvr_node_view *from,
                          cvr_error *err) {
    const cvr_dequantize_attrs *x = from->attrs;
    const cvr_quantize_attrs *y = n->attrs;
    const cvr_requant q = {
        .x_scale = x->scale, .x_zero = x->zero, .b_scale = 1, .y_scale = y->scale, .y_zero = y->zero};
    const cvr_value in = r->current(r, from->inputs[0]);
    cvr_value out;
    CVR_TRY(r->enter(r, i, err));
    CVR_TRY(cvr_emit(r->builder, "requantize_int8", &q, sizeof q, &in, 1, &out, err));
    r->drop(r, i);
    return r->replace(r, n->outputs[0], out, err);
}

/* `gone`: nodes that are part of a chain, behind its first. */
static int32_t fuse_all(const cvr_rewriter *r, uint8_t *gone, cvr_error *err) {
    memset(gone, 0, r->n_nodes + 1);
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n, from;
        match m = {CVR_NO_NODE, {0, 0, 0}};
        r->node(r, i, &n);
        if (!gone[i] && is_requantize(r, &n, &from)) {
            CVR_TRY(requantize(r, i, &n, &from, err));
            continue;
        }
        if (!gone[i] && starts(r, &n, &m)) {
            CVR_TRY(fuse(r, i, &m, err));
            for (uint64_t at = i; at != m.last; gone[at] = 1) at = only_reader(r, n.outputs[0], &n);
            gone[i] = 1;
        }
        if (gone[i])
            r->drop(r, i);
        else
            CVR_TRY(r->keep(r, i, err));
    }
    return CVR_OK;
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    uint8_t *gone = r->host->alloc(r->host, r->n_nodes + 1, 16);
    if (!gone) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = fuse_all(r, gone, err);
    r->host->free(r->host, gone);
    return status;
}

/* Before all others, which would put ops in the place of those that it looks for. */
static const cvr_pass_desc pass = {.struct_size = sizeof pass,
                                   .name = "fuse_int8",
                                   .doc = "dequantize + op + quantize as one op on integers",
                                   .stage = CVR_PASS_NETWORK,
                                   .priority = 100,
                                   .run = run};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_PASS, &pass, err);
}

CVR_DEFINE_PLUGIN("pass_int8", "0.1.0", "op:quantize op:dequantize op:requantize_int8", load)
