/* Draws cases from templates. */
#include "draw.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define MOST_NAMES 16u

typedef struct binding {
    char name[16];
    char value[32];
} binding;

typedef struct drawing {
    cvr_rng rng;
    binding names[MOST_NAMES];
    uint32_t n;
    char text[1024];
    size_t used;
    char *why;
    size_t why_size;
} drawing;

static bool wrong(drawing *d, const char *what, const char *where) {
    (void)snprintf(d->why, d->why_size, "%s: `%s`", what, where);
    return false;
}

static bool append(drawing *d, const char *s, size_t n) {
    if (d->used + n + 1 > sizeof d->text) return wrong(d, "the drawn line is too long", s);
    memcpy(d->text + d->used, s, n);
    d->used += n;
    d->text[d->used] = '\0';
    return true;
}

/* ---- templates ---- */

static bool pick_word(drawing *d, const char *body, char *value, size_t size) {
    uint64_t n = 1;
    for (const char *c = body; *c; c++) n += *c == '|';
    uint64_t which = cvr_rng_below(&d->rng, n);
    for (; which; which--) body = strchr(body, '|') + 1;
    const size_t length = strcspn(body, "|");
    if (length >= size) return wrong(d, "a word that is too long", body);
    memcpy(value, body, length);
    value[length] = '\0';
    return true;
}

static bool pick_number(drawing *d, const char *body, char *value, size_t size) {
    char *end;
    const long low = strtol(body, &end, 10);
    if (end == body || *end != '-') return wrong(d, "neither a range nor a name that was drawn before", body);
    const char *second = end + 1;
    const long high = strtol(second, &end, 10);
    if (end == second || *end || high < low) return wrong(d, "not a range", body);
    (void)snprintf(value, size, "%ld", low + (long)cvr_rng_below(&d->rng, (uint64_t)(high - low) + 1));
    return true;
}

/* One {...}, without its braces. */
static bool expand(drawing *d, const char *body) {
    char value[32];
    const char *equals = strchr(body, '=');
    for (uint32_t i = 0; i < d->n && !equals; i++) {
        if (strcmp(d->names[i].name, body) == 0) return append(d, d->names[i].value, strlen(d->names[i].value));
    }
    const char *what = equals ? equals + 1 : body;
    const bool drawn =
        strchr(what, '|') ? pick_word(d, what, value, sizeof value) : pick_number(d, what, value, sizeof value);
    if (!drawn) return false;
    if (equals) {
        const size_t length = (size_t)(equals - body);
        if (d->n == MOST_NAMES || length == 0 || length >= sizeof d->names[0].name)
            return wrong(d, "too many names, or one that is too long", body);
        memcpy(d->names[d->n].name, body, length);
        memcpy(d->names[d->n++].value, value, sizeof value);
    }
    return append(d, value, strlen(value));
}

static bool expand_line(drawing *d, const char *text) {
    while (*text) {
        const size_t plain = strcspn(text, "{}");
        if (!append(d, text, plain)) return false;
        text += plain;
        if (!*text) break;
        const char *close = strchr(text, '}');
        char body[128];
        if (*text != '{' || !close || (size_t)(close - text) > sizeof body)
            return wrong(d, "braces do not match", text);
        const size_t n = (size_t)(close - text) - 1;
        memcpy(body, text + 1, n);
        body[n] = '\0';
        if (!expand(d, body)) return false;
        text = close + 1;
    }
    return true;
}

/* ---- inputs ---- */

static char *trimmed(char *s) {
    while (isspace((unsigned char)*s)) s++;
    for (size_t n = strlen(s); n && isspace((unsigned char)s[n - 1]); n--) s[n - 1] = '\0';
    return s;
}

static bool parse_shape(drawing *d, const char *s, uint32_t dtype, cvr_type *t) {
    int64_t shape[CVR_MAX_RANK] = {0};
    uint32_t rank = 0;
    for (char *end; *s; s = end) {
        if (rank == CVR_MAX_RANK) return wrong(d, "too many axes", s);
        shape[rank] = strtol(s, &end, 10);
        if (end == s || shape[rank] < 0 || (*end && *end != ',')) return wrong(d, "not a shape", s);
        rank++;
        if (*end == ',' && !*++end) return wrong(d, "not a shape", s);
    }
    cvr_type_set(t, dtype, rank, shape);
    return true;
}

static void fill(case_tensor *t, cvr_rng *rng, bool uniform) {
    const int64_t n = cvr_numel(t->type.rank, t->type.shape);
    for (int64_t i = 0; i < n; i++)
        ((float *)t->data)[i] = (float)(uniform ? cvr_rng_uniform(rng) : cvr_rng_normal(rng));
}

