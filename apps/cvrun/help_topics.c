/* What `cvrun help` tells of: every kind of plugin that people choose by name, and the sections of recipes. */
#include "help.h"

/* ---- kinds ---- */

#define READS(kind_)                                                                                                   \
    static void read_##kind_(const void *desc, help_entry *e) {                                                        \
        const cvr_##kind_##_desc *d = desc;                                                                            \
        *e = (help_entry){.name = d->name, .doc = d->doc ? d->doc : ""};                                               \
        read_##kind_##_rest(d, e);                                                                                     \
    }

#define TAKE_SCHEMA(d_, e_) ((e_)->schema = (cvr_schema){(d_)->attrs, (d_)->n_attrs})
#define NOTE(e_, ...) ((void)snprintf((e_)->note, sizeof(e_)->note, __VA_ARGS__))

static void read_layer_rest(const cvr_layer_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    e->inputs = d->min_inputs;
    e->outputs = d->n_outputs;
    if (d->max_inputs == 1 || (d->min_inputs == d->max_inputs && d->min_inputs < 2)) return;
    if (d->min_inputs == d->max_inputs)
        NOTE(e, "Takes %u inputs.", d->min_inputs);
    else
        NOTE(e, "Takes %u to %u inputs.", d->min_inputs, d->max_inputs);
}
READS(layer)

static void read_augment_rest(const cvr_augment_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    if (d->n_samples > 1) NOTE(e, "Makes one picture of %u.", d->n_samples);
}
READS(augment)

static void read_optimizer_rest(const cvr_optimizer_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    if (d->default_lr < 0)
        NOTE(e, "lr must be given, weight_decay is %g where it is not.", d->default_weight_decay);
    else
        NOTE(e, "lr is %g and weight_decay %g where they are not given.", d->default_lr, d->default_weight_decay);
}
READS(optimizer)

static void read_scheduler_rest(const cvr_scheduler_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
}
READS(scheduler)

static void read_dataset_rest(const cvr_dataset_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
}
READS(dataset)

static void read_model_rest(const cvr_model_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    if (d->stride)
        NOTE(e, "Sides of pictures must be multiples of a number that its settings decide; others are padded.");
}
READS(model)

static void read_task_rest(const cvr_task_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    NOTE(e, "The best weights are those of the %s %s, unless val.metric says otherwise.",
         d->lower_is_better ? "lowest" : "highest", d->best_metric);
}
READS(task)

/* What a task reads when it predicts. */
static void read_predictions(const void *desc, help_entry *e) {
    const cvr_task_desc *d = desc;
    *e = (help_entry){
        .name = d->name, .doc = "what is told of a picture", .schema = {d->predict_attrs, d->n_predict_attrs}};
}

static void read_backend_rest(const cvr_backend_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    if (d->flags & CVR_BACKEND_TEST) NOTE(e, "For tests; never chosen by itself.");
}
READS(backend)

static void read_pass_rest(const cvr_pass_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    if (d->flags & CVR_PASS_OPT_IN) NOTE(e, "Runs only where it is named.");
}
READS(pass)

static void read_gradient_rest(const cvr_gradient_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
}
READS(gradient)

static void read_codec_rest(const cvr_codec_desc *d, help_entry *e) {
    NOTE(e, "Files end in %s. %s", d->extensions, d->encode ? "Reads and writes." : "Reads only.");
}
READS(codec)

static void read_weights_rest(const cvr_weights_desc *d, help_entry *e) {
    NOTE(e, "Files end in %s. %s", d->extension, d->write ? "Reads and writes." : "Reads only.");
}
READS(weights)

static void read_exporter_rest(const cvr_exporter_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    NOTE(e, "Files end in %s.", d->extension);
}
READS(exporter)

static void read_compressor_rest(const cvr_compressor_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    e->section = d->section;
}
READS(compressor)

static void read_distiller_rest(const cvr_distiller_desc *d, help_entry *e) {
    TAKE_SCHEMA(d, e);
    e->beside =
        d->layers ? "teacher = runs/classify/large\nlayers = layer2,layer3\n" : "teacher = runs/classify/large\n";
    if (d->layers) NOTE(e, "%s", "Compares what layers give: distill.layers says which.");
}
READS(distiller)

