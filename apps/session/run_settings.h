/*
 * What a recipe says, bound to structs: the keys that every recipe has (settings.c), the plugins that it names with
 * their own keys, and numbers that are written as text (bind.c). Nothing here changes after a session was opened, but
 * for what `0` stood for.
 */
#ifndef CVR_RUN_SETTINGS_H
#define CVR_RUN_SETTINGS_H

#include "protocol.h"
#include <cvr/program.h>

typedef struct run_settings {
    const char *task, *project, *name;
    int64_t seed, deterministic;
    const char *save_every;
    int64_t patience;
    double max_hours;
    const char *plugins;
} run_settings;

typedef struct backend_settings {
    const char *name, *device;
    int64_t fallback, threads;
    const char *isa;
    const char *passes;
    int64_t precision;
    int64_t check, pin;
} backend_settings;

typedef struct probe_settings {
    int64_t enabled;
} probe_settings;

typedef struct model_settings {
    const char *name, *weights, *weights_path;
    int64_t head, strict;
    const char *freeze, *unfreeze;
    int64_t freeze_bn, num_classes, in_channels;
} model_settings;

typedef struct data_settings {
    const char *format, *root, *train, *val, *names;
    int64_t n_img_size, img_size, img_size_long; /* the second number, where there are two, is the longer side's */
    int64_t fit;                                 /* FIT_* */
    int64_t shapes, aspect_groups, max_boxes;
    const char *mean, *std;
    int64_t shuffle, drop_last, limit, workers, on_error, decode, max_pixels, cache;
    const char *cache_size;
} data_settings;

enum { FIT_AUTO, FIT_STRETCH, FIT_LETTERBOX, FIT_LETTERBOX_CENTER, FIT_LETTERBOX_ALIGNED };
enum { ON_NAN_FAIL, ON_NAN_SKIP };

typedef struct train_settings {
    int64_t epochs, batch, grad_accum;
    int64_t on_nan;
    const char *memory;
    int64_t ema;
    double ema_decay;
    int64_t ema_steps, sampler, repeat;
    const char *class_weights;
    int64_t close_mosaic;
    double ema_ramp;
    int64_t n_multi_scale, multi_scale[3], multi_scale_every; /* least, most, step */
    int64_t max_batches;
    double loss_scale;
    int64_t loss_scale_growth;
} train_settings;

/* Whether an epoch (from 0) is one of the last train.close_mosaic. */
static inline bool is_closing(const train_settings *t, int64_t epoch) {
    return epoch >= t->epochs - t->close_mosaic && t->close_mosaic > 0;
}

typedef struct optim_settings {
    const char *name, *lr, *weight_decay, *norm_weight_decay, *bias_weight_decay;
    double backbone_lr_mult, head_lr_mult, layer_decay;
    const char *param_lr_mult, *param_weight_decay;
} optim_settings;

enum { WARMUP_LINEAR, WARMUP_QUADRATIC, WARMUP_QUARTIC };

typedef struct sched_settings {
    const char *name;
    double warmup_epochs, lr_min;
    int64_t warmup, warmup_steps, flat_epochs;
} sched_settings;

typedef struct val_settings {
    int64_t interval;
    const char *metric;
    int64_t resize_size, crop_size, interpolation;
    int64_t protocol; /* PROTOCOL_* */
    int64_t stride, flip, n_scales;
    double scales[MOST_SCALES];
    int64_t save;
} val_settings;

enum { PREPROCESS_NONE, PREPROCESS_EMBED };
typedef struct export_settings {
    const char *format, *out;
    int64_t batch; /* 0: free */
    int64_t n_size, size[2];
    int64_t preprocess, fold, decode;
} export_settings;

/* As quant_schema packs it; keys of the method join them. */
typedef struct quant_settings {
    const char *method;
    int64_t pictures, batch;
} quant_settings;

