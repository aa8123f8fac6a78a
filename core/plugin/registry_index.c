/* Finding what is registered, by kind and name, and adding what a plugin staged: all of it or nothing. */
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

int32_t registry_commit(registry *r, registry *staged, cvr_error *err) {
    for (size_t i = 0; i < staged->n; i++) {
        const registry_entry *e = &staged->entries[i], *before = NULL;
        if (strcmp(e->kind, CVR_KIND_KERNEL) == 0) continue; /* there may be many for one op and backend */
        for (size_t k = 0; k < i && !before; k++) {
            if (strcmp(staged->entries[k].kind, e->kind) == 0 && strcmp(staged->entries[k].name, e->name) == 0)
                before = &staged->entries[k];
        }
        if (!before) before = registry_find(r, e->kind, e->name);
        if (before) {
            return cvr_fail(err, CVR_ERR_PLUGIN,
                            "registers %s:%s, which plugin `%s` has registered already; names must differ",
                            kind_word(e->kind), e->name, before->owner);
        }
    }
    for (size_t i = 0; i < staged->n; i++) {
        registry_entry *more = cvr_grow(r->entries, r->n, &r->capacity, sizeof *more);
        if (more) r->entries = more;
        if (more) more[r->n++] = staged->entries[i];
        if (more && (i + 1 < staged->n || make_buckets(r))) continue;
        r->n -= i + (more != NULL); /* the staged entries still own what they point to */
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    staged->n = 0;
    return CVR_OK;
}
