/*
 * Every model that torchvision, timm or another library has, too, at its full size: the names, types and shapes of its
 * parameters and buffers, how many parameters they are, and the multiplications of a picture, as published
 * (tests/golden/model_table.txt, made by tests/parity/model_table.py). Graphs are built; nothing is allocated or run.
 */
#include <criterion/criterion.h>
#include <cvr/plugin/rng.h>
#include <cvr/program.h>
#include <math.h>
#include <stdlib.h>

static cvr_error err = CVR_ERROR_INIT;

static void good(int32_t status, const char *name) {
    cr_assert_eq(status, CVR_OK, "%s: %s", name, err.message);
}

/* A line of the table. */
typedef struct published {
    char name[64];
    int64_t side, classes, tensors, params;
    double gmacs;
    uint64_t hash;
} published;

/* A model's graph of evaluation, and the multiplications in it so far. */
typedef struct subject {
    cvr_store *store;
    cvr_graph *graph;
    cvr_builder counting;
    double macs;
} subject;

static subject *current;

static double elements(cvr_value v) {
    const cvr_type *t = current->counting.type(cvr_graph_builder(current->graph), v);
    return (double)cvr_numel(t->rank, t->shape);
}

/* Multiplications of one output element of a layer with a weight: those of a row of it. */
static double row_of(const char *layer, const char *weight) {
    char name[160];
    (void)snprintf(name, sizeof name, "%s.%s", layer, weight);
    const int64_t i = cvr_store_find(current->store, name);
    cr_assert_geq(i, 0, "%s", name);
    const cvr_type *t = &cvr_store_get(current->store, (size_t)i)->type;
    return (double)cvr_numel(t->rank, t->shape) / (double)t->shape[0];
}

/* q k^T and p v, of (N,L,D) */
static double attention_macs(cvr_value q) {
    const cvr_type *t = current->counting.type(cvr_graph_builder(current->graph), q);
    return 2 * elements(q) * (double)t->shape[1];
}

static int32_t count_layer(const cvr_builder *b, const cvr_layer_call *call, cvr_error *e) {
    (void)b;
    const cvr_builder *real = cvr_graph_builder(current->graph);
    CVR_TRY(real->layer(real, call, e));
    /* What only training looks at is not in the figures of the classifiers; it is in those of networks with a class
     * for each pixel. */
    const bool counted = strncmp(call->name, "aux_classifier.", 15) == 0 || strncmp(call->name, "aux.", 4) == 0;
    if (!counted && (strncmp(call->name, "aux", 3) == 0 || strncmp(call->name, "Aux", 3) == 0)) return CVR_OK;
    if (strcmp(call->layer, "conv2d") == 0 || strcmp(call->layer, "linear") == 0)
        current->macs += elements(call->outputs[0]) * row_of(call->name, "weight");
    if (strcmp(call->layer, "conv_transpose2d") == 0)
        current->macs += elements(call->inputs[0]) * row_of(call->name, "weight");
    if (strcmp(call->layer, "scaled_dot_product_attention") == 0) current->macs += attention_macs(call->inputs[0]);
    if (strcmp(call->layer, "multi_head_attention") == 0)
        current->macs += elements(call->inputs[0]) *
                             (3 * row_of(call->name, "in_proj_weight") + row_of(call->name, "out_proj.weight")) +
                         attention_macs(call->inputs[0]);
    return CVR_OK;
}

static int32_t count_op(const cvr_builder *b, const cvr_op_call *call, cvr_error *e) {
    (void)b;
    const cvr_builder *real = cvr_graph_builder(current->graph);
    CVR_TRY(real->emit(real, call, e));
    if (strcmp(call->op, "matmul") != 0) return CVR_OK;
    const cvr_type *x = real->type(real, call->inputs[0]); /* (...,M,K) */
    current->macs += elements(call->outputs[0]) * (double)x->shape[x->rank - 1];
    return CVR_OK;
}