enum { DISTILL_AUTO, DISTILL_F32, DISTILL_BF16, DISTILL_INT8 };
/* As distill_schema packs it; keys of the method join them. */
typedef struct distill_settings {
    const char *teacher, *method, *layers, *model, *mean, *std;
    int64_t img_size, precision;
    const char *sha256; /* settled when training starts */
} distill_settings;
/* As prune_schema packs it; keys of the method join them. */
typedef struct prune_settings {
    const char *method;
    int64_t pictures, batch, epochs, steps;
    double lr_factor;
    int64_t remove;
    const char *held;
} prune_settings;

/* As compressed_schema packs it. */
typedef struct compressed_settings {
    const char *by, *plan, *origin;
} compressed_settings;

extern const cvr_schema quant_schema, prune_schema, compressed_schema, distill_schema;
extern const cvr_schema run_schema, backend_schema, model_schema, data_schema, train_schema, optim_schema, sched_schema,
    val_schema, probe_schema, export_schema;

#define PRECISION_NAMES "f32|bf16|bf16x3|f16|tf32|auto"
enum { PRECISION_F32, PRECISION_BF16, PRECISION_BF16X3, PRECISION_F16, PRECISION_TF32, PRECISION_AUTO };
/* Of model.head. */
#define WEIGHTS_HEAD_AUTO 0u /* the stage `head` is made new where its shape is another than the file's */
#define WEIGHTS_HEAD_KEEP 1u
#define WEIGHTS_HEAD_NEW 2u
const char *precision_name(int64_t precision);
#define INTERPOLATION_NAMES "nearest|bilinear|bicubic"

/* "50 steps", "5 min", "1 epoch". */
typedef struct save_interval {
    int64_t steps, epochs;
    double seconds;
} save_interval;
int32_t parse_save_every(const char *text, save_interval *out, cvr_error *err);
/* "0.5", "0.1,0.2,0.3" or "imagenet"; one number stands for all channels. */
int32_t parse_channels(const char *key, const char *text, const double imagenet[3], int64_t channels, double out[4],
                       cvr_error *err);
/* "2G", "1.5G", "800M", "512K", bytes; "" gives 0. */
int32_t parse_bytes(const char *key, const char *text, uint64_t *out, cvr_error *err);
/* "" gives `otherwise`. */
int32_t parse_optional(const char *key, const char *text, double otherwise, double *out, cvr_error *err);

/* phases.c: model.unfreeze; or the stages of training that follows compression, which have no patterns. */
#define MOST_PHASES 8
typedef struct phases {
    int64_t epochs[MOST_PHASES]; /* from 1, rising: when phase i + 1 begins */
    char *patterns[MOST_PHASES];
    uint32_t stages[MOST_PHASES + 1]; /* of cvr_finetune, by phase */
    size_t n;
} phases;
int32_t phases_parse(phases *p, const char *text, cvr_error *err);
void phases_clear(phases *p);
/* The phase of an epoch (from 0). */
size_t phases_at(const phases *p, int64_t epoch);
/* What is trained from a phase on, in words. */
const char *phases_what(const phases *p, size_t phase);
/* Phases for the stages of `epochs` epochs. */
int32_t phases_of_stages(phases *p, const cvr_compressor_desc *method, const void *attrs, int64_t epochs,
                         cvr_error *err);

/* Keys that a backend has of its own, packed. */
typedef struct backend_own {
    const char *name;
    const void *attrs;
} backend_own;

