/* [net]: a network written in the recipe, one line a layer: `name = layer settings... [from=a,b]`. */
#include "ir.h"

typedef struct net_line {
    const char *name;
    cvr_value value;
} net_line;

static int32_t unknown_source(const net_line *lines, size_t n, const char *name, cvr_error *err) {
    const char *names[256];
    size_t n_names = 0;
    for (size_t i = 0; i < n && n_names < 256; i++) names[n_names++] = lines[i].name;
    const char *nearest = cvr_nearest(name, names, n_names);
    if (nearest)
        return cvr_fail(err, CVR_ERR_USAGE, "from=%s: no line above has this name; did you mean `%s`?", name, nearest);
    return cvr_fail(err, CVR_ERR_USAGE, "from=%s: no line above has this name", name);
}

/* The inputs that `from=` names, or the line above. */
static int32_t find_inputs(const net_line *lines, size_t n, const char *text, cvr_value *in, uint32_t *n_in,
                           cvr_error *err) {
    char *from = cvr_line_key(text, "from"), *save = NULL;
    int32_t status = CVR_OK;
    *n_in = 0;
    if (!from) in[(*n_in)++] = lines[n - 1].value;
    for (char *word = from ? strtok_r(from, ",", &save) : NULL; word && status == CVR_OK;
         word = strtok_r(NULL, ",", &save)) {
        size_t i = n;
        while (i > 0 && strcmp(lines[i - 1].name, word) != 0) i--;
        if (i == 0)
            status = unknown_source(lines, n, word, err);
        else if (*n_in == CVR_MAX_IO)
            status = cvr_fail(err, CVR_ERR_USAGE, "from= names more than %u inputs", CVR_MAX_IO);
        else
            in[(*n_in)++] = lines[i - 1].value;
    }
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
        if (strncmp(p, "from=", 5) != 0) add_word(&t, p, n, num_classes);
        p += n;
    }
    cvr_text_add(&t, "%s", "");
    return t.s;
}

static int32_t net_layer(cvr_graph *g, const cvr_net *net, net_line *lines, size_t n, cvr_error *err) {
    const cvr_setting *s = net->lines[n - 1];
    cvr_value in[CVR_MAX_IO];
    uint32_t n_in;
    int32_t status = find_inputs(lines, n, s->value, in, &n_in, err);
    char *layer = cvr_strndup(s->value, strcspn(s->value, " \t"));
    char *settings = settings_of(s->value, net->num_classes);
    if (status == CVR_OK && (!layer || !settings)) status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (status == CVR_OK && !*layer)
        status = cvr_fail(err, CVR_ERR_USAGE, "write a layer, such as `%s = conv2d 64 kernel_size=3`", s->key);
    if (status == CVR_OK && strcmp(s->key, "image") == 0)
        status = cvr_fail(err, CVR_ERR_USAGE, "`image` is the network's input; choose another name");
    if (status == CVR_OK) {
        const cvr_layer_call call = {sizeof call, layer, s->key, settings, in, &lines[n].value, n_in, 1};
        lines[n].name = s->key;
        status = g->builder.layer(&g->builder, &call, err);
    }
    cvr_free(layer);
    cvr_free(settings);
    if (status == CVR_ERR_NOTFOUND || status == CVR_ERR_INVALID) status = cvr_fail_as(err, CVR_ERR_USAGE);
    if (status != CVR_OK && s->file) cvr_fail_at(err, s->file, s->line, status);
    return status;
}

int32_t cvr_graph_net(cvr_graph *g, const cvr_net *net, cvr_value image, cvr_value *out, cvr_error *err) {
    net_line *lines = cvr_calloc(net->n + 1, sizeof *lines);
    if (!lines) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status = CVR_OK;
    lines[0] = (net_line){"image", image};
    for (size_t i = 1; i <= net->n && status == CVR_OK; i++) status = net_layer(g, net, lines, i, err);
    *out = lines[net->n].value;
    cvr_free(lines);
    return status;
}