static void build(subject *s, cvr_plugins *plugins, const published *p) {
    const void *found;
    void *attrs;
    cvr_type type;
    cvr_value image;
    good(cvr_plugins_find(plugins, CVR_KIND_MODEL, p->name, &found, &err), p->name);
    const cvr_model_desc *model = found;
    const cvr_schema schema = {model->attrs, model->n_attrs};
    good(cvr_attrs_parse(&schema, "", NULL, p->name, &attrs, &err), p->name);
    good(cvr_store_create(&s->store, 0, &err), p->name);
    good(cvr_graph_create(&s->graph, plugins, s->store, false, &err), p->name);
    const cvr_model_args args = {sizeof args, attrs, p->classes, 3};
    cvr_type_set(&type, CVR_F32, 4, (const int64_t[]){1, 3, p->side, p->side});
    good(cvr_graph_input(s->graph, "image", &type, &image, &err), p->name);
    s->counting = *cvr_graph_builder(s->graph);
    s->counting.layer = count_layer;
    s->counting.emit = count_op;
    current = s;
    good(model->build(&s->counting, &args, cvr_graph_io(s->graph), &err), p->name);
    cvr_free(attrs);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const cvr_store_entry *const *)a)->name, (*(const cvr_store_entry *const *)b)->name);
}

/* FNV-1a, as cvr_hash, going on from `h`. */
static uint64_t hash_on(uint64_t h, const char *s) {
    for (; *s; s++) h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
    return h;
}

/* "NAME TYPE SIZE,SIZE" of every tensor that a file of weights has, sorted by name. */
static uint64_t hash_of(const cvr_store_entry **all, size_t n) {
    uint64_t h = cvr_hash("");
    qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n; i++) {
        char text[256];
        int at = snprintf(text, sizeof text, "%s %s ", all[i]->name, cvr_dtype_name(all[i]->type.dtype));
        for (uint32_t a = 0; a < all[i]->type.rank; a++)
            at +=
                snprintf(text + at, sizeof text - (size_t)at, "%s%lld", a ? "," : "", (long long)all[i]->type.shape[a]);
        cr_assert_lt(at, (int)sizeof text - 1);
        h = hash_on(hash_on(h, text), "\n");
    }
    return h;
}

static void check(cvr_plugins *plugins, const published *p) {
    subject s = {.macs = 0};
    int64_t params = 0;
    size_t n = 0;
    build(&s, plugins, p);
    const cvr_store_entry **all = calloc(cvr_store_count(s.store), sizeof *all);
    for (size_t i = 0; i < cvr_store_count(s.store); i++) {
        const cvr_store_entry *e = cvr_store_get(s.store, i);
        if (!cvr_store_in_weights(e)) continue;
        all[n++] = e;
        if (e->role == CVR_STORE_TRAINED) params += cvr_numel(e->type.rank, e->type.shape);
    }
    cr_expect_eq(n, (size_t)p->tensors, "%s: %zu tensors instead of %lld", p->name, n, (long long)p->tensors);
    cr_expect_eq(params, p->params, "%s: %lld parameters instead of %lld", p->name, (long long)params,
                 (long long)p->params);
    cr_expect_eq(hash_of(all, n), p->hash, "%s: a name or a shape is not what it is in PyTorch", p->name);
    cr_expect_leq(fabs(s.macs * 1e-9 - p->gmacs), 0.0006, "%s: %.4f GMACs instead of %.3f", p->name, s.macs * 1e-9,
                  p->gmacs);
    free(all);
    cvr_graph_destroy(&s.graph);
    cvr_store_destroy(&s.store);
}

Test(zoo, every_model_is_made_of_what_pytorch_has) {
    cvr_plugins *plugins;
    char line[256];
    size_t n = 0;
    FILE *f = fopen(CVR_GOLDEN_DIR "/model_table.txt", "r");
    cr_assert_not_null(f);
    good(cvr_plugins_open(&plugins, NULL, 0, &err), "plugins");
    for (; fgets(line, sizeof line, f); n++) {
        published p;
        long long side, classes, tensors, params;
        unsigned long long hash;
        cr_assert_eq(sscanf(line, "%63s %lld %lld %lld %lld %lf %llx", p.name, &side, &classes, &tensors, &params,
                            &p.gmacs, &hash),
                     7);
        p.side = side;
        p.classes = classes;
        p.tensors = tensors;
        p.params = params;
        p.hash = hash;
        check(plugins, &p);
    }
    cr_assert_geq(n, 66);
    (void)fclose(f);
    cvr_plugins_close(&plugins);
}