/* Whole numbers from `least` to below `end`. */
static void fill_whole(case_tensor *t, cvr_rng *rng, int64_t least, int64_t end) {
    const int64_t n = cvr_numel(t->type.rank, t->type.shape);
    const size_t size = cvr_dtype_size(t->type.dtype);
    for (int64_t i = 0; i < n; i++) {
        const int64_t whole = least + (int64_t)cvr_rng_below(rng, (uint64_t)(end - least));
        memcpy((char *)t->data + (size_t)i * size, &whole, size);
    }
}

/* i64<K>:, i32<K>:, i8<K>: or u8<K>: with K or LEAST:K; what stands after it, or NULL. */
static char *parse_whole(char *s, uint32_t *dtype, int64_t *least, int64_t *end) {
    char *at;
    *dtype = strncmp(s, "i64<", 4) == 0   ? CVR_I64
             : strncmp(s, "i32<", 4) == 0 ? CVR_I32
             : strncmp(s, "i8<", 3) == 0  ? CVR_I8
                                          : CVR_U8;
    *least = 0;
    *end = strtoll(strchr(s, '<') + 1, &at, 10);
    if (*at == ':') {
        *least = *end;
        *end = strtoll(at + 1, &at, 10);
    }
    const bool byte = *dtype == CVR_U8 && (strncmp(s, "u8<", 3) != 0 || *least < 0 || *end > 256),
               other = *dtype == CVR_I8 && (*least < -128 || *end > 128);
    return *least >= *end || byte || other || strncmp(at, ">:", 2) != 0 ? NULL : at + 2;
}

/* Boxes x1, y1, x2, y2 with corners in [0, side), every other one of whole numbers: some touch, are equal or empty. */
static void fill_boxes(case_tensor *t, cvr_rng *rng, double side) {
    float *box = t->data;
    for (int64_t i = cvr_numel(t->type.rank, t->type.shape) / 4; i > 0; i--, box += 4) {
        const bool whole = cvr_rng_below(rng, 2) == 0;
        for (int k = 0; k < 2; k++) {
            double a = side * cvr_rng_uniform(rng), b = side * cvr_rng_uniform(rng);
            if (whole) a = floor(a), b = floor(b);
            box[k] = (float)fmin(a, b);
            box[k + 2] = (float)fmax(a, b);
        }
    }
}

/* Boxes with sides from `least` on. */
static void fill_proper_boxes(case_tensor *t, cvr_rng *rng, double least, double side) {
    float *box = t->data;
    for (int64_t i = cvr_numel(t->type.rank, t->type.shape) / 4; i > 0; i--, box += 4)
        for (int k = 0; k < 2; k++) {
            const double length = least + (side - least) * cvr_rng_uniform(rng);
            box[k] = (float)((side - length) * cvr_rng_uniform(rng));
            box[k + 2] = (float)(box[k] + length);
        }
}

/* box<SIDE>: or box<LEAST:SIDE>:, with LEAST 0 where it is not there; what stands after it, or NULL. */
static char *parse_box(char *s, double *least, double *side) {
    char *at;
    *least = 0;
    *side = strtod(s + 4, &at);
    if (*at == ':') {
        *least = *side;
        *side = strtod(at + 1, &at);
    }
    return *side > *least && *side < 1e6 && strncmp(at, ">:", 2) == 0 ? at + 2 : NULL;
}

static bool draw_input(drawing *d, char *text, case_tensor *t) {
    char *s = trimmed(text);
    double shortest = 0, side = 0;
    int64_t least = 0, end = 0;
    uint32_t dtype = CVR_F32;
    bool uniform = false, constant = false, activation = false;
    cvr_type type;
    const size_t n = strlen(s);
    if (n && (s[n - 1] == '!' || s[n - 1] == '~')) {
        constant = true;
        activation = s[n - 1] == '~';
        s[n - 1] = '\0';
        s = trimmed(s);
    }
    t->constant = true;
    if (strcmp(s, "-") == 0) return true; /* absent: a tensor without a type */
    if (strncmp(s, "u01:", 4) == 0) {
        uniform = true;
        s += 4;
    } else if (strncmp(s, "box<", 4) == 0) {
        char *const after = parse_box(s, &shortest, &side);
        if (!after) return wrong(d, "not box<SIDE>:SHAPE or box<LEAST:SIDE>:SHAPE", s);
        s = after;
    } else if (strchr(s, '<')) {
        char *const after = parse_whole(s, &dtype, &least, &end);
        if (!after) return wrong(d, "not i64<K>:SHAPE, i32<K>:SHAPE, i8<K>:SHAPE or u8<K>:SHAPE", s);
        s = after;
    }
    if (!parse_shape(d, s, dtype, &type)) return false;
    if (!case_tensor_set(t, "in", &type, NULL)) return wrong(d, "out of memory", s);
    t->constant = constant || dtype != CVR_F32;
    t->activation = activation;
    if (shortest > 0)
        fill_proper_boxes(t, &d->rng, shortest, side);
    else if (side > 0)
        fill_boxes(t, &d->rng, side);
    else if (dtype != CVR_F32)
        fill_whole(t, &d->rng, least, end);
    else
        fill(t, &d->rng, uniform);
    return true;
}