static void read_reporter_rest(const cvr_reporter_desc *d, help_entry *e) {
    (void)d;
    (void)e;
}
READS(reporter)

const help_kind help_kinds[] = {
    {"layers", "layer", " ", CVR_KIND_LAYER, "net",
     "Lines of [net]: NAME = LAYER SETTINGS. A line's input is the line above, or from=NAME,NAME; `image` is the "
     "picture.",
     read_layer},
    {"augment", "transform", " transforms augmentations augmentation ", CVR_KIND_AUGMENT, "augment",
     "Lines of [augment], done in their order: TRANSFORM = SETTINGS.", read_augment},
    {"optim", "optimizer", " optimizers optimiser optimisers ", CVR_KIND_OPTIMIZER, "optim",
     "Chosen by optim.name; its settings are keys of [optim].", read_optimizer},
    {"sched", "scheduler", " schedulers schedule schedules ", CVR_KIND_SCHEDULER, "sched",
     "Chosen by sched.name; its settings are keys of [sched].", read_scheduler},
    {"data", "data set", " datasets dataset sets ", CVR_KIND_DATASET, "data",
     "Chosen by data.format; its settings are keys of [data].", read_dataset},
    {"models", "model", " networks network ", CVR_KIND_MODEL, "model",
     "Chosen by model.name; its settings are keys of [model].", read_model},
    {"tasks", "task", " ", CVR_KIND_TASK, "train", "Chosen by run.task; its settings are keys of [train].", read_task},
    {"predictions", "predictions of task", " ", CVR_KIND_TASK, "predict",
     "Keys of [predict] that the task named by run.task has.", read_predictions},
    {"backends", "backend", " devices gpu gpus swap swap-to --swap-to move ", CVR_KIND_BACKEND, "backend",
     "Chosen by backend.name; its settings are keys of [backend]. `cvrun plugins -v` lists their devices, and "
     "backend=NAME/DEVICE takes one. A run moves to another by `cvrun train RECIPE.ini --swap-to NAME/DEVICE@STEP`, or "
     "while it goes on by `cvrun ctl RUN_DIR backend=NAME/DEVICE`; without /DEVICE to its first.",
     read_backend},
    {"passes", "pass", " ", CVR_KIND_PASS, "backend",
     "Rewrite the graph: all run, but for those that must be named; backend.passes chooses: auto, NAME(key=value).",
     read_pass},
    {"gradients", "gradient plugin", " gradient clipping ", CVR_KIND_GRADIENT, "train",
     "Work on gradients before the updates. All run; their settings are keys of [train].", read_gradient},
    {"codecs", "codec", " formats ", CVR_KIND_CODEC, "", "Formats of pictures, told by a file's first bytes.",
     read_codec},
    {"weights", "file of weights", " checkpoints ", CVR_KIND_WEIGHTS, "", "Formats of model.weights.", read_weights},
    {"exporters", "exporter", " export formats ", CVR_KIND_EXPORTER, "export",
     "Chosen by export.format; its settings are keys of [export].", read_exporter},
    {"compressors", "compressor", " compression quantisation pruning ", CVR_KIND_COMPRESSOR, "quant",
     "Chosen by quant.method and prune.method; their settings are keys of [quant] and [prune].", read_compressor},
    {"distillers", "distiller", " distillation ", CVR_KIND_DISTILLER, "distill",
     "Chosen by distill.method; its settings are keys of [distill].", read_distiller},
    {"reports", "report", " reporters reporter ", CVR_KIND_REPORTER, "", "Written into the run folder. All run.",
     read_reporter},
};
const size_t n_help_kinds = sizeof help_kinds / sizeof *help_kinds;

