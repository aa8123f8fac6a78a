/* The registry: what plugins have registered, as deep copies. Internal to core/plugin. */
#ifndef CVR_REGISTRY_H
#define CVR_REGISTRY_H

#include <cvr/plugins.h>

typedef struct registry_entry {
    const char *kind;  /* CVR_KIND_* */
    const char *name;  /* for kernels: BACKEND/OP */
    const char *owner; /* id of the plugin */
    void *desc;
    bool foreign;  /* of a plugin that CVR_PLUGIN_PATH lists: failures name it */
    uint32_t next; /* of the same bucket, plus 1; 0: the last */
} registry_entry;

typedef struct registry {
    registry_entry *entries;
    size_t n, capacity;
    uint32_t *buckets; /* by hash of the name; only what is committed is in them */
    size_t n_buckets;
} registry;

/* Payloads and traits begin with their size. */
static inline uint64_t leading_size(const void *of) {
    uint64_t size;
    memcpy(&size, of, sizeof size);
    return size;
}

/* Letters, digits and . _ - +, at most 96 of them. */
bool registry_is_name(const char *s);
/* What the table of fields cannot say. `what` names the descriptor: "op acme.bad". */
int32_t registry_check(const char *kind, const void *desc, const char *what, cvr_error *err);
int32_t registry_check_attrs(const cvr_attr_desc *const *attrs, uint32_t n, const char *what, cvr_error *err);
/* Checks a descriptor and appends a deep copy. */
int32_t registry_add(registry *r, const char *owner, const char *kind, const void *desc, cvr_error *err);
const registry_entry *registry_find(const registry *r, const char *kind, const char *name);
/* Moves all of `staged` into `r`, or nothing: a name that is taken is an error. */
int32_t registry_commit(registry *r, registry *staged, cvr_error *err);
void registry_clear(registry *r);
/* Warns of what may be but should not: texts for `help` that are missing. */
void registry_warn(const registry_entry *e);
/* "cvr.op/1" -> "op", as manifests write it; NULL for a kind that is not known. */
const char *kind_word(const char *kind);
const char *kind_of_word(const char *word, size_t n);

/* The ops that belong to the core: add and cast. */
int32_t core_ops_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err);

#endif