bool draw_case(const case_line *line, uint64_t draw, layer_case *c, char *why, size_t why_size) {
    drawing d = {.why = why, .why_size = why_size};
    memset(c, 0, sizeof *c);
    cvr_rng_start(&d.rng, cvr_hash(line->text), draw);
    if (!expand_line(&d, line->text)) return false;
    (void)snprintf(c->label, sizeof c->label, "%s draw %llu", line->place, (unsigned long long)draw);
    char *bar = strrchr(d.text, '|'), *save = NULL;
    if (!bar) return wrong(&d, "no `|` before the inputs", d.text);
    *bar = '\0';
    char *head = trimmed(d.text);
    const size_t word = strcspn(head, " \t");
    if (!word || word >= sizeof c->layer || strlen(head) >= sizeof c->settings) return wrong(&d, "no layer", head);
    memcpy(c->layer, head, word);
    (void)snprintf(c->settings, sizeof c->settings, "%s", trimmed(head + word));
    for (char *s = strtok_r(bar + 1, ";", &save); s; s = strtok_r(NULL, ";", &save)) {
        if (c->n_inputs == CASE_MOST_IO) return wrong(&d, "too many inputs", s);
        if (!draw_input(&d, s, &c->inputs[c->n_inputs++])) return false;
    }
    c->training = c->backward = true;
    return c->n_inputs > 0 || wrong(&d, "no input", line->text);
}

void draw_rest(layer_case *c, const case_run *run, uint64_t seed) {
    cvr_store *store = case_store(run);
    cvr_rng rng;
    cvr_rng_start(&rng, 0x72657374, seed);
    for (size_t i = 0; i < cvr_store_count(store) && c->n_params < CASE_MOST_PARAMS; i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        case_tensor *p = &c->params[c->n_params];
        if (e->type.dtype != CVR_F32 || !case_tensor_set(p, strchr(e->name, '.') + 1, &e->type, NULL)) continue;
        c->n_params++;
        fill(p, &rng, e->role == CVR_STORE_BUFFER);
        /* buffers are running statistics: a variance stays well above 0 */
        const int64_t n = cvr_numel(e->type.rank, e->type.shape);
        for (int64_t k = 0; k < n; k++) {
            float *x = (float *)p->data + k;
            *x = e->role == CVR_STORE_BUFFER ? 0.5f + *x : 0.5f * *x;
        }
    }
    c->n_gradients = case_outputs(run);
    for (uint32_t i = 0; i < c->n_gradients; i++) {
        const cvr_type *t = case_output_type(run, i);
        if (t->dtype == CVR_F32 && case_tensor_set(&c->gradients[i], "gout", t, NULL))
            fill(&c->gradients[i], &rng, false);
    }
}

/* ---- files ---- */

static bool add_line(case_line **lines, size_t *n, const char *path, unsigned number, char *text) {
    const char *slash = strrchr(path, '/');
    text[strcspn(text, "#\n")] = '\0';
    const char *s = trimmed(text);
    if (!*s) return true;
    case_line *more = realloc(*lines, (*n + 1) * sizeof **lines);
    if (!more) return false;
    *lines = more;
    case_line *l = &more[(*n)++];
    (void)snprintf(l->place, sizeof l->place, "%.70s:%u", slash ? slash + 1 : path, number);
    (void)snprintf(l->text, sizeof l->text, "%s", s);
    return true;
}

int32_t case_lines_read(const char *path, case_line **lines, size_t *n, cvr_error *err) {
    char text[512];
    FILE *f = fopen(path, "re");
    int32_t status = CVR_OK;
    if (!f) return cvr_fail_at(err, path, 0, cvr_fail(err, CVR_ERR_USAGE, "%s", strerror(errno)));
    for (unsigned number = 1; fgets(text, sizeof text, f); number++) {
        if (!strchr(text, '\n') && !feof(f))
            CVR_TRY_OUT(cvr_fail_at(err, path, number,
                                    cvr_fail(err, CVR_ERR_USAGE, "a line of more than %zu bytes", sizeof text - 2)));
        if (!add_line(lines, n, path, number, text)) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    }
out:
    fclose(f);
    return status;
}

bool draw_complete(const case_machine *m, layer_case *c, uint64_t seed, cvr_error *err) {
    case_run *run;
    if (case_open(&run, m, c, err) != CVR_OK) return false;
    draw_rest(c, run, seed);
    case_close(&run);
    return true;
}
