/*
 * Looking things up: a descriptor by its name, an op's kernels on a backend, all names of a kind. Answers are kept, so
 * that a graph of a thousand nodes does not read the manifests a thousand times, and belong to the cvr_plugins.
 */
#include "loader.h"
#include <stdlib.h>

static int32_t not_found(cvr_plugins *p, const char *kind, const char *name, cvr_error *err) {
    const char *names[512];
    size_t n = 0;
    while (n < 512 && (names[n] = cvr_plugins_name(p, kind, n))) n++;
    char hint[400];
    return cvr_fail(err, CVR_ERR_NOTFOUND, "there is no %s `%s`; %s", kind_word(kind), name,
                    cvr_hint(name, names, n, hint));
}

int32_t cvr_plugins_find(cvr_plugins *p, const char *kind, const char *name, const void **desc, cvr_error *err) {
    const registry_entry *e = registry_find(&p->registry, kind, name);
    if (!e) {
        char token[TOKEN_SIZE];
        const int n = snprintf(token, sizeof token, "%s:%s", kind_word(kind), name);
        plugin_candidate *found = NULL;
        for (size_t i = 0; n > 0 && n < TOKEN_SIZE && i < p->n; i++) {
            plugin_candidate *c = &p->candidates[i];
            if (!cvr_has_word(c->provides.s, token, (size_t)n)) continue;
            if (found) {
                return cvr_fail(err, CVR_ERR_PLUGIN,
                                "%s is provided by `%s` (%s) and by `%s` (%s); take one out of its manifest", token,
                                found->id, found->file, c->id, c->file);
            }
            found = c;
        }
        if (!found) return not_found(p, kind, name, err);
        CVR_TRY(candidate_load(p, found, err));
        e = registry_find(&p->registry, kind, name);
    }
    *desc = e->desc;
    return CVR_OK;
}

/* Every descriptor has a text of its own behind its size, which copies of the descriptor share. */
const char *cvr_plugins_owner(const cvr_plugins *p, const void *desc) {
    const size_t at = offsetof(cvr_op_desc, name), size = sizeof(char *);
    for (size_t i = 0; i < p->registry.n; i++)
        if (memcmp((const char *)p->registry.entries[i].desc + at, (const char *)desc + at, size) == 0)
            return p->registry.entries[i].owner;
    return NULL;
}

/* ---- kernels ---- */

struct kernel_list {
    const cvr_op_desc *op;
    char *backend;                 /* NULL: any */
    size_t n_entries, isa_changes; /* the state of the registry and of the limit that it was made in */
    size_t n;
    const cvr_kernel_desc **kernels;
};

/* Higher priority first; equal: by plugin id, so that load order never matters. The reference is everybody's last
 * resort. */
static bool goes_before(const registry_entry *a, const registry_entry *b) {
    const cvr_kernel_desc *ka = a->desc, *kb = b->desc;
    const bool ra = strcmp(ka->backend, "reference") == 0, rb = strcmp(kb->backend, "reference") == 0;
    if (ra != rb) return rb;
    return ka->priority != kb->priority ? ka->priority > kb->priority : strcmp(a->owner, b->owner) < 0;
}

/* True where `name`, BACKEND/OP, is for this op and this backend; NULL stands for any. */
static bool is_kernel_of(const char *name, size_t n, const char *backend, const char *op) {
    const char *slash = memchr(name, '/', n);
    if (!slash) return false;
    const size_t b = (size_t)(slash - name), rest = n - b - 1;
    if (backend && (strlen(backend) != b || memcmp(backend, name, b) != 0)) return false;
    return !op || (strlen(op) == rest && memcmp(op, slash + 1, rest) == 0);
}

static bool provides_kernel(const char *list, const char *backend, const char *op) {
    for (const char *t = list; t && *t;) {
        const size_t n = strcspn(t, " ");
        if (n > 7 && memcmp(t, "kernel:", 7) == 0 && is_kernel_of(t + 7, n - 7, backend, op)) return true;
        t += n + strspn(t + n, " ");
    }
    return false;
}

