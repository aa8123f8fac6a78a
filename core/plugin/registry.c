/*
 * The registry. One table says for every kind which fields its descriptor has (registry_fields.c); checking and deep
 * copying are the same code for all of them.
 */
#include "registry_fields.h"
#include <ctype.h>
#include <math.h>

/* ---- checking ---- */

bool registry_is_name(const char *s) {
    size_t n = 0;
    for (; s[n]; n++)
        if (n >= 96 || (!isalnum((unsigned char)s[n]) && !strchr("._-+", s[n]))) return false;
    return n > 0;
}

/* A list's elements and the texts that they need. */
static int32_t check_list(const desc_field *f, const void *list, uint32_t n, const char *what, cvr_error *err) {
    const char *const *items = list;
    if (n > f->most) return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `n_%s` is %u; at most %u", what, f->name, n, f->most);
    if (n && !list) return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s` is NULL, `n_%s` is %u", what, f->name, f->name, n);
    for (uint32_t i = 0; i < n; i++) {
        if (!items[i]) return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s[%u]` is NULL", what, f->name, i);
        if (f->kind == ATTRS || f->kind == TEXTS) continue;
        const list_item *l = list_item_of(f->kind);
        uint64_t size;
        memcpy(&size, items[i], sizeof size);
        if (size != l->size)
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s[%u].struct_size` is %llu, this core's is %u", what, f->name,
                            i, (unsigned long long)size, l->size);
        for (uint32_t k = 0; k < l->needed; k++) {
            const char *text;
            memcpy(&text, items[i] + l->texts[k], sizeof text);
            if (!text)
                return cvr_fail(err, CVR_ERR_PLUGIN, "%s: text %u of `%s[%u]` is missing", what, k + 1, f->name, i);
        }
    }
    return f->kind == ATTRS ? registry_check_attrs(list, n, what, err) : CVR_OK;
}

static int32_t check_number(const desc_field *f, const char *desc, const char *what, cvr_error *err) {
    uint32_t v;
    double real;
    memcpy(&v, desc + f->offset, sizeof v);
    if (f->kind == FLAGS && (v & ~f->most))
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s` is 0x%x, of which 0x%x is not known", what, f->name, v,
                        v & ~f->most);
    if (f->kind == NUMBER && (v < f->least || v > f->most))
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s` is %u; it is from %u to %u", what, f->name, v, f->least,
                        f->most);
    if (f->kind != REAL) return CVR_OK;
    memcpy(&real, desc + f->offset, sizeof real);
    return isfinite(real) ? CVR_OK : cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s` is %g", what, f->name, real);
}

