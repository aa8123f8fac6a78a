/*
 * Any width may be changed from outside: for every model that there is, and every conv2d, conv_transpose2d and linear
 * layer of it, a graph with half of that layer's outputs is built ([layers]); no kernel runs.
 *
 * It must build, but for three kinds of layers, which one line has to name, or the layer that then does not fit:
 *   - a depthwise convolution, whose outputs are a multiple of its groups;
 *   - the last layer of a branch that is added to another value: the sum is in the same block, which has the same first
 *     parts of its name (layer1.0, features.3, encoder.layers.encoder_layer_0).
 *   - one that a detector's anchors, or heads that look at several maps, count on: the line names the layer itself.
 * The first of these is told by the layer's settings, the second by there being a sum in its block.
 *
 * The body of a detector is a classifier's, and halved there.
 */
#include <criterion/criterion.h>
#include <cvr/program.h>
#include <stdlib.h>

#define MOST_LAYERS 1200u

static cvr_error err = CVR_ERROR_INIT;

typedef struct wide_layer {
    char name[96];
    int64_t width;
    bool linear, depthwise;
} wide_layer;

typedef struct seen {
    wide_layer all[MOST_LAYERS];
    size_t n;
    char sums[MOST_LAYERS][96]; /* names of the layers that add */
    size_t n_sums;
    cvr_builder recording;
    const cvr_builder *real;
} seen;

static seen *current;

/* The graph's own builder, and a note of what it built. */
static int32_t record(const cvr_builder *b, const cvr_layer_call *call, cvr_error *e) {
    (void)b;
    const cvr_builder *real = current->real;
    CVR_TRY(real->layer(real, call, e));
    const bool linear = strcmp(call->layer, "linear") == 0;
    if (strcmp(call->layer, "add") == 0 || strcmp(call->layer, "mul") == 0)
        (void)snprintf(current->sums[current->n_sums++], sizeof *current->sums, "%s", call->name);
    if (!linear && strncmp(call->layer, "conv", 4) != 0) return CVR_OK;
    if (strcmp(call->layer, "concat") == 0) return CVR_OK;
    for (size_t i = 0; i < current->n; i++) /* a head looks at several maps */
        if (strcmp(current->all[i].name, call->name) == 0) return CVR_OK;
    cr_assert_lt(current->n, MOST_LAYERS);
    wide_layer *l = &current->all[current->n++];
    const cvr_type *y = real->type(real, call->outputs[0]);
    (void)snprintf(l->name, sizeof l->name, "%s", call->name);
    l->linear = linear;
    l->width = y->shape[linear ? y->rank - 1 : 1];
    l->depthwise = strstr(call->settings, "groups=") && !strstr(call->settings, "groups=1 ");
    return CVR_OK;
}

