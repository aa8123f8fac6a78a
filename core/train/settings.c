/* The recipe's common keys: names, defaults and meaning. `cvrun cfg` and `cvrun help` print from here. */
#include "settings.h"
#include <math.h>
#include <stdlib.h>

#define KEY(kind_, name_, default_, doc_)                                                                              \
    &(const cvr_attr_desc) {                                                                                           \
        .struct_size = sizeof(cvr_attr_desc), .name = name_, .kind = kind_, .count = 1, .default_text = default_,      \
        .doc = doc_                                                                                                    \
    }
#define KEY_MIN(kind_, name_, default_, min_, doc_)                                                                    \
    &(const cvr_attr_desc) {                                                                                           \
        .struct_size = sizeof(cvr_attr_desc), .name = name_, .kind = kind_, .count = 1, .flags = CVR_ATTR_MIN,         \
        .default_text = default_, .min = min_, .doc = doc_                                                             \
    }
#define KEY_CHOICE(name_, default_, choices_, doc_)                                                                    \
    &(const cvr_attr_desc) {                                                                                           \
        .struct_size = sizeof(cvr_attr_desc), .name = name_, .kind = CVR_ATTR_CHOICE, .count = 1,                      \
        .default_text = default_, .choices = choices_, .doc = doc_                                                     \
    }
#define SCHEMA(name_) const cvr_schema name_##_schema = {name_##_keys, sizeof name_##_keys / sizeof *name_##_keys}

static const cvr_attr_desc *const run_keys[] = {
    KEY(CVR_ATTR_STRING, "task", "classify", "what the network is for"),
    KEY(CVR_ATTR_PATH, "project", "runs", "folder that run folders go to"),
    KEY(CVR_ATTR_STRING, "name", "", "name of the run folder; default: the recipe's"),
    KEY_MIN(CVR_ATTR_INT, "seed", "0", 0, "decides everything that is random"),
    KEY(CVR_ATTR_STRING, "save_every", "1 epoch",
        "how often the checkpoint is written: `50 steps`, `5 min`, `1 epoch`"),
    KEY_MIN(CVR_ATTR_INT, "patience", "0", 0, "stop after this many epochs without a better metric; 0: never"),
    KEY_MIN(CVR_ATTR_FLOAT, "max_hours", "0", 0, "stop after this time; 0: never"),
};
SCHEMA(run);

static const cvr_attr_desc *const backend_keys[] = {
    KEY(CVR_ATTR_STRING, "name", "auto", "backend that computes; auto: the host's own"),
    KEY_MIN(CVR_ATTR_INT, "device", "0", 0, "number of the device"),
    KEY_CHOICE("fallback", "warn", "error|warn|allow", "what to do about nodes that the backend cannot run"),
    KEY_MIN(CVR_ATTR_INT, "threads", "0", 0, "threads that compute; 0: as many as there are cores"),
    KEY(CVR_ATTR_STRING, "isa", "auto", "CPU features that kernels may use: auto, base, or a list such as `avx2 fma`"),
    KEY(CVR_ATTR_STRING, "passes", "auto", "graph passes that run: auto (all but those that have to be named), none, or a list: auto, NAME(key=value)"),
    KEY_CHOICE("precision", "f32", PRECISION_NAMES,
               "f32; bf16: activations and products in bf16, weights and sums in f32; bf16x3: f32 "
               "with products by three of bf16, where the machine is faster at that; auto: bf16 where the machine is "
               "faster at it"),
    KEY(CVR_ATTR_BOOL, "pin", "no",
        "tie each of the threads to a CPU of its own; for a machine that has nothing else to do"),
};
SCHEMA(backend);

static const cvr_attr_desc *const model_keys[] = {
    KEY(CVR_ATTR_STRING, "name", "", "model plugin; or write the network in [net]"),
    KEY(CVR_ATTR_PATH, "weights", "", "file of weights to start from"),
    KEY_CHOICE("head", "auto", "auto|keep|new",
               "the last layers: loaded with the weights; auto: made new for training where their shape is another"),
    KEY(CVR_ATTR_BOOL, "strict", "yes", "no: weights may lack parameters of the network, and have others"),
    KEY(CVR_ATTR_STRING, "freeze", "",
        "what is not trained: stages such as backbone or backbone.layer4, names such as layer1 or *.bias; a,b,c"),
    KEY(CVR_ATTR_BOOL, "freeze_bn", "yes", "batch norms of what is frozen keep their running statistics and use them"),
    KEY_MIN(CVR_ATTR_INT, "num_classes", "0", 0, "0: as many as the data has"),
    KEY_MIN(CVR_ATTR_INT, "in_channels", "0", 0, "0: as many as the pictures have"),
};
SCHEMA(model);

