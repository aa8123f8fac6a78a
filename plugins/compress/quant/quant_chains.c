/* Which nodes of a network a plan puts on integers, and the bounds and norms that go with them. */
#include "quant.h"

/* Only the last node of a chain has readers outside of it. */
static void fill(quant_chains *c, const cvr_rewriter *r, const quant_plan *plan, const quant_names *names) {
    char key[QUANT_KEY];
    cvr_node_view n;
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        c->entry[i] = NULL;
        c->head[i] = c->tail[i] = CVR_NO_NODE;
    }
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        quant_node_key(names, r, i, key);
        c->entry[i] = quant_trait(r, i) ? quant_plan_find(plan, QUANT_INT8, key) : NULL;
        if (!c->entry[i]) continue;
        c->tail[i] = quant_tail(r, i);
        for (uint64_t at = i; at != c->tail[i]; (void)r->uses(r, n.outputs[0], &at)) {
            r->node(r, at, &n);
            c->head[at] = i;
        }
        c->head[c->tail[i]] = i;
    }
}

static int32_t check_used(const quant_chains *c, const cvr_rewriter *r, const quant_plan *plan, cvr_error *err) {
    uint64_t planned = 0, used = 0;
    for (uint64_t i = 0; i < plan->n; i++) planned += plan->entries[i].kind == QUANT_INT8;
    for (uint64_t i = 0; i < r->n_nodes; i++) used += c->entry[i] != NULL;
    if (planned == used) return CVR_OK;
    return cvr_fail(err, CVR_ERR_FORMAT,
                    "the plan has %llu nodes on integers, of which this network has %llu; quantise the run again",
                    (unsigned long long)planned, (unsigned long long)used);
}

int32_t quant_chains_open(quant_chains *c, const cvr_rewriter *r, const quant_plan *plan, const quant_names *names,
                          cvr_error *err) {
    const uint64_t n = r->n_nodes + 1;
    *c = (quant_chains){.host = r->host};
    c->entry = r->host->alloc(r->host, n * sizeof *c->entry, 16);
    c->head = r->host->alloc(r->host, n * sizeof *c->head, 16);
    c->tail = r->host->alloc(r->host, n * sizeof *c->tail, 16);
    if (!c->entry || !c->head || !c->tail) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    fill(c, r, plan, names);
    return check_used(c, r, plan, err);
}

void quant_chains_close(quant_chains *c) {
    if (!c->host) return;
    c->host->free(c->host, (void *)(uintptr_t)c->entry);
    c->host->free(c->host, c->head);
    c->host->free(c->host, c->tail);
}