/* Builds the model with one line of [layers], or none. */
static int32_t build(cvr_plugins *plugins, const cvr_model_desc *model, const cvr_setting *line) {
    const int64_t side = strstr(model->name, "inception") ? 299
                         : strstr(model->name, "ssd300")  ? 300
                         : strstr(model->name, "pspnet")  ? 65
                                                          : 64,
                  shape[4] = {2, 3, side, side};
    const cvr_schema schema = {model->attrs, model->n_attrs};
    cvr_store *store;
    cvr_graph *g;
    cvr_value image;
    cvr_type type;
    void *attrs;
    cvr_error_init(&err);
    cr_assert_eq(cvr_attrs_parse(&schema, "", NULL, model->name, &attrs, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_store_create(&store, 1, &err), CVR_OK);
    cr_assert_eq(cvr_graph_create(&g, plugins, store, true, &err), CVR_OK);
    cr_assert_eq(cvr_graph_override_layers(g, &line, line ? 1 : 0, &err), CVR_OK);
    cvr_type_set(&type, CVR_F32, 4, shape);
    cr_assert_eq(cvr_graph_input(g, "image", &type, &image, &err), CVR_OK);
    const cvr_model_args args = {sizeof args, attrs, 10, 3};
    current->real = cvr_graph_builder(g);
    current->recording = *current->real;
    current->recording.layer = record;
    current->n = current->n_sums = 0;
    int32_t status;
    CVR_TRY_OUT(model->build(&current->recording, &args, cvr_graph_io(g), &err));
    CVR_TRY_OUT(cvr_graph_overrides_used(g, &err));
out:
    cvr_graph_destroy(&g);
    cvr_store_destroy(&store);
    cvr_free(attrs);
    return status;
}

/* Bytes that two names have in common, up to the last dot; `head` is in the block of `head.add`. */
static size_t common(const char *a, const char *b) {
    size_t n = 0, last = 0;
    for (; a[n] && a[n] == b[n]; n++)
        if (a[n] == '.') last = n + 1;
    return !a[n] && b[n] == '.' ? n + 1 : last;
}

static bool ends_in_sum(const seen *s, const wide_layer *l) {
    for (size_t i = 0; i < s->n_sums; i++)
        if (common(l->name, s->sums[i]) == strlen(s->sums[i]) - strlen(strrchr(s->sums[i], '.') + 1)) return true;
    return false;
}

/* "layer NAME (conv2d): ...": nobody else is at fault. */
static bool names_itself(const wide_layer *l) {
    const size_t n = strlen(l->name);
    return strncmp(err.message, "layer ", 6) == 0 && strncmp(err.message + 6, l->name, n) == 0 &&
           err.message[6 + n] == ' ';
}

/* Returns how many could not be built. */
static size_t halve_each(cvr_plugins *plugins, const cvr_model_desc *model) {
    seen *whole = calloc(1, sizeof *whole), *half = calloc(1, sizeof *half);
    size_t refused = 0, counted_on = 0;
    current = whole;
    cr_assert_eq(build(plugins, model, NULL), CVR_OK, "%s: %s", model->name, err.message);
    current = half;
    for (size_t i = 0; i < whole->n; i++) {
        const wide_layer *l = &whole->all[i];
        char value[64];
        if (strncmp(l->name, "backbone.body.", 14) == 0) continue;
        const cvr_setting line = {.key = l->name, .value = value, .file = "r.ini", .line = 7};
        (void)snprintf(value, sizeof value, "%s=%lld", l->linear ? "out_features" : "out_channels",
                       (long long)(l->width / 2));
        if (build(plugins, model, &line) == CVR_OK) {
            bool found = false;
            for (size_t k = 0; k < half->n; k++)
                found = found || (strcmp(half->all[k].name, l->name) == 0 && half->all[k].width == l->width / 2);
            cr_expect(found, "%s: %s has not half of its width", model->name, l->name);
            continue;
        }
        refused++;
        counted_on += names_itself(l);
        cr_expect(l->depthwise || ends_in_sum(whole, l) || names_itself(l), "%s: %s cannot be halved: %s", model->name,
                  l->name, err.message);
        const size_t block = common(l->name, err.message + 6);
        cr_expect(strncmp(err.message, "layer ", 6) == 0 && !strchr(err.message, '\n') && block > 0,
                  "%s: halving %s, the error names no layer of its block: %s", model->name, l->name, err.message);
    }
    cr_log_info("%s: %zu layers, %zu refused", model->name, whole->n, refused);
    size_t most = whole->n_sums + counted_on;
    for (size_t i = 0; i < whole->n; i++) most += whole->all[i].depthwise;
    cr_expect_leq(refused, most, "%s: %zu of %zu layers cannot be halved", model->name, refused, whole->n);
    free(whole);
    free(half);
    return refused;
}

Test(widths, every_layer_of_every_model_halved) {
    cvr_plugins *plugins;
    const char *name;
    size_t n = 0;
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    for (; (name = cvr_plugins_name(plugins, CVR_KIND_MODEL, n)); n++) {
        const void *model;
        cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_MODEL, name, &model, &err), CVR_OK, "%s", err.message);
        if (((const cvr_model_desc *)model)->file) continue; /* its layers are those of a file */
        (void)halve_each(plugins, model);
    }
    cr_assert_geq(n, 60);
    cvr_plugins_close(&plugins);
}

/* What a line of [layers] may not be. */
Test(widths, wrong_lines) {
    static const struct {
        const char *key, *value, *says;
    } wrong[] = {{"layer1.0.conv9", "out_channels=8", "did you mean `layer1.0.conv"},
                 {"layer1.0.conv1", "out_channel=8", "did you mean `out_channels`"},
                 {"layer1.0.conv1", "8", "is not key=value"},
                 {"layer1.0.conv1", "out_channels=0", "layer layer1.0.conv1 (conv2d)"}};
    cvr_plugins *plugins;
    const void *model;
    seen *s = calloc(1, sizeof *s);
    current = s;
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_MODEL, "resnet18", &model, &err), CVR_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const cvr_setting line = {.key = wrong[i].key, .value = wrong[i].value, .file = "r.ini", .line = 7};
        cr_expect_neq(build(plugins, model, &line), CVR_OK);
        cr_expect(strstr(err.message, wrong[i].says), "%s", err.message);
        cr_expect(strcmp(err.file, "r.ini") == 0 && err.line == 7, "%s:%u", err.file, err.line);
    }
    free(s);
    cvr_plugins_close(&plugins);
}
