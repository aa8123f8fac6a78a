/*
 * A session: a recipe brought to life. It holds the plugins, the data, the network on a device, and can train, evaluate
 * and predict.
 */
#ifndef CVR_SESSION_H
#define CVR_SESSION_H

#include <cvr/batches.h>
#include <cvr/program.h>
#include <cvr/writer.h>
#include <signal.h>

#pragma GCC visibility push(default)

typedef struct cvr_session cvr_session;

/* What the session is for decides what it opens. */
#define CVR_FOR_TRAINING 1u   /* training data, optimizer, training graph; validation data where the recipe validates */
#define CVR_FOR_EVALUATION 2u /* validation data and graph */
#define CVR_FOR_PREDICTION 4u /* no data; classes come from the recipe or the run folder */
#define CVR_FOR_DATA 16u      /* the data that training needs, and no network: for looking at every sample */
/* As CVR_FOR_EVALUATION; and training data, made as validation makes its own, for cvr_session_compress. */
#define CVR_FOR_COMPRESSION 64u
/* With CVR_FOR_COMPRESSION: for cvr_session_prune. */
#define CVR_FOR_PRUNING 256u
/* With CVR_FOR_TRAINING: where nobody says which data, no error, but CVR_FOR_PREDICTION, planned for one picture. */
#define CVR_DATA_IF_GIVEN 32u
/* With CVR_FOR_TRAINING: of a run folder whose network is compressed, and trained for that (cvr_finetune). */
#define CVR_TO_FINETUNE 128u
/* With CVR_FOR_TRAINING: the recipe is the config.ini of a run, of which a new one is made. */
#define CVR_FROM_RUN 512u
#define CVR_FOR_SETTINGS 8u /* only settings: nothing but plugins is opened */
/* What is wrong with a recipe without data.format, for who reads its data after CVR_FOR_SETTINGS. */
#define CVR_NEEDS_FORMAT "[data] needs `format` (what the data is: `cvrun help data`)"

/* A section of recipes that is the application's own: where predictions go, what is logged. */
typedef struct cvr_app_section {
    const char *section;
    const cvr_schema *schema;
    const void **packed; /* filled; lives as long as the session */
} cvr_app_section;

/* A section that recipes may have, for who explains them. */
typedef struct cvr_recipe_section {
    const char *name, *doc;
    cvr_schema schema; /* the keys that it has always: those of the plugins that the recipe names join them */
    bool lines;        /* it has none: a line a layer or transform */
} cvr_recipe_section;
/* Section i, in the order in which recipes are printed; NULL past the end. Applications' own are not among them. */
const cvr_recipe_section *cvr_session_section(size_t i);
/* Tells every line of every list of transforms that `[augment] preset = NAME` may name: the section is the list. */
int32_t cvr_session_presets(cvr_ini_fn each, void *ctx, cvr_error *err);

typedef struct cvr_session_options {
    const char *path; /* a recipe, or a run folder */
    const char *const *overrides;
    size_t n_overrides;
    uint32_t purpose; /* CVR_FOR_* */
    const cvr_app_section *sections;
    size_t n_sections;
} cvr_session_options;

int32_t cvr_session_open(cvr_session **out, const cvr_session_options *o, cvr_error *err);
void cvr_session_close(cvr_session **s);
cvr_config *cvr_session_config(cvr_session *s);
cvr_plugins *cvr_session_plugins(cvr_session *s);
const cvr_threadpool *cvr_session_pool(const cvr_session *s);
const cvr_task_desc *cvr_session_task(const cvr_session *s);
/* The key of [model] whose value is the file that the network is built from (cvr_model_desc.file); NULL: there is no
 * such file. */
const char *cvr_session_network_key(const cvr_session *s);
/* The open backend, until the session changes it. */
cvr_device *cvr_session_device(cvr_session *s);

/* What was planned; valid until the session changes its backend. For prediction: once a picture has been seen. */
typedef struct cvr_session_info {
    const char *task, *model, *backend, *precision;
    char device[160];
    int64_t params; /* trainable numbers */
    int64_t n_classes;
    const char *const *class_names;
    int64_t batch, channels, height, width; /* of the largest pictures */
    int64_t epochs, steps_per_epoch, train_samples, val_samples;
    uint64_t planned_bytes; /* parameters, state and arena */
    uint64_t store_bytes, arena_bytes;
    uint32_t threads, workers;                       /* that compute; that make batches */
    double data_seconds;                             /* spent opening and reading data before the first step */
    const cvr_program *train_program, *eval_program; /* whole batches; NULL where there is none */
    cvr_store *store;
    const char *protocol; /* how pictures are looked at, where metrics depend on it; NULL */
    bool saves_results;   /* val.save */
} cvr_session_info;
void cvr_session_describe(cvr_session *s, cvr_session_info *info);

