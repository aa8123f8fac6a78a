/* The layers of a .cfg file but for those of boxes: their settings, with Darknet's names and defaults. */
#include "darknet_plan.h"

#include <stdlib.h>

#define COUNT(list_) (sizeof(list_) / sizeof *(list_))

static const int64_t yes_no[2] = {0, 1}, widths[2] = {1, 65536}, sides[2] = {1, 1024}, steps[2] = {1, 64},
                     paddings[2] = {0, 1024};

/* Activations by Darknet's names, and the layers that they are here, with settings. */
static const char *const activations[][3] = {
    {"linear", "", ""},    {"leaky", "leaky_relu", "0.1"}, {"logistic", "sigmoid", ""},
    {"relu", "relu", ""},  {"relu6", "relu6", ""},         {"mish", "mish", ""},
    {"swish", "silu", ""}, {"tanh", "tanh", ""},           {"gelu", "gelu", "approximate=tanh"}};

static int32_t read_activation(const darknet_plan *p, const darknet_section *s, const char *otherwise, darknet_layer *l,
                               cvr_error *err) {
    const darknet_option *o = darknet_cfg_find(&p->cfg, s, "activation");
    const char *name = o ? o->value : otherwise;
    for (size_t i = 0; i < COUNT(activations); i++)
        if (strcmp(name, activations[i][0]) == 0) {
            l->activation = activations[i][1];
            l->settings = activations[i][2];
            return CVR_OK;
        }
    return darknet_cfg_fail(&p->cfg, o ? o->line : s->line, err,
                            "activation=%.40s: known are linear, leaky, logistic, relu, relu6, mish, swish, tanh and "
                            "gelu",
                            name);
}

static int32_t read_int(const darknet_plan *p, const darknet_section *s, const char *key, int64_t otherwise,
                        const int64_t bounds[2], int64_t *out, cvr_error *err) {
    return darknet_cfg_int(&p->cfg, s, key, otherwise, bounds, out, err);
}

/* What the layer before gives; the first one reads the picture. */
static double down_before(const darknet_plan *p) {
    return p->n_layers ? p->layers[p->n_layers - 1].down : 1;
}

/* ---- weights ---- */

/* pad=1 is half the window; padding=n says how much. */
static int32_t read_convolutional(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err) {
    int64_t pad;
    CVR_TRY(read_int(p, s, "filters", 1, widths, &l->filters, err));
    CVR_TRY(read_int(p, s, "size", 1, sides, &l->size, err));
    CVR_TRY(read_int(p, s, "stride", 1, steps, &l->stride, err));
    CVR_TRY(read_int(p, s, "pad", 0, yes_no, &pad, err));
    CVR_TRY(read_int(p, s, "padding", 0, paddings, &l->padding, err));
    CVR_TRY(read_int(p, s, "groups", 1, widths, &l->groups, err));
    CVR_TRY(read_int(p, s, "dilation", 1, steps, &l->dilation, err));
    CVR_TRY(read_int(p, s, "batch_normalize", 0, yes_no, &l->normalized, err));
    CVR_TRY(read_activation(p, s, "logistic", l, err));
    if (pad) l->padding = l->size / 2;
    l->down = down_before(p) * (double)l->stride;
    return CVR_OK;
}

static int32_t read_connected(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err) {
    static const int64_t outputs[2] = {1, 1 << 20};
    CVR_TRY(read_int(p, s, "output", 1, outputs, &l->filters, err));
    CVR_TRY(read_int(p, s, "batch_normalize", 0, yes_no, &l->normalized, err));
    return read_activation(p, s, "logistic", l, err);
}

/* ---- pooling and the like ---- */

static int32_t read_maxpool(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err) {
    CVR_TRY(read_int(p, s, "stride", 1, steps, &l->stride, err));
    CVR_TRY(read_int(p, s, "size", l->stride, sides, &l->size, err));
    CVR_TRY(read_int(p, s, "padding", l->size - 1, paddings, &l->padding, err));
    l->down = down_before(p) * (double)l->stride;
    return CVR_OK;
}

static int32_t read_upsample(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err) {
    double scale;
    static const double one[2] = {1, 1};
    CVR_TRY(read_int(p, s, "stride", 2, steps, &l->stride, err));
    CVR_TRY(darknet_cfg_float(&p->cfg, s, "scale", 1, one, &scale, err));
    l->down = down_before(p) / (double)l->stride;
    return CVR_OK;
}

static int32_t read_reorg(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err) {
    CVR_TRY(read_int(p, s, "stride", 1, steps, &l->stride, err));
    CVR_TRY(read_int(p, s, "reverse", 0, yes_no, &l->reverse, err));
    l->down = l->reverse ? down_before(p) / (double)l->stride : down_before(p) * (double)l->stride;
    return CVR_OK;
}

static int32_t read_dropout(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err) {
    static const double share[2] = {0, 0.999};
    l->down = down_before(p);
    return darknet_cfg_float(&p->cfg, s, "probability", 0.5, share, &l->probability, err);
}

/* What comes of it is for the task, which takes logits. */
static int32_t read_softmax(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err) {
    static const double one[2] = {1, 1};
    static const int64_t single[2] = {1, 1};
    double temperature;
    int64_t groups;
    (void)l;
    CVR_TRY(read_int(p, s, "groups", 1, single, &groups, err));
    return darknet_cfg_float(&p->cfg, s, "temperature", 1, one, &temperature, err);
}

