/* What the files of core/train share. */
#ifndef CVR_TRAIN_SESSION_H
#define CVR_TRAIN_SESSION_H

#include "settings.h"
#include <cvr/session.h>

#define MOST_TRANSFORMS 64u

/* One split of the data. */
typedef struct split {
    const cvr_dataset_desc *desc;
    void *self;
    cvr_transform transforms[MOST_TRANSFORMS];
    size_t n_transforms;
    cvr_batches *batches;
    bool present;
} split;

/* A graph with its program, for one batch size. Slots are looked up once. */
typedef struct entry {
    cvr_graph *graph;
    cvr_program *program;
    int64_t batch; /* 0: not there */
    cvr_recompute recompute;
    int32_t image, target, lr, step, seed, loss_scale, average_weight, loss, output;
} entry;

/* What depends on the backend. */
typedef struct machine {
    cvr_device *device;
    void *arena;
    uint64_t arena_bytes;
    int64_t precision;       /* PRECISION_*, settled */
    size_t recompute;        /* values of a training step to make again, at most */
    entry train[2], eval[2]; /* whole batches, and the last of an epoch */
} machine;

/* plugin_state.c: "cvr.host.state/1". */
typedef struct plugin_blob {
    char *name;
    void *bytes;
    uint64_t n;
} plugin_blob;
typedef struct plugin_state {
    cvr_state_service service;
    plugin_blob *blobs;
    size_t n, capacity;
} plugin_state;
void plugin_state_open(plugin_state *s);
int32_t plugin_state_put(plugin_state *s, const char *name, const void *bytes, uint64_t n, cvr_error *err);
void plugin_state_clear(plugin_state *s);

struct cvr_session {
    uint32_t purpose;
    char *recipe, *run_folder; /* run_folder: NULL unless opened from one */
    cvr_config *config;
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    cvr_config_service config_service;
    plugin_state plugin_state;
    const run_settings *run;
    const backend_settings *backend;
    model_settings *model; /* num_classes and in_channels are settled once the data is known */
    const data_settings *data;
    const train_settings *train;
    const optim_settings *optim;
    const sched_settings *sched;
    const val_settings *val;
    const log_settings *log;
    const cvr_predict_settings *predict;
    const cvr_task_desc *task;
    const cvr_model_desc *model_desc;
    const void *model_attrs;
    const cvr_setting *const *net; /* copies of the lines */
    size_t n_net;
    cvr_update_policy policy;
    cvr_gradient_plugin *gradient_plugins;
    size_t n_gradient_plugins;
    const cvr_scheduler_desc *scheduler;
    const void *sched_attrs;
    double lr;
    cvr_task_info task_info;
    char **class_names;
    double mean[4], std[4];
    int64_t in_channels, height, width;
    split splits[2]; /* CVR_SPLIT_TRAIN, CVR_SPLIT_VAL */
    cvr_store *store;
    machine machine;
    char backend_name[64];
    double data_seconds;
    void *blocks[2 * MOST_TRANSFORMS + 8]; /* packed attributes to free */
    size_t n_blocks;
};

/* session_data.c: data, transforms, classes. */
int32_t session_open_data(cvr_session *s, cvr_error *err);
int32_t session_open_classes(cvr_session *s, cvr_error *err);
void session_close_data(cvr_session *s);
int32_t session_val_transforms(cvr_session *s, split *to, cvr_error *err);
void session_batch_options(const cvr_session *s, uint32_t which, cvr_batches_options *o);

/* machine.c: graphs and programs on a backend. */
int32_t machine_build(cvr_session *s, const char *backend, machine *m, cvr_error *err);
void machine_clear(machine *m);
const char *machine_precision(const machine *m);
/* The entry for a batch of n; NULL where there is none. */
entry *machine_entry(entry pair[2], int64_t n);

/* ema.c: the weight of the parameters in their running means after step `step` (from 0) of epoch `epoch`. */
double ema_weight(const train_settings *t, double warmup_epochs, int64_t epoch, int64_t step);