static int32_t check_field(const desc_field *f, const char *desc, const char *what, cvr_error *err) {
    void *pointer;
    uint32_t n = 0;
    if (f->kind == FLAGS || f->kind == NUMBER || f->kind == REAL) return check_number(f, desc, what, err);
    memcpy(&pointer, desc + f->offset, sizeof pointer);
    if (is_list(f->kind)) {
        memcpy(&n, desc + f->count_offset, sizeof n);
        return check_list(f, pointer, n, what, err);
    }
    if (!pointer && f->kind != TEXT_OR_NULL && f->kind != DOC)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s` is missing (NULL)", what, f->name);
    if (f->kind == NAME && !registry_is_name(pointer))
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "%s: `%s` is `%.40s`, which is no name: 1 to 96 letters, digits and . _ - +", what, f->name,
                        (const char *)pointer);
    return CVR_OK;
}

/* ---- copying ---- */

static void *copy_bytes(const void *p, uint64_t n) {
    void *copy = cvr_calloc(1, n);
    if (copy) memcpy(copy, p, n);
    return copy;
}

static void free_item(field_kind kind, char *item) {
    for (uint32_t i = 0; kind != TEXTS && item && i < list_item_of(kind)->n_texts; i++) {
        char *text;
        memcpy(&text, item + list_item_of(kind)->texts[i], sizeof text);
        cvr_free(text);
    }
    cvr_free(item);
}

static void *copy_item(field_kind kind, const void *item) {
    if (kind == TEXTS) return cvr_strdup(item);
    const list_item *l = list_item_of(kind);
    char *copy = copy_bytes(item, l->size);
    bool whole = copy != NULL;
    for (uint32_t i = 0; copy && i < l->n_texts; i++) {
        const char *text;
        memcpy(&text, copy + l->texts[i], sizeof text);
        const char *own = text ? cvr_strdup(text) : NULL;
        whole = whole && !own == !text;
        memcpy(copy + l->texts[i], &own, sizeof own);
    }
    if (whole) return copy;
    free_item(kind, copy);
    return NULL;
}

/* A copy of the pointer field, or NULL when memory is out. */
static void *copy_field(const desc_field *f, const void *pointer, uint32_t n) {
    if (f->kind == TEXT || f->kind == TEXT_OR_NULL || f->kind == DOC || f->kind == NAME) return cvr_strdup(pointer);
    void **copy = cvr_calloc((size_t)n + 1, sizeof(void *));
    const void *const *from = pointer;
    for (uint32_t i = 0; copy && i < n; i++) copy[i] = copy_item(f->kind, from[i]);
    return copy;
}

/* What a copy has memory of its own for. */
static bool is_owned(field_kind kind) {
    return kind != FUNCTION && kind != FLAGS && kind != NUMBER && kind != REAL;
}

static void free_field(const desc_field *f, char *desc) {
    void *pointer;
    uint32_t n = 0;
    if (!is_owned(f->kind)) return;
    memcpy(&pointer, desc + f->offset, sizeof pointer);
    if (!pointer) return;
    if (is_list(f->kind)) {
        memcpy(&n, desc + f->count_offset, sizeof n);
        void **list = pointer;
        for (uint32_t i = 0; i < n; i++) free_item(f->kind, list[i]);
    }
    cvr_free(pointer);
}

static void free_desc(const char *kind, void *desc) {
    for (const desc_field *f = desc_kind_find(kind)->fields; f->kind != END; f++) free_field(f, desc);
    cvr_free(desc);
}

/* Replaces every pointer of a shallow copy by a deep one. */
static bool deepen(const desc_field *fields, char *desc) {
    bool good = true;
    for (const desc_field *f = fields; f->kind != END; f++) {
        void *pointer;
        uint32_t n = 0;
        if (!is_owned(f->kind)) continue;
        memcpy(&pointer, desc + f->offset, sizeof pointer);
        if (is_list(f->kind)) memcpy(&n, desc + f->count_offset, sizeof n);
        if (!pointer) continue;
        void *copy = copy_field(f, pointer, n);
        good = good && copy;
        for (uint32_t i = 0; i < n && good; i++) good = ((void **)copy)[i] != NULL;
        memcpy(desc + f->offset, &copy, sizeof copy);
    }
    return good;
}

/* Name under which an entry is found; for kernels made from two. Free with cvr_free. */
static char *entry_name(const char *kind, const void *desc) {
    if (strcmp(kind, CVR_KIND_KERNEL) == 0) {
        const cvr_kernel_desc *k = desc;
        cvr_text t = {0};
        cvr_text_add(&t, "%s/%s", k->backend, k->op);
        return t.s;
    }
    const char *name;
    memcpy(&name, (const char *)desc + offsetof(cvr_op_desc, name),
           sizeof name); /* every other kind has its name there */
    return cvr_strdup(name);
}

/* Checks a descriptor field by field, then as a whole. */
static int32_t check_desc(const desc_kind *kind, const void *desc, size_t place, cvr_error *err) {
    uint64_t size;
    memcpy(&size, desc, sizeof size);
    if (size != kind->size)
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "registration %zu, %s: `struct_size` is %llu, this core's is %llu; it is another struct, or "
                        "built against other headers",
                        place, kind->word, (unsigned long long)size, (unsigned long long)kind->size);
    const cvr_kernel_desc *kernel = strcmp(kind->word, "kernel") == 0 ? desc : NULL;
    const char *name;
    char what[128];
    memcpy(&name, (const char *)desc + offsetof(cvr_op_desc, name), sizeof name);
    (void)snprintf(what, sizeof what, "%s %.40s%s%.48s", kind->word,
                   kernel ? kernel->backend ? kernel->backend : "?" : "", kernel ? "/" : "", name ? name : "(no name)");
    for (const desc_field *f = kind->fields; f->kind != END; f++) CVR_TRY(check_field(f, desc, what, err));
    return registry_check(kind->kind, desc, what, err);
}

int32_t registry_add(registry *r, const char *owner, const char *kind, const void *desc, cvr_error *err) {
    const desc_kind *k = kind ? desc_kind_find(kind) : NULL;
    if (!k)
        return cvr_fail(err, CVR_ERR_PLUGIN, "registers the kind `%.60s`, which this core does not have",
                        kind ? kind : "(NULL)");
    CVR_TRY(check_desc(k, desc, r->n + 1, err));
    char *name = entry_name(kind, desc);
    registry_entry *more = cvr_grow(r->entries, r->n, &r->capacity, sizeof *more);
    if (more) r->entries = more;
    void *copy = copy_bytes(desc, k->size);
    if (copy && deepen(k->fields, copy) && name && more) {
        more[r->n++] = (registry_entry){.kind = k->kind, .name = name, .owner = owner, .desc = copy};
        return CVR_OK;
    }
    if (copy) free_desc(k->kind, copy);
    cvr_free(name);
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static void warn_of_attrs(const registry_entry *e, const desc_field *f) {
    const cvr_attr_desc *const *attrs;
    uint32_t n;
    memcpy(&attrs, (const char *)e->desc + f->offset, sizeof attrs);
    memcpy(&n, (const char *)e->desc + f->count_offset, sizeof n);
    for (uint32_t i = 0; i < n; i++)
        if (!attrs[i]->doc)
            cvr_log(CVR_LOG_WARNING, "plugin %s: %s %s: `doc` of attribute `%s` is missing (NULL)", e->owner,
                    kind_word(e->kind), e->name, attrs[i]->name);
}

static void warn_of_doc(const registry_entry *e, const desc_field *f) {
    const char *doc;
    memcpy(&doc, (const char *)e->desc + f->offset, sizeof doc);
    if (!doc)
        cvr_log(CVR_LOG_WARNING, "plugin %s: %s %s: `doc` is missing (NULL); `cvrun help` has nothing to say of it",
                e->owner, kind_word(e->kind), e->name);
}

void registry_warn(const registry_entry *e) {
    for (const desc_field *f = desc_kind_find(e->kind)->fields; f->kind != END; f++) {
        if (f->kind == DOC) warn_of_doc(e, f);
        if (f->kind == ATTRS) warn_of_attrs(e, f);
    }
}

void registry_clear(registry *r) {
    for (size_t i = 0; i < r->n; i++) {
        free_desc(r->entries[i].kind, r->entries[i].desc);
        cvr_free((void *)(uintptr_t)r->entries[i].name);
    }
    cvr_free(r->entries);
    cvr_free(r->buckets);
    memset(r, 0, sizeof *r);
}
