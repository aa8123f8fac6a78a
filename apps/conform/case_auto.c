/* See case_auto.h. Sizes of axes are drawn from few numbers, so that those of several inputs often meet. */
#include "case_auto.h"
#include "layer_case.h"
#include <math.h>

#define N_SIZES 4
#define MOST_ELEMENTS 4096

typedef struct drawing {
    cvr_rng *rng;
    int64_t sizes[N_SIZES];
    cvr_text text;
} drawing;

static int64_t below(const drawing *d, uint64_t n) {
    return (int64_t)cvr_rng_below(d->rng, n);
}

static int64_t any_size(const drawing *d) {
    return d->sizes[below(d, N_SIZES)];
}

/* ---- settings ---- */

static double bound(const cvr_attr_desc *a, double otherwise, uint32_t flag) {
    if (!(a->flags & flag)) return otherwise;
    return flag == CVR_ATTR_MIN ? a->min : a->max;
}

/* Within the bounds, and near the smaller one. */
static double near_bound(const drawing *d, const cvr_attr_desc *a, bool whole) {
    const double low = bound(a, whole ? 0 : -1, CVR_ATTR_MIN), high = fmin(bound(a, low + 8, CVR_ATTR_MAX), low + 8);
    const double x = low + (high - low) * cvr_rng_uniform(d->rng);
    const double size = (double)any_size(d);
    if (!whole) return x;
    return below(d, 2) && size >= low && size <= high ? size : floor(x + 0.5);
}

static void add_numbers(drawing *d, const cvr_attr_desc *a, bool whole, uint32_t n) {
    const double first = near_bound(d, a, whole);
    for (uint32_t i = 0; i < n; i++)
        cvr_text_add(&d->text, "%s%.9g", i ? "," : "", i && below(d, 2) ? near_bound(d, a, whole) : first);
}

static void add_choice(drawing *d, const char *choices) {
    uint64_t n = 1;
    for (const char *c = choices; *c; c++) n += *c == '|';
    for (int64_t which = below(d, n); which; which--) choices = strchr(choices, '|') + 1;
    cvr_text_add_bytes(&d->text, choices, strcspn(choices, "|"));
}

/* False: a text without a default, of which nobody knows what may stand there. */
static bool add_setting(drawing *d, const cvr_attr_desc *a) {
    const bool text = a->kind == CVR_ATTR_STRING || a->kind == CVR_ATTR_PATH;
    if (text || (a->default_text && below(d, 3))) return a->default_text != NULL;
    cvr_text_add(&d->text, " %s=", a->name);
    switch (a->kind) {
    case CVR_ATTR_BOOL: cvr_text_add(&d->text, "%s", below(d, 2) ? "yes" : "no"); break;
    case CVR_ATTR_CHOICE: add_choice(d, a->choices); break;
    case CVR_ATTR_INT: add_numbers(d, a, true, cvr_attr_count(a)); break;
    case CVR_ATTR_FLOAT: add_numbers(d, a, false, cvr_attr_count(a)); break;
    case CVR_ATTR_INTS: add_numbers(d, a, true, 1 + (uint32_t)below(d, cvr_attr_count(a))); break;
    default: add_numbers(d, a, false, 1 + (uint32_t)below(d, cvr_attr_count(a)));
    }
    return true;
}

/* ---- inputs ---- */

typedef struct drawn_shape {
    uint32_t rank;
    int64_t axes[CVR_MAX_RANK];
} drawn_shape;

static drawn_shape any_shape(const drawing *d) {
    static const uint32_t ranks[] = {0, 1, 2, 2, 3, 4, 4, 4, 5};
    drawn_shape s = {.rank = ranks[below(d, sizeof ranks / sizeof *ranks)]};
    int64_t n = 1;
    for (uint32_t i = 0; i < s.rank; i++) {
        s.axes[i] = any_size(d);
        if (n * s.axes[i] > MOST_ELEMENTS) s.axes[i] = 1;
        n *= s.axes[i];
    }
    return s;
}

/* As the first, its axis 1 or its last, a part of it, or another. */
static drawn_shape related(const drawing *d, const drawn_shape *first) {
    drawn_shape s = *first;
    switch (below(d, 6)) {
    case 0: return any_shape(d);
    case 1: return (drawn_shape){1, {first->rank > 1 ? first->axes[1] : any_size(d)}};
    case 2: return (drawn_shape){1, {first->rank ? first->axes[first->rank - 1] : 1}};
    case 3:
        if (s.rank) s.rank--;
        return s;
    case 4:
        if (s.rank) s.axes[below(d, s.rank)] = any_size(d);
        return s;
    default: return s;
    }
}

static void add_input(drawing *d, const case_subject *s, const drawn_shape *shape, bool first) {
    const bool whole = s->whole && below(d, first ? 4 : 2) == 0;
    int64_t least = d->sizes[0];
    for (int i = 1; i < N_SIZES; i++) least = d->sizes[i] < least ? d->sizes[i] : least;
    if (whole)
        cvr_text_add(&d->text, "%s<%lld>:", below(d, 4) ? "i64" : below(d, 2) ? "i32" : "u8", (long long)least);
    else if (s->positive)
        cvr_text_add(&d->text, "u01:");
    for (uint32_t i = 0; i < shape->rank; i++)
        cvr_text_add(&d->text, "%s%lld", i ? "," : "", (long long)shape->axes[i]);
}

static void add_inputs(drawing *d, const case_subject *s) {
    const uint32_t spare = s->max_inputs - s->min_inputs, most = spare > 2 ? 2 : spare;
    uint32_t n = s->min_inputs + (uint32_t)below(d, most + 1u);
    const drawn_shape first = any_shape(d);
    const bool alike = s->alike || below(d, 2) == 0;
    if (n == 0) n = 1;
    for (uint32_t i = 0; i < n; i++) {
        const drawn_shape shape = i && !alike ? related(d, &first) : first;
        cvr_text_add(&d->text, "%s", i ? " ; " : " | ");
        if (i && i < 64 && (s->optional >> i & 1) && below(d, 3) == 0)
            cvr_text_add(&d->text, "-");
        else
            add_input(d, s, &shape, i == 0);
    }
}

bool case_auto(const case_subject *s, cvr_rng *rng, char *line, size_t size) {
    drawing d = {.rng = rng};
    bool good = s->max_inputs > 0 && s->min_inputs <= CASE_MOST_IO;
    for (int i = 0; i < N_SIZES; i++) d.sizes[i] = 1 + below(&d, 8);
    cvr_text_add(&d.text, "%s%s", s->prefix, s->name);
    for (uint32_t i = 0; i < s->schema.n && good; i++) good = add_setting(&d, s->schema.attrs[i]);
    if (good) add_inputs(&d, s);
    good = good && !d.text.failed && d.text.n < size;
    if (good) memcpy(line, d.text.s, d.text.n + 1);
    cvr_text_clear(&d.text);
    return good;
}