/* Loads whoever has kernels for this op; one that will not load is no reason to stop while others do. */
static void load_kernels(cvr_plugins *p, const char *backend, const char *op) {
    for (size_t i = 0; i < p->n; i++) {
        plugin_candidate *c = &p->candidates[i];
        if (c->info.state != CVR_PLUGIN_LISTED || !provides_kernel(c->provides.s, backend, op)) continue;
        cvr_error why = CVR_ERROR_INIT;
        const int32_t status = candidate_load(p, c, &why);
        if (status != CVR_OK && status != CVR_ERR_UNSUPPORTED) cvr_log(CVR_LOG_WARNING, "%s", why.message);
    }
}

/* Whether a backend of this name is installed; "reference" needs none. */
static bool backend_is_here(const cvr_plugins *p, const char *name) {
    char token[TOKEN_SIZE];
    const int n = snprintf(token, sizeof token, "backend:%s", name);
    bool here = strcmp(name, "reference") == 0 || registry_find(&p->registry, CVR_KIND_BACKEND, name);
    for (size_t i = 0; i < p->n && !here; i++) here = cvr_has_word(p->candidates[i].provides.s, token, (size_t)n);
    return here;
}

/* One whose backend is not here lies dormant: the host takes no kernel for another's. */
static bool usable(const cvr_plugins *p, const registry_entry *e, const char *backend, const cvr_op_desc *op) {
    const cvr_kernel_desc *k = e->desc;
    const char *missing;
    if (strcmp(e->kind, CVR_KIND_KERNEL) != 0 || !is_kernel_of(e->name, strlen(e->name), backend, op ? op->name : NULL))
        return false;
    return (!op || k->op_version == op->version) && backend_is_here(p, k->backend) &&
           (cvr_kernel_is_host(k) ? isa_allowed(p, k->isa, &missing) : backend != NULL);
}

static bool has_text(const char *const *texts, uint32_t n, const char *text) {
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(texts[i], text) == 0) return true;
    return false;
}

/* Whether a backend that is loaded launches kernels for that one with payloads of this kind. */
static bool is_launched(const cvr_plugins *p, const cvr_kernel_desc *k) {
    if (cvr_kernel_is_host(k)) return true;
    for (size_t i = 0; i < p->registry.n; i++) {
        const cvr_backend_desc *b = p->registry.entries[i].desc;
        if (strcmp(p->registry.entries[i].kind, CVR_KIND_BACKEND) == 0 && has_text(b->runs, b->n_runs, k->backend) &&
            has_text(b->payloads, b->n_payloads, k->payload_kind))
            return true;
    }
    return false;
}

/* ---- kernels that are passed over ---- */

static void add_reason(cvr_text *t, const char *name, const char *owner, const char *format, ...) CVR_PRINTF(4, 5);
static void add_reason(cvr_text *t, const char *name, const char *owner, const char *format, ...) {
    char why[300];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(why, sizeof why, format, ap);
    va_end(ap);
    cvr_text_add(t, "%skernel %s of plugin %s: %s", t->n ? "; " : "", name, owner, why);
}

static void why_not(const cvr_plugins *p, const registry_entry *e, const cvr_op_desc *op, cvr_text *t) {
    const cvr_kernel_desc *k = e->desc;
    const char *missing;
    if (!is_launched(p, k))
        add_reason(t, e->name, e->owner, "nothing here launches its payload_kind `%.60s`", k->payload_kind);
    else if (k->op_version != op->version)
        add_reason(t, e->name, e->owner, "it is for version %u of the op, which has version %u", k->op_version,
                   op->version);
    else if (cvr_kernel_is_host(k) && !isa_allowed(p, k->isa, &missing))
        add_reason(t, e->name, e->owner, "it needs isa `%.60s`; this machine %s `%.*s`, or backend.isa leaves it out",
                   k->isa, *missing == '!' ? "must not have" : "lacks", (int)strcspn(missing, " "), missing);
    else if (!backend_is_here(p, k->backend))
        add_reason(t, e->name, e->owner, "no backend `%s` is installed", k->backend);
}