/* Where a network computes, as people write it: "NAME", or "NAME/DEVICE" with what backend.device takes. */
typedef struct cvr_place {
    char backend[64];
    char device[192]; /* "": not said */
} cvr_place;
/* CVR_ERR_USAGE: a part is empty, too long, or no text of one line. */
int32_t cvr_place_parse(cvr_place *out, const char *text, cvr_error *err);

/* Whether it could be moved there, to the place that a text names, as far as that can be told without memory. */
int32_t cvr_session_try_backend(cvr_session *s, const char *backend, cvr_error *err);
/* Moves everything to another backend, or another of its devices; on failure the session stays as it was. */
int32_t cvr_session_swap(cvr_session *s, const char *backend, cvr_error *err);

/* ---- for tools that measure ---- */

/* Kernels may use the CPU features that backend.isa names; after somebody else has limited them. */
void cvr_session_limit_isa(cvr_session *s);

/* A program of the session's, by the id that a profiler is told; NULL where it is gone. */
const cvr_program *cvr_session_program(const cvr_session *s, uint64_t id);
/* Records every program anew, on the same device and memory: recordings learn of a profiler when they are made. */
int32_t cvr_session_record(cvr_session *s, cvr_error *err);
/* What the batches of a split (CVR_SPLIT_*) are made by, for others beside the session's own, which must be gone before
 * it is. False where the session has no such data. */
bool cvr_session_batch_options(cvr_session *s, uint32_t split, cvr_batches_options *o);
/* Makes one sample of a split as training does, from its whole file: the error says what is wrong with it. Where
 * batches are open it is also held against them: size, channels, fields. */
int32_t cvr_session_try_sample(cvr_session *s, uint32_t split, int64_t index, cvr_error *err);
/* One optimizer step on a whole batch, at the recipe's learning rate; or its evaluation. `loss`: 0 without targets. */
int32_t cvr_session_step(cvr_session *s, bool training, const cvr_batch *b, int64_t step, double *loss, cvr_error *err);

/* ---- training ---- */

typedef struct cvr_swap {
    const char *backend; /* a place, as cvr_place_parse takes it */
    int64_t step;        /* before the step after this many */
} cvr_swap;

typedef void (*cvr_progress_fn)(void *ctx, int64_t done, int64_t total);

typedef struct cvr_train_options {
    const char *folder; /* of the run, with a folder `weights` in it; nobody else's meanwhile */
    bool resume;        /* go on from its checkpoint, where it has one */
    const cvr_swap *swaps;
    size_t n_swaps;
    const volatile sig_atomic_t *stop; /* not 0: save and return CVR_ERR_INTERRUPTED */
    /* Who is told: an application's own may be among them. In this order; the first that fails ends the run. */
    const cvr_reporter_desc *const *reporters;
    size_t n_reporters;
    cvr_progress_fn on_validate; /* may be NULL */
    void *ctx;                   /* of on_validate */
} cvr_train_options;

typedef struct cvr_train_result {
    int64_t epochs, steps;
    double seconds, images_per_second, best_value;
    int64_t best_epoch; /* 0: none */
    char best_metric[64];
    const char *finished_by; /* nothing was done: the setting by which the run had ended before; NULL: it went on */
} cvr_train_result;

int32_t cvr_train(cvr_session *s, const cvr_train_options *o, cvr_train_result *result, cvr_error *err);

/* ---- evaluation and prediction ---- */

typedef struct cvr_metrics {
    size_t n;
    const char **names; /* "loss" first, where there are targets */
    double *values;
    /* By class: column k of class i is per_class[i * n_columns + k], NaN where it does not exist. */
    size_t n_columns;
    const char **columns;
    double *per_class;
    int64_t n_classes;
    int64_t samples, skipped;
    double seconds;
} cvr_metrics;
void cvr_metrics_clear(cvr_metrics *m);

typedef struct cvr_evaluate_options {
    cvr_progress_fn progress; /* may be NULL */
    void *ctx;
    const char *save; /* folder for what the task saves of each picture (val.save); NULL: nothing is saved */
    int64_t tile;     /* as cvr_predict_options; there is no loss then */
    double overlap;
} cvr_evaluate_options;
/* On the validation split. `out` is to be cleared. */
int32_t cvr_evaluate(cvr_session *s, const cvr_evaluate_options *o, cvr_metrics *out, cvr_error *err);