static const cvr_attr_desc *const data_keys[] = {
    KEY(CVR_ATTR_STRING, "format", NULL, "kind of data: folder, idx, cifar, fake"),
    KEY(CVR_ATTR_PATH, "root", "", "where the data is"),
    KEY(CVR_ATTR_PATH, "train", "", "training part, where it is not in root"),
    KEY(CVR_ATTR_PATH, "val", "", "validation part, where it is not in root"),
    KEY(CVR_ATTR_STRING, "names", "", "names of the classes, a,b,c; default: what the data says"),
    KEY_MIN(CVR_ATTR_INT, "img_size", "0", 0, "pixels of a side; 0: as the pictures are"),
    KEY(CVR_ATTR_STRING, "mean", "0", "subtracted from pixels in 0..1, a channel each; or imagenet"),
    KEY(CVR_ATTR_STRING, "std", "1", "what they are then divided by; or imagenet"),
    KEY(CVR_ATTR_BOOL, "shuffle", "yes", "another order in every epoch"),
    KEY(CVR_ATTR_BOOL, "drop_last", "no", "leave out the last batch where it is smaller"),
    KEY_MIN(CVR_ATTR_INT, "limit", "0", 0, "use only this many pictures; 0: all"),
    KEY_MIN(CVR_ATTR_INT, "workers", "2", 0, "threads that make batches; 0: none but the main one"),
    KEY_CHOICE("on_error", "fail", "fail|skip", "what to do about a bad file"),
    KEY_CHOICE("decode", "exact", "exact|reduced",
               "reduced: JPEGs that are scaled down by 2 or more are decoded at 1/2, 1/4 or 1/8; other pixels"),
};
SCHEMA(data);

static const cvr_attr_desc *const train_keys[] = {
    KEY_MIN(CVR_ATTR_INT, "epochs", "10", 0, "how often all training pictures are seen"),
    KEY_MIN(CVR_ATTR_INT, "batch", "32", 1, "pictures of an optimizer step"),
    KEY(CVR_ATTR_STRING, "memory", "",
        "what the planned memory may come to, 2G or 800M: activations are then computed twice as needed"),
    KEY(CVR_ATTR_BOOL, "ema", "no", "keep running means of the weights, which validation and the saved weights take"),
    KEY_MIN(CVR_ATTR_FLOAT, "ema_decay", "0.99998", 0,
            "share of the mean that an update keeps, before it is scaled by "
            "batch * ema_steps / epochs as torchvision's references do"),
    KEY_MIN(CVR_ATTR_INT, "ema_steps", "32", 1, "steps from one update of the means to the next"),
};
SCHEMA(train);

static const cvr_attr_desc *const log_keys[] = {
    KEY(CVR_ATTR_PATH, "trace", "", "file for a trace of every node of every step, for chrome://tracing or Perfetto"),
};
SCHEMA(log);

static const cvr_attr_desc *const optim_keys[] = {
    KEY(CVR_ATTR_STRING, "name", "sgd", "optimizer plugin"),
    KEY(CVR_ATTR_STRING, "lr", "", "learning rate; default: PyTorch's for this optimizer"),
    KEY(CVR_ATTR_STRING, "weight_decay", "", "default: PyTorch's for this optimizer"),
    KEY(CVR_ATTR_STRING, "norm_weight_decay", "", "for normalisation layers; default: weight_decay"),
    KEY(CVR_ATTR_STRING, "bias_weight_decay", "", "for biases; default: weight_decay"),
    KEY_MIN(CVR_ATTR_FLOAT, "backbone_lr_mult", "1", 0, "what lr is multiplied with for the model's stages backbone.*"),
    KEY_MIN(CVR_ATTR_FLOAT, "head_lr_mult", "1", 0, "the same for its stage head"),
    KEY(CVR_ATTR_STRING, "param_lr_mult", "", "the same for stages and names: layer4.*:0.5, *.bias:2"),
    KEY(CVR_ATTR_STRING, "param_weight_decay", "", "weight decay for stages and names: *.pos_embedding:0"),
};
SCHEMA(optim);