void cvr_plugins_passed_over(const cvr_plugins *p, const cvr_op_desc *op, cvr_text *t) {
    for (size_t i = 0; i < p->registry.n; i++) {
        const registry_entry *e = &p->registry.entries[i];
        if (strcmp(e->kind, CVR_KIND_KERNEL) == 0 && is_kernel_of(e->name, strlen(e->name), NULL, op->name))
            why_not(p, e, op, t);
    }
    for (size_t i = 0; i < p->n; i++) {
        const plugin_candidate *c = &p->candidates[i];
        if (c->info.state == CVR_PLUGIN_REFUSED && provides_kernel(c->provides.s, NULL, op->name))
            cvr_text_add(t, "%splugin %s, which has kernels for it, was refused: %.200s", t->n ? "; " : "", c->id,
                         c->reason.s ? c->reason.s : "");
    }
    if (!t->n) {
        const registry_entry *e = registry_find(&p->registry, CVR_KIND_OP, op->name);
        cvr_text_add(t, "there is no kernel for op %s of plugin %s anywhere, and it has no `decompose`", op->name,
                     e ? e->owner : "?");
    }
}

/* Why nothing launches a kernel, or NULL. */
static const char *why_dormant(const cvr_plugins *p, const registry_entry *e) {
    const cvr_kernel_desc *k = e->desc;
    if (!backend_is_here(p, k->backend)) return "no such backend is installed";
    return is_launched(p, k) ? NULL : "nothing here launches it";
}

static bool same_group(const registry_entry *a, const registry_entry *b) {
    const cvr_kernel_desc *x = a->desc, *y = b->desc;
    return strcmp(a->owner, b->owner) == 0 && strcmp(x->backend, y->backend) == 0 &&
           strcmp(x->payload_kind, y->payload_kind) == 0;
}

void cvr_plugins_dormant(const cvr_plugins *p, const char *id, cvr_text *lines) {
    for (size_t i = 0; i < p->registry.n; i++) {
        const registry_entry *e = &p->registry.entries[i];
        const cvr_kernel_desc *k = e->desc;
        size_t before = 0, all = 0;
        if (strcmp(e->kind, CVR_KIND_KERNEL) != 0 || strcmp(e->owner, id) != 0 || !why_dormant(p, e)) continue;
        for (size_t j = 0; j < p->registry.n; j++) {
            const registry_entry *other = &p->registry.entries[j];
            if (strcmp(other->kind, CVR_KIND_KERNEL) != 0 || !same_group(e, other)) continue;
            before += j < i;
            all++;
        }
        if (!before)
            cvr_text_add(lines, "%s%zu kernel%s for backend %s, payload %s: %s", lines->n ? "\n" : "", all,
                         all == 1 ? "" : "s", k->backend, k->payload_kind, why_dormant(p, e));
    }
}