typedef struct settings {
    char *preset_classes;      /* file of the names that the published weights have, or NULL */
    char *recipe, *run_folder; /* NULL: there is none; not opened from one */
    bool of_run;              /* the recipe is a run's config.ini, which has the keys of each plugin that the run had */
    char proposed_by[96];     /* the origin of what the model proposes */
    int64_t proposed_classes; /* how many classes the model's own file has; 0: it says nothing */
    bool trains;              /* or is asked what training would do */
    int64_t run_precision;    /* what the run folder says; PRECISION_AUTO: nothing */
    cvr_config *config;
    run_settings *run;         /* `plugins` is settled when training starts */
    backend_settings *backend; /* `auto` precision is settled once the device is known */
    backend_own *backends;
    size_t n_backends, backends_capacity;
    model_settings *model; /* num_classes and in_channels are settled once the data is known */
    data_settings *data;   /* img_size is settled likewise */
    train_settings *train; /* `batch`, where it is auto */
    const optim_settings *optim;
    const sched_settings *sched;
    val_settings *val; /* as are resize_size and crop_size */
    const probe_settings *probe;
    const export_settings *export;
    const cvr_exporter_desc *exporter; /* NULL: export.format is none, or is not here */
    const void *exporter_attrs;
    const quant_settings *quant;
    const prune_settings *prune;
    const compressed_settings *compressed;
    const cvr_compressor_desc *method, *prune_method; /* NULL: it is not here */
    const void *method_attrs, *prune_attrs;
    distill_settings *distill;
    const cvr_distiller_desc *distiller; /* distill.method; NULL: it is not here */
    const void *distiller_attrs;
    const cvr_task_desc *task;
    const void *task_attrs, *predict_attrs; /* of the task: keys of [train]; of [predict] */
    const cvr_want **wants;                 /* of the task, as far as this model reads them */
    size_t n_wants;
    const cvr_model_desc *model_desc; /* NULL: the lines of [net] */
    const void *model_attrs;
    const cvr_setting **net; /* copies of the pointers */
    size_t n_net;
    const cvr_dataset_desc *dataset;
    const void *dataset_attrs;
    cvr_update_policy policy;
    cvr_gradient_plugin *gradient_plugins;
    size_t n_gradient_plugins;
    const cvr_scheduler_desc *scheduler;
    const void *sched_attrs;
    double lr, mean[4], std[4];
    save_interval save_every;
    phases phases;
    protocol protocol;
    uint64_t memory, cache_size; /* train.memory and data.cache_size in bytes; 0: no bound; what is free */
} settings;

#define MOST_CLASSES 65536 /* of a network, of data, of a list of names */

/* Reads a recipe, a run folder's config.ini or (path NULL) nothing, and then the command line; binds [backend]. */
int32_t settings_load(settings *s, const char *path, const char *const *overrides, size_t n, cvr_error *err);
/* Finds model and task, fills in what weights, model and (where it `looks` at it) data propose (proposals.h), and binds
 * the keys that every recipe has. Who packs data needs no network. */
int32_t settings_read(settings *s, cvr_plugins *plugins, bool needs_network, bool looks, cvr_error *err);
/* bind.c: the network, a model plugin or the lines of [net]; the task, and which of its fields this network wants. */
int32_t settings_choose_network(settings *s, cvr_plugins *plugins, bool needed, cvr_error *err);
int32_t settings_choose_task(settings *s, cvr_plugins *plugins, cvr_error *err);
/* The file of weights that the recipe, or for a run folder the command line, says to start from; NULL: none, or a
 * training run goes on from its checkpoint. Lives as long as the settings. */
const char *settings_start_weights(const settings *s, bool trains);
/* resume.c: whether a run has a checkpoint to go on from. One that was killed before its first starts over, and from
 * the weights that it began with. */
bool run_has_checkpoint(const char *folder);
/* Finds the other plugins that it names, and binds their keys. Only who `trains` needs optimizer and scheduler, only
 * who `reads` data needs data.format; who trains without reading wants only the settings. */
int32_t settings_choose(settings *s, cvr_plugins *plugins, bool trains, bool reads, cvr_error *err);
/* What a run has recorded of a data set, optimizer or scheduler in whose place the command line names another is left
 * aside. */
void settings_leave_replaced(settings *s);
void settings_close(settings *s);
/* backend_keys.c: binds the keys of its own that the named backend has, and those of others that are given. */
int32_t backend_keys_bind(settings *s, cvr_plugins *p, cvr_error *err);
int32_t backend_keys_of(settings *s, const cvr_backend_desc *b, const void **attrs, cvr_error *err);
/* Whether the task learns boxes: then data.img_size may be a pair, and its pictures are cvr_pipeline_boxes'. */
bool settings_with_boxes(const settings *s);
/* The error about a setting that nothing will read, and why. */
int32_t settings_unread(const settings *s, const char *section, const char *key, const char *why, cvr_error *err);
/* What a plugin calls not found or invalid is, with the recipe's name, the user's to mend. */
int32_t settings_blame(const settings *s, int32_t status, cvr_error *err);

#endif