/* One run of an entry: everything that it reads is written first. `target` and `loss` may be NULL. */
typedef struct entry_run {
    const void *images, *target;
    double lr, average_weight;
    int64_t step, seed;
    float *loss;
} entry_run;
int32_t entry_step(entry *e, const entry_run *r, cvr_error *err);

/* evaluate.c: with what reporters want to see of it. */
typedef struct evaluate_options {
    cvr_progress_fn progress;
    void *progress_ctx;
    void (*on_batch)(void *ctx, const cvr_batch *first, const void *output);
    void (*on_matrix)(void *ctx, const uint64_t *matrix, const cvr_metrics *metrics);
    void *ctx;
} evaluate_options;
int32_t session_evaluate(cvr_session *s, const evaluate_options *o, cvr_metrics *out, cvr_error *err);
/* Builds the network on the backend and loads the weights to start from. */
int32_t session_open_network(cvr_session *s, cvr_error *err);

/* weights_io.c: the rules by which a file of weights may differ from a network. */
#define WEIGHTS_HEAD_AUTO 0u /* the stage `head` is made new where its shape is another than the file's */
#define WEIGHTS_HEAD_KEEP 1u
#define WEIGHTS_HEAD_NEW 2u
typedef struct weights_rules {
    const char *network; /* whose weights they are: "", or the scope of another (cvr_graph_enter) */
    uint32_t head;
    bool subset; /* parameters may be missing in the file, and the file may have others */
} weights_rules;
/* All or nothing: what does not fit is listed, and the store stays as it was. A prefix that all names of the file have
 * and the network has not is left out; element types are cast; counters may be missing. */
int32_t weights_load(cvr_plugins *plugins, cvr_store *store, const weights_rules *rules, const char *path,
                     cvr_error *err);
/* Running means stand for what they are the mean of. The format is what the path's extension says. */
int32_t weights_save(cvr_plugins *plugins, cvr_store *store, const char *path, cvr_error *err);
/* weights_cast.c: n numbers of a file's type as f32 or i64; false where there is no way from one to the other. */
bool weights_cast(uint32_t to, void *out, uint32_t from, const void *in, int64_t n);

/* run_folder.c */
int32_t run_folder_make(cvr_session *s, char *path, size_t size, cvr_error *err);
int32_t run_folder_lock(const char *folder, int *fd, cvr_error *err);
int32_t run_folder_write_start(cvr_session *s, const char *folder, cvr_error *err);
/* Waits until what that wrote is on the disk. */
int32_t run_folder_sync_start(const char *folder, cvr_error *err);
int32_t run_folder_weights(const char *folder, char **path, cvr_error *err);

/* checkpoint.c: everything that a run needs to go on, in one file. */
typedef struct train_state {
    int64_t step, epoch, batch; /* done steps; the epoch (from 0) and batch in it that come next */
    int64_t epoch_samples, images, best_epoch;
    double loss_sum, seconds, wait_seconds, epoch_seconds, epoch_wait, best_value;
    int64_t finished;
    double *history; /* the metric of each epoch that has ended; NaN: not validated */
    size_t n_history, history_capacity;
} train_state;
int32_t train_state_remember(train_state *state, double metric, cvr_error *err);
void train_state_clear(train_state *state);
int32_t checkpoint_save(cvr_session *s, const char *folder, const train_state *state, cvr_error *err);
int32_t checkpoint_load(cvr_session *s, const char *folder, train_state *state, cvr_error *err);
/* Only what plugins have put there: before they are asked for anything. No checkpoint, or a bad one: nothing. */
void checkpoint_load_plugin_state(cvr_session *s, const char *folder);

/* Learning rate of a step, from 0. */
double session_lr(const cvr_session *s, const train_state *state, int64_t step, int64_t steps_per_epoch,
                  int64_t total_steps);

#endif