static int32_t fill_list(const cvr_plugins *p, kernel_list *l, cvr_error *err) {
    const registry_entry **found = cvr_calloc(p->registry.n + 1, sizeof *found);
    const cvr_kernel_desc **kernels = cvr_calloc(p->registry.n + 1, sizeof *kernels);
    size_t n = 0;
    for (size_t i = 0; found && kernels && i < p->registry.n; i++) {
        const registry_entry *e = &p->registry.entries[i];
        if (!usable(p, e, l->backend, l->op)) continue;
        size_t at = n++;
        for (; at > 0 && goes_before(e, found[at - 1]); at--) found[at] = found[at - 1];
        found[at] = e;
    }
    for (size_t i = 0; i < n; i++) kernels[i] = found[i]->desc;
    if (found && kernels) {
        cvr_free(l->kernels);
        l->kernels = kernels;
        l->n = n;
        l->n_entries = p->registry.n;
        l->isa_changes = p->isa_changes;
    } else {
        cvr_free((void *)(uintptr_t)kernels);
    }
    cvr_free(found);
    return found && kernels ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int32_t new_list(cvr_plugins *p, const cvr_op_desc *op, const char *backend, kernel_list **out, cvr_error *err) {
    kernel_list **more = cvr_grow(p->lists, p->n_lists, &p->lists_capacity, sizeof *more);
    kernel_list *l = more ? cvr_calloc(1, sizeof *l) : NULL;
    if (more) p->lists = more;
    if (l && backend) l->backend = cvr_strdup(backend);
    if (!l || (backend && !l->backend)) {
        cvr_free(l);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    l->op = op;
    l->n_entries = SIZE_MAX;
    *out = more[p->n_lists++] = l;
    return CVR_OK;
}

int32_t cvr_plugins_kernels(cvr_plugins *p, const cvr_op_desc *op, const char *backend,
                            const cvr_kernel_desc *const **kernels, size_t *n, cvr_error *err) {
    kernel_list *l = NULL;
    for (size_t i = 0; i < p->n_lists && !l; i++) {
        kernel_list *known = p->lists[i];
        if (known->op == op &&
            (known->backend && backend ? strcmp(known->backend, backend) == 0 : known->backend == backend))
            l = known;
    }
    if (!l) {
        load_kernels(p, backend, op ? op->name : NULL);
        CVR_TRY(new_list(p, op, backend, &l, err));
    }
    if (l->n_entries != p->registry.n || l->isa_changes != p->isa_changes) CVR_TRY(fill_list(p, l, err));
    *kernels = l->kernels;
    *n = l->n;
    return CVR_OK;
}

/* ---- names ---- */

/* All names of a kind, in byte order; they were copied once and stay where they are. */
struct name_list {
    const char *kind;
    size_t n_entries, n_candidates; /* the state that it was made in */
    char **names;
    size_t n, capacity;
};

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_name(name_list *l, const char *name, size_t length) {
    for (size_t i = 0; i < l->n; i++)
        if (strlen(l->names[i]) == length && memcmp(l->names[i], name, length) == 0) return true;
    char **more = cvr_grow(l->names, l->n, &l->capacity, sizeof *more), *copy = cvr_strndup(name, length);
    if (more) l->names = more;
    if (more && copy)
        more[l->n++] = copy;
    else
        cvr_free(copy);
    return more && copy;
}

static bool fill_names(const cvr_plugins *p, name_list *l) {
    const char *word = kind_word(l->kind);
    const size_t w = strlen(word);
    bool good = true;
    for (size_t i = 0; i < p->n; i++)
        for (const char *t = p->candidates[i].provides.s; t && *t;) {
            const size_t n = strcspn(t, " ");
            if (n > w && memcmp(t, word, w) == 0 && t[w] == ':') good = good && add_name(l, t + w + 1, n - w - 1);
            t += n + strspn(t + n, " ");
        }
    for (size_t i = 0; i < p->registry.n; i++) {
        const registry_entry *e = &p->registry.entries[i];
        if (strcmp(e->kind, l->kind) == 0) good = good && add_name(l, e->name, strlen(e->name));
    }
    if (l->n > 1) qsort(l->names, l->n, sizeof *l->names, by_text);
    if (good) l->n_entries = p->registry.n;
    l->n_candidates = p->n;
    return good;
}

const char *cvr_plugins_name(cvr_plugins *p, const char *kind, size_t index) {
    name_list *l = NULL;
    p->names_failed = false;
    if (!kind_word(kind)) return NULL;
    for (size_t i = 0; i < p->n_name_lists && !l; i++)
        if (strcmp(p->name_lists[i].kind, kind) == 0) l = &p->name_lists[i];
    if (!l) {
        name_list *more = cvr_grow(p->name_lists, p->n_name_lists, &p->name_lists_capacity, sizeof *more);
        p->names_failed = !more;
        if (!more) return NULL;
        p->name_lists = more;
        l = &more[p->n_name_lists++];
        *l = (name_list){.kind = kind_of_word(kind_word(kind), strlen(kind_word(kind))), .n_entries = SIZE_MAX};
    }
    if (l->n_entries != p->registry.n || l->n_candidates != p->n) p->names_failed = !fill_names(p, l);
    return !p->names_failed && index < l->n ? l->names[index] : NULL;
}

void lookup_clear(cvr_plugins *p) {
    for (size_t i = 0; i < p->n_lists; i++) {
        cvr_free(p->lists[i]->kernels);
        cvr_free(p->lists[i]->backend);
        cvr_free(p->lists[i]);
    }
    for (size_t i = 0; i < p->n_name_lists; i++) {
        for (size_t k = 0; k < p->name_lists[i].n; k++) cvr_free(p->name_lists[i].names[k]);
        cvr_free(p->name_lists[i].names);
    }
    cvr_free(p->lists);
    cvr_free(p->name_lists);
}