/* ---- layers before this one ---- */

/* Numbers of layers; negative ones count back from this one. */
static int32_t read_from(const darknet_plan *p, const darknet_section *s, const char *key, uint32_t most,
                         darknet_layer *l, cvr_error *err) {
    static const int64_t bounds[2] = {-(int64_t)DARKNET_MOST_SECTIONS, DARKNET_MOST_SECTIONS};
    const darknet_option *o = darknet_cfg_find(&p->cfg, s, key);
    int64_t given[DARKNET_MOST_FROM];
    CVR_TRY(darknet_cfg_ints(&p->cfg, s, key, bounds, given, most, &l->n_from, err));
    if (!l->n_from)
        return darknet_cfg_fail(&p->cfg, o ? o->line : s->line, err, "[%.40s] must say with `%s` from which layer",
                                s->name, key);
    for (uint32_t i = 0; i < l->n_from; i++) {
        const int64_t at = given[i] < 0 ? (int64_t)p->n_layers + given[i] : given[i];
        if (at < 0 || at >= (int64_t)p->n_layers)
            return darknet_cfg_fail(&p->cfg, o->line, err,
                                    "%lld is layer %lld; this is layer %u, which can only take those before it",
                                    (long long)given[i], (long long)at, p->n_layers);
        l->from[i] = (int32_t)at;
    }
    l->down = p->layers[l->from[0]].down;
    return CVR_OK;
}

static int32_t read_route(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err) {
    int64_t last[2] = {0, 0};
    CVR_TRY(read_from(p, s, "layers", DARKNET_MOST_FROM, l, err));
    CVR_TRY(read_int(p, s, "groups", 1, widths, &l->groups, err));
    last[1] = l->groups - 1;
    return read_int(p, s, "group_id", 0, last, &l->group_id, err);
}

static int32_t read_shortcut(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err) {
    if (!p->n_layers) return darknet_cfg_fail(&p->cfg, s->line, err, "[shortcut] needs layers before it");
    CVR_TRY(read_from(p, s, "from", DARKNET_MOST_FROM, l, err));
    return read_activation(p, s, "linear", l, err);
}

/* ---- all of them ---- */

typedef struct layer_kind {
    const char *name, *other; /* as the section has it; "" */
    darknet_kind kind;
    int32_t (*read)(darknet_plan *p, const darknet_section *s, darknet_layer *l, cvr_error *err); /* NULL: no keys */
    const char *passed, *zero;                                                                    /* keys */
} layer_kind;

static const layer_kind kinds[] = {
    {"convolutional", "conv", DARKNET_CONVOLUTIONAL, read_convolutional, " stopbackward=0 dontload=0 train=1 ",
     " flipped binary xnor bin_output use_bin_output antialiasing assisted_excitation sway rotate stretch "
     "stretch_sway deform coordconv grad_centr reverse dontloadscales share_index "},
    {"connected", "conn", DARKNET_CONNECTED, read_connected, " stopbackward=0 ", " flipped dontload "},
    {"maxpool", "max", DARKNET_MAXPOOL, read_maxpool, " stopbackward=0 ", " maxpool_depth antialiasing "},
    {"avgpool", "avg", DARKNET_AVGPOOL, NULL, " stopbackward=0 ", " "},
    {"route", "", DARKNET_ROUTE, read_route, " stopbackward=0 ", " "},
    {"shortcut", "", DARKNET_SHORTCUT, read_shortcut, " stopbackward=0 ", " "},
    {"upsample", "", DARKNET_UPSAMPLE, read_upsample, " stopbackward=0 ", " "},
    {"reorg", "", DARKNET_REORG, read_reorg, " stopbackward=0 ", " flatten extra "},
    {"dropout", "", DARKNET_DROPOUT, read_dropout, " stopbackward=0 ",
     " dropblock dropblock_size_rel dropblock_size_abs "},
    {"softmax", "soft", DARKNET_SOFTMAX, read_softmax, " noloss ", " spatial "},
    {"cost", "", DARKNET_COST, NULL, " type scale ratio noobj thresh ", " "},
};

static const layer_kind *find_kind(const char *name) {
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (strcmp(name, kinds[i].name) == 0 || (*kinds[i].other && strcmp(name, kinds[i].other) == 0))
            return &kinds[i];
    return NULL;
}

int32_t darknet_layer_read(darknet_plan *p, const darknet_section *s, cvr_error *err) {
    const layer_kind *k = find_kind(s->name);
    darknet_layer *l = &p->layers[p->n_layers];
    if (!k)
        return darknet_cfg_fail(&p->cfg, s->line, err,
                                "[%.40s] is no layer that cvrun builds; there are convolutional, connected, maxpool, "
                                "avgpool, route, shortcut, upsample, reorg, dropout, softmax, cost, yolo and region",
                                s->name);
    *l = (darknet_layer){.kind = k->kind, .line = s->line, .groups = 1, .dilation = 1, .stride = 1, .activation = ""};
    if (k->read) CVR_TRY(k->read(p, s, l, err));
    if (l->down > 65536)
        return darknet_cfg_fail(&p->cfg, s->line, err,
                                "a pixel of this layer stands for %g of the picture; use fewer "
                                "strides",
                                l->down);
    return darknet_cfg_check_used(&p->cfg, s, k->passed, k->zero, err);
}