/* Only some tasks have keys of [predict]: the i-th of them. */
static const char *name_of(cvr_plugins *p, const help_kind *kind, size_t i) {
    cvr_error err = CVR_ERROR_INIT;
    const void *desc;
    const char *name;
    if (kind->read != read_predictions) return cvr_plugins_name(p, kind->kind, i);
    for (size_t k = 0; (name = cvr_plugins_name(p, kind->kind, k)); k++) {
        const bool has = cvr_plugins_find(p, kind->kind, name, &desc, &err) == CVR_OK &&
                         ((const cvr_task_desc *)desc)->n_predict_attrs > 0;
        if (has && i-- == 0) return cvr_plugins_name(p, kind->kind, k);
    }
    return NULL;
}

bool help_entry_get(cvr_plugins *p, const help_kind *kind, size_t i, help_entry *e) {
    cvr_error err = CVR_ERROR_INIT;
    const void *desc;
    const char *name = name_of(p, kind, i);
    if (!name) return false;
    if (cvr_plugins_find(p, kind->kind, name, &desc, &err) == CVR_OK) {
        kind->read(desc, e);
    } else {
        *e = (help_entry){.name = name_of(p, kind, i), .doc = "cannot be used here"};
        NOTE(e, "%.190s", err.message);
    }
    if (!e->section) e->section = kind->section;
    return e->name != NULL;
}

/* ---- examples ---- */

/* Values that show what a setting is for, where its default does not. "": the line can do without it. */
static const struct {
    const char *owner, *key, *value;
} examples[] = {
    {"run", "name", "first"},
    {"run", "patience", "5"},
    {"run", "max_hours", "8"},
    {"backend", "threads", "8"},
    {"backend", "passes", "auto"},
    {"model", "name", "resnet18"},
    {"model", "weights", "resnet18.pth"},
    {"model", "freeze", "backbone"},
    {"data", "format", "folder"},
    {"data", "root", "pictures"},
    {"data", "train", "pictures/train"},
    {"data", "val", "pictures/val"},
    {"data", "names", "cat,dog"},
    {"data", "img_size", "224"},
    {"data", "mean", "imagenet"},
    {"data", "std", "imagenet"},
    {"train", "memory", "2G"},
    {"train", "multi_scale", "320,608,32"},
    {"train", "loss", "cross_entropy + 0.5 * dice"},
    {"optim", "lr", "0.1"},
    {"optim", "weight_decay", "1e-4"},
    {"optim", "norm_weight_decay", "0"},
    {"optim", "bias_weight_decay", "0"},
    {"optim", "param_lr_mult", "*.bias:2"},
    {"optim", "param_weight_decay", "*.bias:0"},
    {"sched", "warmup_epochs", "5"},
    {"val", "metric", "top1"},
    {"predict", "source", "pictures"},
    {"predict", "out", "predictions"},
    {"export", "out", "net.onnx"},
    {"export", "size", "224"},
    {"log", "trace", "trace.json"},
    {"", "out_channels", "64"},
    {"", "out_features", "10"},
    {"", "kernel_size", "3"},
    {"", "size", "32"},
    {"", "output_size", "1"},
    {"", "num_groups", "2"},
    {"", "atrous_rates", "6,12,18"},
    {"", "num_heads", "2"},
    {"", "chunks", "2"},
    {"", "dims", "0,1,3,2"},
    {"", "shape", "-1,16"},
    {"", "normalized_shape", "16"},
    {"", "degrees", "10"},
    {"", "min_size", "260"},
    {"", "max_size", "1041"},
    {"", "mean", "0.485,0.456,0.406"},
    {"", "std", "0.229,0.224,0.225"},
    {"", "clip_grad_norm", "1"},
};

static bool fits(const cvr_attr_desc *a, const char *value) {
    const cvr_schema schema = {&a, 1};
    const cvr_setting s = {.key = a->name, .value = value};
    void *packed = NULL;
    const bool good = cvr_attrs_pack(&schema, &s, 1, "", &packed, NULL) == CVR_OK;
    cvr_free(packed);
    return good;
}