static const cvr_attr_desc *const sched_keys[] = {
    KEY(CVR_ATTR_STRING, "name", "constant", "scheduler plugin"),
    KEY_MIN(CVR_ATTR_FLOAT, "warmup_epochs", "0", 0, "epochs in which lr rises from 0, linearly"),
    KEY_MIN(CVR_ATTR_FLOAT, "lr_min", "0", 0, "where a schedule that falls ends"),
};
SCHEMA(sched);

static const cvr_attr_desc *const val_keys[] = {
    KEY_MIN(CVR_ATTR_INT, "interval", "1", 0, "epochs between validations; 0: never"),
    KEY(CVR_ATTR_STRING, "metric", "", "what the best weights are chosen by; default: the task's"),
    KEY_MIN(CVR_ATTR_INT, "resize_size", "-1", -1, "shorter side before the crop; -1: img_size; 0: as they are"),
    KEY_MIN(CVR_ATTR_INT, "crop_size", "-1", -1, "centre crop; -1: img_size; 0: none"),
    KEY_CHOICE("interpolation", "bilinear", "nearest|bilinear", "of the resize"),
};
SCHEMA(val);

static const cvr_attr_desc *const predict_keys[] = {
    KEY(CVR_ATTR_PATH, "source", "", "pictures, or folders of them"),
    KEY(CVR_ATTR_PATH, "out", "", "where predictions go; default: runs/predict/NAME"),
    KEY(CVR_ATTR_BOOL, "raw", "no", "also write the network's raw outputs"),
};
SCHEMA(predict);

int32_t parse_save_every(const char *text, save_interval *out, cvr_error *err) {
    char *unit;
    const double n = strtod(text, &unit);
    unit += strspn(unit, " ");
    memset(out, 0, sizeof *out);
    if (unit != text && n >= 1 && n < 1e9) {
        if (strcmp(unit, "step") == 0 || strcmp(unit, "steps") == 0)
            out->steps = (int64_t)n;
        else if (strcmp(unit, "epoch") == 0 || strcmp(unit, "epochs") == 0)
            out->epochs = (int64_t)n;
        else if (strcmp(unit, "min") == 0)
            out->seconds = n * 60;
        if (out->steps || out->epochs || out->seconds > 0) return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_USAGE, "run.save_every = %s: write `50 steps`, `5 min` or `1 epoch`", text);
}

int32_t parse_channels(const char *key, const char *text, const double imagenet[3], double out[4], cvr_error *err) {
    const cvr_attr_desc list = {.struct_size = sizeof list, .name = key, .kind = CVR_ATTR_FLOATS, .count = 4};
    const cvr_attr_desc *const one[] = {&list};
    const cvr_schema schema = {one, 1};
    struct {
        int64_t n;
        double v[4];
    } *packed = NULL;
    if (strcmp(text, "imagenet") == 0) {
        for (int i = 0; i < 4; i++) out[i] = imagenet[i % 3];
        return CVR_OK;
    }
    const cvr_setting s = {.key = key, .value = text};
    const int32_t status = cvr_attrs_pack(&schema, &s, 1, "[data]", (void **)&packed, err);
    if (status != CVR_OK) return status;
    const int64_t n = packed->n;
    for (int i = 0; i < 4 && n > 0; i++) out[i] = packed->v[i < n ? i : n - 1];
    cvr_free(packed);
    return n > 0 ? CVR_OK
                 : cvr_fail(err, CVR_ERR_USAGE, "data.%s is empty; write one number, or one for each channel", key);
}

int32_t parse_optional(const char *key, const char *text, double otherwise, double *out, cvr_error *err) {
    char *end;
    *out = otherwise;
    if (!*text) return CVR_OK;
    *out = strtod(text, &end);
    if (*end == '\0' && isfinite(*out) && *out >= 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "%s = %s: not a number from 0 up", key, text);
}

int32_t parse_bytes(const char *key, const char *text, uint64_t *out, cvr_error *err) {
    static const char units[] = "KMGT";
    char *end;
    *out = 0;
    if (!*text) return CVR_OK;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    for (const char *u = units; unit && u <= unit; u++) value *= 1000;
    if (end > text && end[unit != NULL] == '\0' && value >= 1 && value < 0x1p62) {
        *out = (uint64_t)value;
        return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_USAGE, "%s = %s: not an amount of memory; write 2G, 1.5G or 800M", key, text);
}
