/* Finding what is registered, by kind and name, and adding what a plugin staged: all of it or nothing. */
#include "calls.h"
#include "registry.h"

/* The first entry of a chain of equal hashes. */
static uint32_t *bucket_of(const registry *r, const char *name) {
    return &r->buckets[cvr_hash(name) & (r->n_buckets - 1)];
}

const registry_entry *registry_find(const registry *r, const char *kind, const char *name) {
    for (uint32_t i = r->n_buckets ? *bucket_of(r, name) : 0; i; i = r->entries[i - 1].next) {
        const registry_entry *e = &r->entries[i - 1];
        if (strcmp(e->name, name) == 0 && strcmp(e->kind, kind) == 0) return e;
    }
    return NULL;
}

/* All entries into twice as many buckets as there are. */
static bool make_buckets(registry *r) {
    size_t n = 64;
    while (n < 2 * r->n) n *= 2;
    uint32_t *buckets = cvr_calloc(n, sizeof *buckets);
    if (!buckets) return false;
    cvr_free(r->buckets);
    r->buckets = buckets;
    r->n_buckets = n;
    for (size_t i = r->n; i-- > 0;) {
        uint32_t *first = bucket_of(r, r->entries[i].name);
        r->entries[i].next = *first;
        *first = (uint32_t)i + 1;
    }
    return true;
}

/* All or none. The staged entries own what they point to until then. */
static int32_t append_all(registry *r, registry *staged, cvr_error *err) {
    for (size_t i = 0; i < staged->n; i++) {
        registry_entry *more = cvr_grow(r->entries, r->n, &r->capacity, sizeof *more);
        if (more) r->entries = more;
        if (more) more[r->n++] = staged->entries[i];
        if (more && (i + 1 < staged->n || make_buckets(r))) continue;
        r->n -= i + (more != NULL);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    staged->n = 0;
    return CVR_OK;
}

/* The core knows what is in payloads of its own kind alone. */
static bool same_payload(const cvr_kernel_desc *a, const cvr_kernel_desc *b) {
    if (strcmp(a->payload_kind, b->payload_kind) != 0) return false;
    if (a->payload == b->payload || !cvr_kernel_is_host(a)) return a->payload == b->payload;
    return ((const cvr_cpu_fn *)a->payload)->run == ((const cvr_cpu_fn *)b->payload)->run;
}

/* Several kernels of an op and backend differ in what they are for, or at least in what they run. */
static bool same_kernel(const cvr_kernel_desc *a, const cvr_kernel_desc *b) {
    const char *isa_a = a->isa ? a->isa : "", *isa_b = b->isa ? b->isa : "";
    return a->op_version == b->op_version && a->priority == b->priority && a->supports == b->supports &&
           strcmp(isa_a, isa_b) == 0 && same_payload(a, b);
}

static bool is_taken(const registry_entry *e, const registry_entry *by) {
    if (strcmp(e->kind, by->kind) != 0 || strcmp(e->name, by->name) != 0) return false;
    return strcmp(e->kind, CVR_KIND_KERNEL) != 0 || same_kernel(e->desc, by->desc);
}

/* The op that a kernel is for has the inputs that it speaks of; one that is not loaded is nobody's yet. */
static int32_t check_kernel_inputs(const registry *r, const registry *staged, const registry_entry *e, cvr_error *err) {
    const cvr_kernel_desc *k = e->desc;
    const cvr_op_desc *op = NULL;
    for (size_t i = 0; i < staged->n && !op; i++)
        if (strcmp(staged->entries[i].kind, CVR_KIND_OP) == 0 && strcmp(staged->entries[i].name, k->op) == 0)
            op = staged->entries[i].desc;
    const registry_entry *known = op ? NULL : registry_find(r, CVR_KIND_OP, k->op);
    if (known) op = known->desc;
    if (!op || op->max_inputs > 63 || op->version != k->op_version) return CVR_OK;
    const bool inplace = k->inplace >> op->max_inputs != 0;
    if (!inplace && !(k->prepares >> op->max_inputs)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "kernel %s: `%s` has bits of inputs past the op's `max_inputs`, %u", e->name,
                    inplace ? "inplace" : "prepares", op->max_inputs);
}

int32_t registry_commit(registry *r, registry *staged, cvr_error *err) {
    for (size_t i = 0; i < staged->n; i++) {
        const registry_entry *e = &staged->entries[i], *before = NULL;
        const bool kernel = strcmp(e->kind, CVR_KIND_KERNEL) == 0;
        for (size_t k = 0; k < i && !before; k++)
            if (is_taken(&staged->entries[k], e)) before = &staged->entries[k];
        if (!before && !kernel) before = registry_find(r, e->kind, e->name);
        if (before)
            return cvr_fail(err, CVR_ERR_PLUGIN,
                            "registers %s:%s, which plugin `%s` has registered already; names must differ",
                            kind_word(e->kind), e->name, before->owner);
        if (kernel) CVR_TRY(check_kernel_inputs(r, staged, e, err));
    }
    calls_lock(); /* a watchdog may be looking for a name */
    const int32_t status = append_all(r, staged, err);
    calls_unlock();
    return status;
}