void help_example_value(const char *owner, const cvr_attr_desc *a, cvr_text *out) {
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const bool mine = !*examples[i].owner || strcmp(examples[i].owner, owner) == 0;
        if (!mine || strcmp(examples[i].key, a->name) != 0 || !fits(a, examples[i].value)) continue;
        if (a->default_text && !*examples[i].owner && *a->default_text) break;
        cvr_text_add(out, "%s", examples[i].value);
        return;
    }
    double v = 1;
    if (a->flags & CVR_ATTR_MIN) v = v < a->min ? a->min : v;
    if (a->flags & CVR_ATTR_MAX) v = v > a->max ? a->max : v;
    if (a->default_text && *a->default_text)
        cvr_text_add(out, "%s", a->default_text);
    else if (a->kind == CVR_ATTR_CHOICE)
        cvr_text_add(out, "%.*s", (int)strcspn(a->choices, "|"), a->choices);
    else if (a->kind == CVR_ATTR_BOOL)
        cvr_text_add(out, "yes");
    else if (a->kind == CVR_ATTR_STRING || a->kind == CVR_ATTR_PATH)
        cvr_text_add(out, "%s", a->default_text ? "" : "text");
    else
        cvr_text_add(out, "%.15g", v);
    cvr_text_add(out, "%s", "");
}

/* `key=value` for what must be given, and for the first setting that shows how they are written. */
static void add_settings(const help_entry *e, const char *equals, const char *between, cvr_text *out) {
    bool any = false;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < e->schema.n && !(pass && any); i++) {
            const cvr_attr_desc *a = e->schema.attrs[i];
            if ((pass == 0) != (a->default_text == NULL)) continue;
            cvr_text value = {0};
            help_example_value(e->section, a, &value);
            if (value.n) {
                cvr_text_add(out, "%s", any ? between : "");
                cvr_text_add(out, "%s%s%s", a->name, equals, value.s);
                any = true;
            }
            cvr_text_clear(&value);
        }
    }
}

void help_example(const help_kind *kind, const help_entry *e, cvr_text *out) {
    static const struct {
        const char *kind, *section, *key;
    } chosen[] = {{CVR_KIND_OPTIMIZER, "optim", "name"},    {CVR_KIND_SCHEDULER, "sched", "name"},
                  {CVR_KIND_DATASET, "data", "format"},     {CVR_KIND_MODEL, "model", "name"},
                  {CVR_KIND_TASK, "run", "task"},           {CVR_KIND_BACKEND, "backend", "name"},
                  {CVR_KIND_EXPORTER, "export", "format"},  {CVR_KIND_COMPRESSOR, NULL, "method"},
                  {CVR_KIND_DISTILLER, "distill", "method"}};
    cvr_text settings = {0};
    if (kind->read == read_layer) {
        add_settings(e, "=", " ", &settings);
        cvr_text_add(out, "[net]\nx%s = %s%s%s%s%s\n", e->outputs > 1 ? ", y" : "", e->name, settings.n ? " " : "",
                     settings.n ? settings.s : "", e->outputs > 1 ? " dim=1" : "",
                     e->inputs > 2    ? " from=a,b,c"
                     : e->inputs == 2 ? " from=a,b"
                                      : "");
    } else if (kind->read == read_augment) {
        add_settings(e, "=", " ", &settings);
        cvr_text_add(out, "[augment]\n%s = %s\n", e->name, settings.n ? settings.s : "");
    } else if (kind->read == read_pass) {
        add_settings(e, "=", " ", &settings);
        cvr_text_add(out, "[backend]\npasses = auto, %s%s%s%s\n", e->name, settings.n ? "(" : "",
                     settings.n ? settings.s : "", settings.n ? ")" : "");
    } else {
        const char *section = "";
        for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++) {
            if (strcmp(chosen[i].kind, kind->kind) != 0) continue;
            section = chosen[i].section ? chosen[i].section : e->section;
            cvr_text_add(out, "[%s]\n%s%s = %s\n", section, e->beside ? e->beside : "", chosen[i].key, e->name);
        }
        add_settings(e, " = ", "\n", &settings);
        if (settings.n && strcmp(section, e->section) != 0)
            cvr_text_add(out, "%s[%s]\n", out->n ? "\n" : "", e->section);
        if (settings.n) cvr_text_add(out, "%s\n", settings.s);
    }
    cvr_text_clear(&settings);
}
