/* What a schema must be: every field of every attribute, and that its default is one of its own values. */
#include "registry.h"
#include <cvr/config.h>
#include <math.h>

#define LARGEST_COUNT 65536u
#define KNOWN_FLAGS (CVR_ATTR_POSITIONAL | CVR_ATTR_MIN | CVR_ATTR_MAX)

/* Whether each choice of "a|b|c" has a name of its own. */
static bool good_choices(const char *choices) {
    for (const char *p = choices;; p++) {
        const size_t n = strcspn(p, "|");
        if (n == 0) return false;
        for (const char *q = p + n; *q;) {
            const size_t m = strcspn(++q, "|");
            if (m == n && memcmp(p, q, n) == 0) return false;
            q += m;
        }
        p += n;
        if (!*p) return true;
    }
}

/* The field of an attribute that makes no sense, or NULL. */
static const char *bad_field(const cvr_attr_desc *a) {
    const bool number =
        a->kind == CVR_ATTR_INT || a->kind == CVR_ATTR_INTS || a->kind == CVR_ATTR_FLOAT || a->kind == CVR_ATTR_FLOATS;
    const bool both = (a->flags & CVR_ATTR_MIN) && (a->flags & CVR_ATTR_MAX);
    if (!cvr_attr_cells(a)) return "kind";
    if (a->count > LARGEST_COUNT || (!number && a->count > 1)) return "count";
    if ((a->flags & ~KNOWN_FLAGS) || (!number && (a->flags & (CVR_ATTR_MIN | CVR_ATTR_MAX)))) return "flags";
    if (a->reserved) return "reserved";
    if (a->kind == CVR_ATTR_CHOICE ? !a->choices : a->choices && (a->kind != CVR_ATTR_INT || cvr_attr_count(a) != 1))
        return "choices";
    if (a->choices && !good_choices(a->choices)) return "choices";
    if ((a->flags & CVR_ATTR_MIN) && isnan(a->min)) return "min";
    if (((a->flags & CVR_ATTR_MAX) && isnan(a->max)) || (both && a->min > a->max)) return "max";
    return NULL;
}

/* The default is read as a setting would be. */
static int32_t check_default(const cvr_attr_desc *a, const char *what, cvr_error *err) {
    const cvr_schema one = {&a, 1};
    cvr_error why = CVR_ERROR_INIT;
    void *packed = NULL;
    if (!a->default_text) return CVR_OK;
    const int32_t status = cvr_attrs_pack(&one, NULL, 0, what, &packed, &why);
    cvr_free(packed);
    if (status == CVR_OK || status == CVR_ERR_NOMEM)
        return status == CVR_OK ? CVR_OK : cvr_fail(err, status, "%s", why.message);
    return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `default_text` of attribute `%s` is not one of its values: %.300s", what,
                    a->name, why.message);
}

static int32_t check_attr(const cvr_attr_desc *const *attrs, uint32_t i, const char *what, cvr_error *err) {
    const cvr_attr_desc *a = attrs[i];
    if (a->struct_size != sizeof *a)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `attrs[%u].struct_size` is %llu, this core's is %zu", what, i,
                        (unsigned long long)a->struct_size, sizeof *a);
    if (!a->name || !registry_is_name(a->name))
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `attrs[%u].name` is %s", what, i, a->name ? "no name" : "missing");
    for (uint32_t k = 0; k < i; k++)
        if (strcmp(attrs[k]->name, a->name) == 0)
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `attrs[%u]` and `attrs[%u]` are both called `%s`", what, k, i,
                            a->name);
    const char *field = bad_field(a);
    if (field)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s` of attribute `%s` is missing or makes no sense (attr.h)", what,
                        field, a->name);
    return check_default(a, what, err);
}

int32_t registry_check_attrs(const cvr_attr_desc *const *attrs, uint32_t n, const char *what, cvr_error *err) {
    for (uint32_t i = 0; i < n; i++) CVR_TRY(check_attr(attrs, i, what, err));
    return CVR_OK;
}
