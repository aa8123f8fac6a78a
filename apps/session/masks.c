/*
 * Weights that are held at zero: prune.held names those that have a mask, NAME_mask, which is a buffer in the weights'
 * file and in checkpoints. A training step reads weight * mask, so that what the mask covers has no gradient: it is
 * zero and stays zero, whatever the optimizer, and so does its running mean. Elsewhere the weights are read as they
 * are.
 */
#include "network.h"
#include <cvr/plugin/ops/arith.h>

typedef struct held_weights {
    cvr_value *weights, *masks;
    size_t n;
} held_weights;

static const char *held_names(const run_network *n) {
    return n->held ? n->held : n->settings->prune->held;
}

static int32_t declare(cvr_graph *g, const char *name, held_weights *h, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(g);
    const cvr_value weight = cvr_graph_param(g, name);
    const cvr_init one = {sizeof one, CVR_INIT_CONSTANT, 0, 1, 1};
    char mask[256];
    if (weight == CVR_NONE) return cvr_fail(err, CVR_ERR_USAGE, "prune.held: this network has no parameter `%s`", name);
    const cvr_type *t = b->type(b, weight);
    (void)snprintf(mask, sizeof mask, MASK_OF, name);
    cvr_param_decl decl = {.struct_size = sizeof decl, .name = mask, .dtype = CVR_F32, .rank = t->rank, .init = &one};
    memcpy(decl.shape, t->shape, sizeof decl.shape);
    memcpy(decl.order, t->order, sizeof decl.order);
    h->weights[h->n] = weight;
    return b->param(b, &decl, &h->masks[h->n++], err);
}

/* The products stand before all else, and all who read a weight read its product. */
static int32_t multiply(const cvr_rewriter *r, cvr_error *err) {
    const held_weights *h = r->attrs;
    cvr_value *products = cvr_calloc(h->n + 1, sizeof *products);
    int32_t status = products ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < h->n && status == CVR_OK; i++) {
        const cvr_value both[2] = {h->weights[i], h->masks[i]};
        status = cvr_emit(r->builder, "mul", NULL, 0, both, 2, &products[i], err);
    }
    if (status == CVR_OK && r->n_nodes) status = r->enter(r, 0, err); /* the products are done with */
    for (size_t i = 0; i < h->n && status == CVR_OK; i++) status = r->replace(r, h->weights[i], products[i], err);
    for (uint64_t i = 0; i < r->n_nodes && status == CVR_OK; i++) status = r->keep(r, i, err);
    cvr_free(products);
    return status;
}

int32_t network_mask(const run_network *n, cvr_graph *g, bool trains, cvr_error *err) {
    static const cvr_pass_desc pass = {
        .struct_size = sizeof pass, .name = "held weights", .doc = "weights under masks", .run = multiply};
    const char *names = held_names(n);
    char *list = *names ? cvr_strdup(names) : NULL, *save = NULL;
    held_weights h = {.weights = cvr_calloc(strlen(names) + 1, sizeof *h.weights),
                      .masks = cvr_calloc(strlen(names) + 1, sizeof *h.masks)};
    int32_t status = CVR_OK;
    if (!h.weights || !h.masks || (*names && !list)) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    for (char *name = list ? strtok_r(list, ", ", &save) : NULL; name; name = strtok_r(NULL, ", ", &save))
        CVR_TRY_OUT(declare(g, name, &h, err));
    if (h.n && trains) status = cvr_graph_pass(g, &pass, &h, err);
out:
    cvr_free(list);
    cvr_free(h.weights);
    cvr_free(h.masks);
    return status;
}
