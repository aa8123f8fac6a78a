/*
 * Widths as lines of text, one a group of channels that has lost some:
 *     layer1.0.conv1.weight 0:0 40/64 9f3a...
 * is the group of element 0 of axis 0 of that parameter: 40 of its 64 units stay, those whose bits are set; four bits a
 * digit, the first unit's the highest of the first.
 */
#include "axes.h"
#include <limits.h>

static const char digits[] = "0123456789abcdef";

static size_t units_left(const cvr_channels *a, const channel_group *g) {
    size_t left = 0;
    for (size_t u = 0; u < g->n; u++) left += !a->gone[g->sets[u]];
    return left;
}

/* ---- writing ---- */

static void write_line(const cvr_channels *a, const channel_group *g, cvr_text *t) {
    const channel_member *m = &g->members[0];
    cvr_text_add(t, "%s %u:%lld %zu/%zu ", axes_param_name(a, m), m->axis, (long long)m->elements[0], units_left(a, g),
                 g->n);
    for (size_t u = 0; u < g->n; u += 4) {
        unsigned digit = 0;
        for (size_t k = 0; k < 4; k++) digit = digit << 1 | (u + k < g->n && !a->gone[g->sets[u + k]]);
        cvr_text_add(t, "%c", digits[digit]);
    }
    cvr_text_add(t, "\n");
}

void cvr_channels_write(const cvr_channels *a, cvr_text *lines) {
    for (size_t i = 0; i < a->n_groups; i++)
        if (units_left(a, &a->groups[i]) < a->groups[i].n) write_line(a, &a->groups[i], lines);
}

/* ---- reading ---- */

typedef struct width_line {
    char name[256];
    unsigned axis;
    long long first, left, all;
    const char *bits;
} width_line;

static int32_t parse_line(const char *text, width_line *w, cvr_error *err) {
    int at = 0;
    if (sscanf(text, "%255s %u:%lld %lld/%lld %n", w->name, &w->axis, &w->first, &w->left, &w->all, &at) != 5 || !at)
        return cvr_fail(err, CVR_ERR_USAGE, "a width is written as `layer1.0.conv1.weight 0:0 40/64 9f3a...`");
    w->bits = text + at;
    const size_t n = strlen(w->bits);
    if (w->all < 2 || w->all > LLONG_MAX - 3)
        return cvr_fail(err, CVR_ERR_USAGE, "the width of %.100s cannot be of %lld units", w->name, w->all);
    if (strspn(w->bits, digits) != n || (unsigned long long)w->all > 4 * (unsigned long long)n ||
        n != ((size_t)w->all + 3) / 4)
        return cvr_fail(err, CVR_ERR_USAGE, "the width of %.100s: %lld units need %lld digits of 0 to f", w->name,
                        w->all, (w->all + 3) / 4);
    return CVR_OK;
}

static const channel_group *find_group(const cvr_channels *a, const width_line *w) {
    for (size_t i = 0; i < a->n_groups; i++) {
        const channel_member *m = &a->groups[i].members[0];
        if (m->axis == w->axis && m->elements[0] == w->first && strcmp(axes_param_name(a, m), w->name) == 0)
            return &a->groups[i];
    }
    return NULL;
}

int32_t cvr_channels_read(cvr_channels *a, const char *line, cvr_error *err) {
    width_line w;
    CVR_TRY(parse_line(line, &w, err));
    const channel_group *g = find_group(a, &w);
    if (!g)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "the width of %s: this network has no channels that begin there and can go; it was written for "
                        "another",
                        w.name);
    if ((long long)g->n != w.all)
        return cvr_fail(err, CVR_ERR_USAGE, "the width of %s is of %lld units, and this network has %zu there", w.name,
                        w.all, g->n);
    for (size_t u = 0; u < g->n; u++) {
        const unsigned digit = (unsigned)(strchr(digits, w.bits[u / 4]) - digits);
        a->gone[g->sets[u]] = a->before[g->sets[u]] = !(digit >> (3 - u % 4) & 1);
    }
    if (units_left(a, g) == (size_t)w.left && w.left > 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "the width of %s: %zu bits are set; it says %lld, of which one at least stays",
                    w.name, units_left(a, g), w.left);
}
