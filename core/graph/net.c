/* [net]: a network written in the recipe, one line a layer: `name[, name...] = layer settings... [from=a,b]`. */
#include "ir.h"

/* A value that later lines may name. */
typedef struct net_name {
    char *name;
    cvr_value value;
} net_name;

typedef struct net_names {
    net_name *all;
    size_t n, capacity;
} net_names;

static int32_t add_name(net_names *names, const char *name, size_t n, cvr_error *err) {
    net_name *more = cvr_grow(names->all, names->n, &names->capacity, sizeof *more);
    char *copy = cvr_strndup(name, n);
    if (more) names->all = more;
    if (!more || !copy) {
        cvr_free(copy);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    more[names->n++] = (net_name){copy, CVR_NONE};
    return CVR_OK;
}

static int32_t unknown_source(const net_names *names, const char *name, cvr_error *err) {
    const char *known[256];
    size_t n = 0;
    for (; n < names->n && n < 256; n++) known[n] = names->all[n].name;
    const char *nearest = cvr_nearest(name, known, n);
    if (nearest)
        return cvr_fail(err, CVR_ERR_USAGE, "from=%s: no line above has this name; did you mean `%s`?", name, nearest);
    return cvr_fail(err, CVR_ERR_USAGE, "from=%s: no line above has this name", name);
}

static bool has_from(const char *word) {
    return strncmp(word, "from=", 5) == 0;
}

/* The inputs that `from=` names, or the first output of the line above, which begins at name `above`. */
static int32_t find_inputs(const net_names *names, size_t above, const char *text, cvr_value *in, uint32_t *n_in,
                           cvr_error *err) {
    char *from = cvr_line_key(text, "from"), *save = NULL;
    int32_t status = CVR_OK;
    size_t n_from = 0;
    for (const char *p = text; *p; p += strcspn(p, " \t")) n_from += has_from(p += strspn(p, " \t"));
    if (n_from > 1) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "from= is given twice; write from=a,b"));
    *n_in = 0;
    if (!from) in[(*n_in)++] = names->all[above].value;
    for (char *word = from ? strtok_r(from, ",", &save) : NULL; word; word = strtok_r(NULL, ",", &save)) {
        size_t i = names->n;
        while (i > 0 && strcmp(names->all[i - 1].name, word) != 0) i--;
        if (i == 0)
            CVR_TRY_OUT(unknown_source(names, word, err));
        else if (*n_in == CVR_MAX_IO)
            CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "from= names more than %u inputs", CVR_MAX_IO));
        else
            in[(*n_in)++] = names->all[i - 1].value;
    }
out:
    cvr_free(from);
    return status;
}

/* A word of a line; `num_classes`, alone or as a value, becomes the number. */
static void add_word(cvr_text *t, const char *p, size_t n, int64_t num_classes) {
    static const char word[] = "num_classes";
    const size_t length = sizeof word - 1;
    const bool ends =
        n >= length && memcmp(p + n - length, word, length) == 0 && (n == length || p[n - length - 1] == '=');
    cvr_text_add_bytes(t, p, ends ? n - length : n);
    if (ends) cvr_text_add(t, "%lld", (long long)num_classes);
    cvr_text_add(t, " ");
}

/* The words of a line without its layer's name and without from=. Free with cvr_free. */
static char *settings_of(const char *text, int64_t num_classes) {
    cvr_text t = {0};
    const char *p = text + strcspn(text, " \t");
    while (*(p += strspn(p, " \t"))) {
        const size_t n = strcspn(p, " \t");
        if (!has_from(p)) add_word(&t, p, n, num_classes);
        p += n;
    }
    cvr_text_add(&t, "%s", "");
    return t.s;
}

/* The names left of `=`, at the end of the list; their values come with the layer. */
static int32_t add_names(net_names *names, const char *key, cvr_error *err) {
    for (const char *t = key;; t++) {
        t += strspn(t, " \t");
        const size_t n = strcspn(t, ", \t");
        if (n == 0) return cvr_fail(err, CVR_ERR_USAGE, "`%s`: a name is missing; write `a, b = layer ...`", key);
        for (size_t i = 0; i < names->n; i++)
            if (strlen(names->all[i].name) == n && memcmp(names->all[i].name, t, n) == 0)
                return i == 0
                           ? cvr_fail(err, CVR_ERR_USAGE, "`image` is the network's input; choose another name")
                           : cvr_fail(err, CVR_ERR_USAGE, "`%.*s` names a value above; choose another name", (int)n, t);
        CVR_TRY(add_name(names, t, n, err));
        t += n + strspn(t + n, " \t");
        if (*t != ',') return *t ? cvr_fail(err, CVR_ERR_USAGE, "`%s`: put commas between names", key) : CVR_OK;
    }
}

/* Builds one line. `above`: where the names of the line above begin; it moves on to this line's. */
static int32_t net_layer(cvr_graph *g, const cvr_net *net, const cvr_setting *s, net_names *names, size_t *above,
                         cvr_error *err) {
    cvr_value in[CVR_MAX_IO], out[CVR_MAX_IO];
    uint32_t n_in;
    const size_t first = names->n;
    char *settings = NULL, *layer = cvr_strndup(s->value, strcspn(s->value, " \t"));
    int32_t status = CVR_OK;
    if (!layer || !*layer) {
        status = layer ? cvr_fail(err, CVR_ERR_USAGE, "write a layer, such as `%s = conv2d 64 kernel_size=3`", s->key)
                       : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        goto out;
    }
    CVR_TRY_OUT(find_inputs(names, *above, s->value, in, &n_in, err));
    CVR_TRY_OUT(add_names(names, s->key, err));
    settings = settings_of(s->value, net->num_classes);
    if (!settings) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (names->n - first > CVR_MAX_IO) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "more than %u names", CVR_MAX_IO));
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = layer,
                                 .name = names->all[first].name,
                                 .settings = settings,
                                 .inputs = in,
                                 .outputs = out,
                                 .n_inputs = n_in,
                                 .n_outputs = (uint32_t)(names->n - first)};
    CVR_TRY_OUT(g->builder.layer(&g->builder, &call, err));
    if (g->n_built != call.n_outputs)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "layer %s (%s): %u outputs for %u name%s; write `a, b = %s ...`",
                             call.name, layer, g->n_built, call.n_outputs, call.n_outputs == 1 ? "" : "s", layer));
    for (size_t i = first; i < names->n; i++) names->all[i].value = out[i - first];
    *above = first;
out:
    cvr_free(layer);
    cvr_free(settings);
    if (status == CVR_ERR_NOTFOUND || status == CVR_ERR_INVALID) status = cvr_fail_as(err, CVR_ERR_USAGE);
    return status != CVR_OK && s->file ? cvr_fail_at(err, s->file, s->line, status) : status;
}

int32_t cvr_graph_net(cvr_graph *g, const cvr_net *net, cvr_value image, cvr_value *out, cvr_error *err) {
    net_names names = {0};
    size_t above = 0;
    int32_t status;
    CVR_TRY_OUT(add_name(&names, "image", 5, err));
    names.all[0].value = image;
    for (size_t i = 0; i < net->n; i++) CVR_TRY_OUT(net_layer(g, net, net->lines[i], &names, &above, err));
    *out = names.all[above].value;
out:
    for (size_t i = 0; i < names.n; i++) cvr_free(names.all[i].name);
    cvr_free(names.all);
    return status;
}