typedef struct cvr_predict_options {
    const cvr_prediction_sink *sink;
    /* Called before the sink gets a file's prediction. */
    void (*begin)(void *ctx, const char *path, int64_t width, int64_t height);
    /* Each of the network's results for this file, elements in logical order; may be NULL. */
    void (*raw)(void *ctx, const char *name, const cvr_type *type, const void *elements);
    void *ctx;
    bool pictures;  /* the sink gets the picture, so that the task writes files that show it */
    int64_t tile;   /* larger pictures are looked at in squares of this side, in their own pixels; 0: as they are */
    double overlap; /* share of a tile that the next one has as well */
} cvr_predict_options;
int32_t cvr_predict_file(cvr_session *s, const char *path, const cvr_predict_options *o, cvr_error *err);

/* Whether this session's task can have its pictures looked at in tiles; CVR_ERR_USAGE says why not. */
int32_t cvr_session_check_tiles(const cvr_session *s, int64_t tile, double overlap, cvr_error *err);

/* ---- export ---- */

/* Writes the network, or its weights alone, as [export] says, for a session that was opened for prediction; `path` gets
 * where. */
int32_t cvr_session_export(cvr_session *s, char *path, size_t size, cvr_error *err);

/* ---- compression ---- */

typedef struct cvr_compress_options {
    const char *folder; /* a run folder, with a folder `weights` in it, that gets weights and plan */
    /* What the compressor has to say for the table at the end. */
    void (*note)(void *ctx, const char *what, const char *text);
    void *ctx;
} cvr_compress_options;
typedef struct cvr_compress_result {
    int64_t pictures, of; /* that it looked at; that the data has */
    char by[64];          /* the compressor's name */
    const char *held;     /* by cvr_session_prune: prune.held of the new run; lives as long as the session */
    double lr;            /* likewise: the learning rate that the run had */
    /* Whether training is to follow: in the folder, with CVR_FOR_TRAINING | CVR_TO_FINETUNE, and with these settings in
     * the place of the run's, lines `section.key = value`. */
    bool trains;
    char settings[2048];
} cvr_compress_result;
#define CVR_PLAN_FILE "plan.txt"
/* By quant.method, for a session that was opened for compression, which is of no other use afterwards. */
int32_t cvr_session_compress(cvr_session *s, const cvr_compress_options *o, cvr_compress_result *result,
                             cvr_error *err);

#define CVR_PRUNED_WEIGHTS "weights/pruned.safetensors"
/*
 * By prune.method, for a session that was opened for compression and pruning. The session is then that of the pruned
 * network: its config has the widths, and its weights are in the folder, as CVR_PRUNED_WEIGHTS and as
 * weights/best.safetensors. Of no other use afterwards.
 */
int32_t cvr_session_prune(cvr_session *s, const cvr_compress_options *o, cvr_compress_result *result, cvr_error *err);

/* What the network costs for so many pictures at a time. */
typedef struct cvr_session_cost {
    double seconds; /* of a run, the median */
    double macs;    /* of a picture */
    uint64_t planned_bytes;
    int64_t int8_nodes, nodes; /* that take or give u8; all */
} cvr_session_cost;
/* For a session that was opened for evaluation; pictures are black. */
int32_t cvr_session_cost_of(cvr_session *s, int64_t pictures, cvr_session_cost *out, cvr_error *err);

/* ---- weights ---- */

/* Loads every parameter and buffer; missing, unexpected and misshapen tensors are an error that lists them. */
int32_t cvr_session_load_weights(cvr_session *s, const char *path, cvr_error *err);
int32_t cvr_session_save_weights(cvr_session *s, const char *path, cvr_error *err);

/* Every tensor of a file, each given to `each`. A format whose files have no names reads them for the network of
 * `store`, of which `network` is "" or the scope of another (cvr_graph_enter). Without a store such a format says that
 * it needs one. */
typedef struct cvr_weights_reading {
    const cvr_weights_desc *format;
    const cvr_host *host;
    const cvr_mapping *map;
    const cvr_store *store;
    const char *network;
} cvr_weights_reading;
int32_t cvr_weights_read(const cvr_weights_reading *r, cvr_weight_fn each, void *ctx, cvr_error *err);
/* The parameters of a network that a file describes (cvr_model_desc.file), with as many classes as it says, for
 * pictures of `in_channels`. Destroy the store whatever came of it. */
int32_t cvr_network_file_store(cvr_plugins *plugins, const char *path, int64_t in_channels, cvr_store **out,
                               cvr_error *err);

/* What a plugin that reads weights hands out: CVR_OK, or which field of it makes no sense. */
int32_t cvr_weight_check(const cvr_weight *w, cvr_error *err);

/* A class's name as a line of classes.txt. */
void cvr_text_add_class(cvr_text *t, const char *name);

/* Peak resident memory of the process, bytes; 0 where the system does not tell. */
uint64_t cvr_peak_memory(void);

#pragma GCC visibility pop
#endif
