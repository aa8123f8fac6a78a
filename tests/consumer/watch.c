/*
 * acme.watch: a pass that a recipe has to name, with settings of its own: `backend.passes = auto, acme.watch(limit=1)`.
 * It adds an output to the program for each of the first `limit` layers of a kind: the mean of their results, for
 * whoever reads the program's outputs.
 */
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/plugin.h>

typedef struct watch_attrs {
    const char *op;
    int64_t limit;
} watch_attrs;

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(STRING, "op", "conv2d", "op whose results are watched"),
    CVR_ATTR(INT, "limit", "8", "most outputs that are added", CVR_ATTR_AT_LEAST(1)),
};

/* mean of v over all its axes */
static int32_t watch(const cvr_rewriter *r, const char *scope, cvr_value v, cvr_error *err) {
    const cvr_type *t = r->builder->type(r->builder, v);
    cvr_reduce_attrs mean = {.keepdim = 0};
    char name[160];
    for (uint32_t i = 0; i < t->rank; i++) mean.dim[mean.n_dim++] = i;
    CVR_TRY(cvr_emit(r->builder, "mean", &mean, sizeof mean, &v, 1, &v, err));
    (void)snprintf(name, sizeof name, "watch.%.150s", scope);
    return r->output(r, name, v, err);
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    const watch_attrs *a = r->attrs;
    int64_t found = 0;
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n;
        cvr_value_view weight;
        r->node(r, i, &n);
        CVR_TRY(r->keep(r, i, err));
        if (n.backward || strcmp(n.op->name, a->op) != 0 || found == a->limit || n.n_inputs < 2) continue;
        r->value(r, n.inputs[1], &weight);
        if (weight.kind != CVR_VALUE_PARAMETER) continue; /* by its view, not by how its name looks */
        CVR_TRY(r->enter(r, i, err));
        CVR_TRY(watch(r, n.scope, n.outputs[0], err));
        found++;
    }
    return found ? CVR_OK : cvr_fail(err, CVR_ERR_USAGE, "acme.watch: no %s with a parameter here", a->op);
}

static const cvr_pass_desc pass = {.struct_size = sizeof pass,
                                   .name = "acme.watch",
                                   .doc = "means of layers' results as outputs",
                                   .stage = CVR_PASS_NETWORK,
                                   .priority = 100,
                                   .flags = CVR_PASS_OPT_IN,
                                   .n_attrs = 2,
                                   .attrs = attrs,
                                   .run = run};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_PASS, &pass, err);
}

CVR_DEFINE_PLUGIN("com.acme.watch", "1.0.0", "op:mean", load)
