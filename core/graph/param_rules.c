/* Which stage a parameter is in, whether it is frozen, how fast it is trained: patterns against names. */
#include "param_rules.h"
#include <cvr/plugin/names.h>
#include <math.h>
#include <stdlib.h>

bool cvr_param_fits(const char *list, const char *name, const char *stage) {
    return cvr_names_fit(list, name) || (stage && *stage && cvr_names_fit(list, stage));
}

/* ---- keeping them ---- */

static int32_t parse_list(param_rule_list *l, const char *text, bool numbers, cvr_error *err) {
    const char *word;
    uint64_t length;
    while (text && (word = cvr_next_pattern(&text, &length))) {
        const char *end = word + length, *colon = numbers ? memchr(word, ':', (size_t)(end - word)) : end;
        char *rest = (char *)(uintptr_t)end;
        const double value = numbers && colon ? strtod(colon + 1, &rest) : 0;
        if (!colon || colon == word || (numbers && rest == colon + 1) || rest != end || !isfinite(value) || value < 0)
            return cvr_fail(err, CVR_ERR_USAGE, "`%.*s`: write PATTERN:NUMBER, such as backbone:0.1", (int)(end - word),
                            word);
        param_rule *more = cvr_grow(l->rules, l->n, &l->capacity, sizeof *more);
        if (more) l->rules = more;
        char *pattern = more ? cvr_strndup(word, (size_t)(colon - word)) : NULL;
        if (!pattern) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        more[l->n++] = (param_rule){pattern, value, false};
    }
    return CVR_OK;
}

int32_t param_rules_set(param_rules *r, const cvr_param_rules *from, cvr_error *err) {
    r->train_frozen = from->train_frozen;
    r->stages = cvr_calloc(from->n_stages + 1, sizeof *r->stages);
    if (!r->stages) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (; r->n_stages < from->n_stages; r->n_stages++) {
        cvr_stage *s = &r->stages[r->n_stages];
        s->name = cvr_strdup(from->stages[r->n_stages]->name);
        s->globs = cvr_strdup(from->stages[r->n_stages]->globs);
        if (!s->name || !s->globs) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    r->thaw = cvr_calloc(from->n_thaw + 1, sizeof *r->thaw);
    if (!r->thaw) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (; r->n_thaw < from->n_thaw; r->n_thaw++)
        CVR_TRY(parse_list(&r->thaw[r->n_thaw], from->thaw[r->n_thaw], false, err));
    CVR_TRY(parse_list(&r->freeze, from->freeze, false, err));
    CVR_TRY(parse_list(&r->lr, from->lr_factors, true, err));
    return parse_list(&r->decay, from->weight_decays, true, err);
}

/* Each of the lists in turn; NULL past the last. */
static param_rule_list *list_at(const param_rules *r, size_t i) {
    const param_rule_list *three[3] = {&r->freeze, &r->lr, &r->decay};
    if (i < 3) return (param_rule_list *)(uintptr_t)three[i];
    return r->thaw && i - 3 <= r->n_thaw ? &r->thaw[i - 3] : NULL; /* the last may be half made */
}

void param_rules_clear(param_rules *r) {
    param_rule_list *l;
    for (size_t i = 0; (l = list_at(r, i)); i++) {
        for (size_t k = 0; k < l->n; k++) cvr_free(l->rules[k].pattern);
        cvr_free(l->rules);
    }
    cvr_free(r->thaw);
    for (size_t i = 0; r->stages && i <= r->n_stages; i++) { /* the last may be half made */
        cvr_free((void *)(uintptr_t)r->stages[i].name);
        cvr_free((void *)(uintptr_t)r->stages[i].globs);
    }
    cvr_free(r->stages);
    memset(r, 0, sizeof *r);
}

/* ---- applying them ---- */

const char *param_rules_stage(const param_rules *r, const char *name) {
    for (size_t i = 0; i < r->n_stages; i++)
        if (cvr_param_fits(r->stages[i].globs, name, NULL)) return r->stages[i].name;
    return "";
}

/* The last rule that fits, or NULL. `parameter`: the name is one's, and rules that fit it are of use. */
static const param_rule *last_fit(const param_rule_list *l, const char *name, const char *stage, bool parameter) {
    const param_rule *last = NULL;
    for (size_t i = 0; i < l->n; i++) {
        param_rule *rule = &l->rules[i];
        const uint64_t n = strlen(rule->pattern);
        if (!cvr_name_fits(rule->pattern, n, name) && !(*stage && cvr_name_fits(rule->pattern, n, stage))) continue;
        rule->used = rule->used || parameter;
        last = rule;
    }
    return last;
}

void param_rules_apply(param_rules *r, cvr_store_entry *e) {
    e->stage = param_rules_stage(r, e->name);
    const param_rule *frozen = last_fit(&r->freeze, e->name, e->stage, true),
                     *lr = last_fit(&r->lr, e->name, e->stage, true),
                     *decay = last_fit(&r->decay, e->name, e->stage, true);
    e->thaws_in = frozen ? CVR_NEVER : 0;
    for (size_t i = r->n_thaw; frozen && i-- > 0;)
        if (last_fit(&r->thaw[i], e->name, e->stage, true)) e->thaws_in = (uint32_t)i + 1;
    e->role = param_rules_role(r, e);
    if (lr) e->lr_factor = lr->value;
    if (decay) e->weight_decay = decay->value;
}

uint32_t param_rules_role(const param_rules *r, const cvr_store_entry *e) {
    if (*e->network || (e->role != CVR_STORE_TRAINED && e->role != CVR_STORE_FROZEN)) return e->role;
    return e->thaws_in <= r->phase ? CVR_STORE_TRAINED : CVR_STORE_FROZEN;
}

bool param_rules_freeze_scope(const param_rules *r, const char *scope) {
    char below[256];
    if (!r->freeze.n || snprintf(below, sizeof below, "%s.", scope) >= (int)sizeof below) return false;
    const char *stage = param_rules_stage(r, below);
    bool frozen = last_fit(&r->freeze, below, stage, false) != NULL;
    for (size_t i = 0; i < r->phase; i++) frozen = frozen && !last_fit(&r->thaw[i], below, stage, false);
    return frozen;
}

/* A stage may have nothing in this network, as that of auxiliary heads which are switched off. */
static bool is_stage(const param_rules *r, const char *name) {
    for (size_t i = 0; i < r->n_stages; i++)
        if (strcmp(r->stages[i].name, name) == 0) return true;
    return false;
}

const char *param_rules_unused(const param_rules *r) {
    const param_rule_list *l;
    for (size_t i = 0; (l = list_at(r, i)); i++)
        for (size_t k = 0; k < l->n; k++)
            if (!l->rules[k].used && !is_stage(r, l->rules[k].pattern)) return l->rules[k].pattern;
    return NULL;
}
