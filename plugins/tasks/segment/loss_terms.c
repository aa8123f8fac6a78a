/* Reads a sum of losses. */
#include "loss_terms.h"
#include <math.h>
#include <stdlib.h>

#define HOW "write it as cross_entropy + 0.5 * dice(smooth=1)"

static const char *skip_space(const char *t) {
    return t + strspn(t, " \t");
}

/* "0.5 *"; none: 1. */
static int32_t read_weight(const char **t, double *weight, cvr_error *err) {
    char *end;
    *weight = 1;
    if (!strchr("0123456789.-+", **t) || !**t) return CVR_OK;
    *weight = strtod(*t, &end);
    const char *const star = skip_space(end);
    if (end == *t || *star != '*' || !isfinite(*weight) || *weight <= 0)
        return cvr_fail(err, CVR_ERR_USAGE, "train.loss: a weight is a number above 0 with a `*` behind it, at `%.40s`",
                        *t);
    *t = skip_space(star + 1);
    return CVR_OK;
}

static int32_t read_settings(const char **t, const char *given, loss_term *term, cvr_error *err) {
    size_t n = 0;
    const char *inside = "";
    if (**t == '(') {
        inside = *t + 1;
        n = strcspn(inside, ")");
        if (inside[n] != ')')
            return cvr_fail(err, CVR_ERR_USAGE,
                            "train.loss: `%s(` has no closing bracket; write NAME(key=value key=value)", term->layer);
        *t = skip_space(inside + n + 1);
    }
    const int size = snprintf(term->settings, sizeof term->settings, "%s %.*s", given, n < 256 ? (int)n : 256, inside);
    return (size_t)size < sizeof term->settings
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_USAGE, "train.loss: the settings of %s are too long", term->layer);
}

static int32_t read_term(const char **t, const char *given, loss_term *term, cvr_error *err) {
    CVR_TRY(read_weight(t, &term->weight, err));
    const size_t n = strcspn(*t, " \t+*()");
    if (n == 0)
        return cvr_fail(err, CVR_ERR_USAGE, "train.loss: a loss's name is missing%s%.40s%s; " HOW, **t ? " at `" : "",
                        *t, **t ? "`" : "");
    if (n >= sizeof term->layer)
        return cvr_fail(err, CVR_ERR_USAGE, "train.loss: there is no layer `%.40s...`; " HOW, *t);
    memcpy(term->layer, *t, n);
    term->layer[n] = '\0';
    *t = skip_space(*t + n);
    return read_settings(t, given, term, err);
}

static int is_there(const loss_term *terms, uint32_t n, const char *layer) {
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(terms[i].layer, layer) == 0) return 1;
    return 0;
}

int32_t loss_terms_read(const char *text, const char *given, loss_term terms[LOSS_MOST_TERMS], uint32_t *n,
                        cvr_error *err) {
    const char *t = skip_space(text);
    for (*n = 0;; t = skip_space(t + 1)) {
        if (*n == LOSS_MOST_TERMS)
            return cvr_fail(err, CVR_ERR_USAGE, "train.loss: more than %u losses; leave some out", LOSS_MOST_TERMS);
        CVR_TRY(read_term(&t, given, &terms[*n], err));
        if (is_there(terms, *n, terms[*n].layer))
            return cvr_fail(err, CVR_ERR_USAGE, "train.loss: %s stands there twice; give it once, with one weight",
                            terms[*n].layer);
        ++*n;
        if (!*t) return CVR_OK;
        if (*t != '+') return cvr_fail(err, CVR_ERR_USAGE, "train.loss: `+` is missing at `%.40s`; " HOW, t);
    }
}
