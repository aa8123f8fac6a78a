/* A session from within: its parts, each with a file and a header of its own. */
#ifndef CVR_SESSION_PARTS_H
#define CVR_SESSION_PARTS_H

#include "saved_results.h"
#include "services.h"
#include "tiles.h"
#include "views.h"
#include <cvr/session.h>

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
const void *plugin_state_get(const plugin_state *s, const char *name, uint64_t *n);
void plugin_state_clear(plugin_state *s);

typedef struct step_losses {
    double total;
    size_t n; /* losses by name; more than one, or none are told: the total is the loss */
    const char *const *names;
    double *each;
} step_losses;

struct cvr_session {
    uint32_t purpose;
    bool only_looks; /* CVR_DATA_IF_GIVEN, and none was */
    settings set;
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    cvr_config_service config_service;
    plugin_state plugin_state;
    tuning tuning;
    run_data data;
    run_network net;
    char *plan;              /* of a compressed network; NULL */
    char *held;              /* what cvr_session_prune says of masks; NULL */
    bool has_weights;        /* the network that is opened next gets its weights from who opens it */
    struct teacher *teacher; /* of [distill], while it trains; NULL */
    views views;             /* of the picture that was looked at last */
    tiles tiles;             /* likewise */
    step_losses losses;      /* of the last training step */
    bool vetoed;             /* the last training step's update was left out by a gradient plugin */
    bool overflowed;         /* it was, as a gradient was not finite in f16 */
    bool warned_of_losses;   /* of validation's, which were not finite */
    const split *ahead;      /* whose next batch may land while a step is under way; NULL: none */
    cvr_named_tensor *part;  /* fields of a part of a batch; see step.c */
    const cvr_named_tensor **part_fields;
    char *plugins_used; /* run.plugins of a run that trains */
};

/* Opens the network with the first of these programs, and loads the weights to start from. */
int32_t session_open_network(cvr_session *s, const program_key *keys, size_t n, cvr_error *err);

/* session_plans.c: for the batches of the data that is open; or for one picture of data.img_size, where there is no
 * data that tells sizes. */
int32_t session_plan_for_data(cvr_session *s, cvr_error *err);
/* Of a network that is open: the programs that evaluation runs, where they are not there. */
int32_t session_plan_evaluation(cvr_session *s, cvr_error *err);
/* Opens the session's network for evaluation alone. */
int32_t session_open_evaluation(cvr_session *s, cvr_error *err);
int32_t session_plan_for_picture(cvr_session *s, cvr_error *err);
/* Sides that the network cannot take are padded, and so are not what the user has written: says so. */
void session_tell_padding(const cvr_session *s);

/* backend_auto.c: the backend that `backend.name = auto` stands for. */
int32_t backend_auto(cvr_session *s, char *to, size_t size, cvr_error *err);

/* cost.c: the median time of a run, of a program that is bound; nodes, and products a picture. */
int32_t cost_time(net_program *p, cvr_session_cost *out, cvr_error *err);
void cost_count(const cvr_program *p, int64_t pictures, cvr_session_cost *out);

/* compressed.c: reads what [compressed] says; refuses a purpose that such a network cannot serve. */
int32_t session_open_compressed(cvr_session *s, cvr_error *err);
/* The same of any run's settings that say [compressed]. `plan`: the text, to be freed. */
int32_t compressed_open(const settings *s, cvr_plugins *plugins, network_rewriting *to, char **plan, cvr_error *err);

/* session.c: the best weights of a run folder, else its last. Free with cvr_free. */
int32_t session_folder_weights(const char *folder, char **path, cvr_error *err);

/* Parameters of the network, trained or not; weights on integers are nobody's to train, but count. */
int64_t session_count_params(const cvr_store *store);

/* teacher.c: opens the teacher of [distill], where there is one, once the data is known; reads its weights into the
 * store, once that has been placed. */
int32_t teacher_open(cvr_session *s, cvr_error *err);
int32_t teacher_load(cvr_session *s, cvr_error *err);
void teacher_close(struct teacher **t);

/* compress.c: quant.method is here, and quantises. */
int32_t session_check_method(const cvr_session *s, cvr_error *err);
/* compression_refused.c: what a compressor is given, whose callbacks refuse until they are set; `note` has to be. */
cvr_compression session_compression(const cvr_session *s, void *ctx, const void *attrs);
/* Which pictures a compressor looks at. */
void session_calibration(const cvr_session *s, cvr_batches_options *o);

/* step.c: one optimizer step on a batch, in as many parts as train.grad_accum says; its losses are then in s->losses.
 */
int32_t session_train_step(cvr_session *s, const cvr_batch *b, const net_scalars *at, cvr_error *err);
/* Adds the keys of the programs that training steps on batches of n run; returns the number of keys. */
size_t step_keys(const settings *s, int64_t n, cvr_canvas canvas, program_key keys[3]);
/* `purpose`: PROGRAM_EVAL, or PROGRAM_TEACHER, which has no losses. */
int32_t session_eval_step(cvr_session *s, int64_t purpose, const cvr_batch *b, net_program **p, double *loss,
                          cvr_error *err);

/* tiles.c: looks at a picture in tiles, as s->tiles says; `origin` is its own. What was merged lives until the next
 * time.
 */
int32_t session_run_tiles(cvr_session *s, const cvr_image *picture, const cvr_origin *origin, bool predicts,
                          cvr_batch_view *out, cvr_error *err);

/* features.c: computes them for a split that has batches, by the network as it is now. */
int32_t features_compute(cvr_session *s, uint32_t which, cvr_error *err);

/* auto_batch.c: settles train.batch for a network that is not opened yet, by the plans of its training steps. */
int32_t auto_batch(cvr_session *s, cvr_error *err);

/* evaluate.c */
typedef struct evaluation {
    cvr_metrics metrics;
    const uint64_t *matrix; /* NULL: none; it, the curves and `self` live until the end */
    const cvr_curve *const *curves;
    uint32_t n_curves;
    void *self;
} evaluation;
typedef struct evaluate_options {
    int64_t tile; /* as cvr_evaluate_options */
    double overlap;
    bool teacher; /* the teacher of [distill] is looked at in the network's place */
    cvr_progress_fn progress;
    void *progress_ctx;
    /* Sees each batch; `scores`: how well the network did on each of its pictures, or NULL. */
    int32_t (*on_batch)(void *ctx, const cvr_batch *b, const cvr_batch_view *outputs, const double *scores,
                        cvr_error *err);
    void *ctx;
    saved_results *saved; /* gets every batch; NULL: nothing is saved */
} evaluate_options;
/* evaluate_views.c: a batch of one, looked at in views. `seen` is what `outputs` and the targets belong to: the batch
 * itself, or, where the size of its picture is not that of its mask, the sample as the data has it. */
int32_t evaluate_views(cvr_session *s, const cvr_batch *b, cvr_batch *seen, cvr_batch_view *outputs, cvr_error *err);
/* evaluate_tiles.c: opens what it takes; a batch of one sample as the data has it, looked at in tiles. */
int32_t evaluate_tiles_open(cvr_session *s, int64_t tile, double overlap, cvr_error *err);
int32_t evaluate_tiles(cvr_session *s, const cvr_batch *b, cvr_batch_view *outputs, cvr_error *err);
/* Whatever comes of it, `out` is to be ended. */
int32_t evaluation_run(cvr_session *s, const evaluate_options *o, evaluation *out, cvr_error *err);
void evaluation_end(const cvr_session *s, evaluation *e);
/* One metric more; CVR_ERR_NOMEM or CVR_OK. */
int32_t metrics_add(cvr_metrics *m, const char *name, double value);
/* The metric that tells how good a network is: val.metric, else the task's own. */
const char *evaluation_best_metric(const cvr_session *s);
/* Whether less of it is better. */
bool evaluation_lower_is_better(const cvr_session *s);
/* An error where the task has no metric of this name. */
int32_t evaluation_check_metric(cvr_session *s, const char *name, cvr_error *err);
int32_t evaluation_check_loss(const cvr_session *s, const char *name, cvr_error *err);

/* weights_io.c: the rules by which a file of weights may differ from a network. */
typedef struct weights_rules {
    const char *network; /* whose weights they are: "", or the scope of another (cvr_graph_enter) */
    uint32_t head;
    /* Where the file's classes are others than the network's: which of its rows each class of the network has in it,
     * -1: none. With WEIGHTS_HEAD_AUTO the head then takes those rows alone. NULL: they are the same, or nobody knows.
     */
    const int64_t *rows;
    int64_t n_rows, file_rows;                                    /* classes of the network; of the file */
    int32_t (*alias)(const char *name, char *out, uint64_t size); /* cvr_model_desc's; NULL: none */
    bool subset;   /* parameters may be missing in the file, and the file may have others */
    bool *foreign; /* set to whether the file's names are another implementation's; NULL: nobody asks */
} weights_rules;
/* Whether a file of the network's weights has this entry. */
static inline bool weights_are_of(const char *network, const cvr_store_entry *e) {
    return e->role <= CVR_STORE_BUFFER && strcmp(e->network, network) == 0;
}
/* All or nothing: what does not fit is listed, and the store stays as it was. A prefix that all names of the file have
 * and the network has not is left out; element types are cast; counters may be missing. */
int32_t weights_load(cvr_plugins *plugins, cvr_store *store, const weights_rules *rules, const char *path,
                     cvr_error *err);
/* Running means stand for what they are the mean of. The format is what the path's extension says. */
int32_t weights_save(cvr_plugins *plugins, cvr_store *store, const char *path, cvr_error *err);
/* weights_format.c: the plugin whose format the bytes have or, without a map, whose extension the path ends in; NULL,
 * and then the error. */
const cvr_weights_desc *weights_format(cvr_plugins *p, const cvr_mapping *m, const char *path, cvr_error *err);
int32_t weights_format_unknown(cvr_plugins *p, cvr_error *err);
/* weights_layout.c: a shape for messages, "(64, 3, 7, 7)". */
void weights_shape_text(char *out, size_t size, uint32_t rank, const int64_t *shape);
/* weights_adapt.c: makes a tensor of a known meaning fit another shape; `out` NULL: whether there is a way. */
bool weights_adapt(const cvr_type *to, float *out, uint32_t rank, const int64_t *shape, const float *in);
/* Whether another implementation's tensor is one of type `t`, but for axes of 1, or the last ones as one. */
bool weights_fit_another(const cvr_type *t, uint32_t rank, const int64_t *shape);
/* Whether a tensor of the head has a row a class, in the file and in the network; and puts those rows into `out` that
 * the file has, too. */
bool weights_has_rows(const weights_rules *r, const cvr_weight *w, const cvr_store_entry *e);
void weights_take_rows(const weights_rules *r, const cvr_store_entry *e, void *out, const void *in);
/* weights_cast.c: n numbers of a file's type as f32 or i64; false where there is no way from one to the other. */
bool weights_cast(uint32_t to, void *out, uint32_t from, const void *in, int64_t n);

/* weights_masks.c: an error where a mask has other elements than 0 and 1; */
int32_t weights_check_mask(const cvr_weight *w, cvr_error *err);
/* and an entry that was written already: what its mask has as 0 becomes 0. */
int32_t weights_fold_mask(cvr_store *store, size_t i, const cvr_weight *w, cvr_error *err);

/* Whether n numbers hold neither NaN nor infinity. */
bool weights_finite(uint32_t dtype, const void *data, int64_t n);

/* ema.c: the weight of the parameters in their running means after step `step` (from 0) of epoch `epoch`. */
double ema_weight(const train_settings *t, double warmup_epochs, int64_t epoch, int64_t step);
/* The same with train.ema_ramp, after `step` steps of the run. */
double ema_ramp_weight(const train_settings *t, int64_t step);
/* The share of the first step's parameters in the running means at the end of a run. */
double ema_first_left(const train_settings *t, double warmup_epochs, int64_t steps_per_epoch);
/* The ema_decay with which, for ema_steps = 1, that share is `left`. */
double ema_decay_that_leaves(const train_settings *t, double warmup_epochs, int64_t steps_per_epoch, double left);

/* checkpoint.c: everything that a run needs to go on, in one file. */
typedef struct train_state {
    int64_t step, epoch, batch; /* done steps; the epoch (from 0) and batch in it that come next */
    int64_t epoch_samples, images, best_epoch;
    double loss_sum, seconds, wait_seconds, epoch_seconds, epoch_wait, best_value, best_loss;
    int64_t finished;
    int64_t vetoed, epoch_vetoed;               /* steps whose update a gradient plugin left out; those of this epoch */
    int64_t pictures;                           /* of which data; 0: not known */
    int64_t stale;                              /* validations since the best */
    int64_t sampler, repeat, groups;            /* of that epoch, as are the next four */
    int64_t samples, batch_size, shuffle, seed; /* of the epoch that is going on; batch_size 0: not known */
    int64_t phase, thawed_at[MOST_PHASES];      /* of model.unfreeze; updates before each after the first */
    double loss_scale;                          /* of the step to come, in f16; 0: not begun */
    int64_t scaled_steps;                       /* with that scale */
    double lr;                                  /* that `cvrun ctl` put in place of optim.lr; 0: none */
    cvr_place place;                            /* where it is; no backend: not known */
    double *history;                            /* the metric of each epoch that has ended; NaN: not validated */
    size_t n_history, history_capacity;
} train_state;

/* loss_scale.c: in the graph, between the gradients and what plugins do to them; what the loss is multiplied with in
 * the step to come; after a run, whether gradients overflowed; after a step, the scale of the next. */
int32_t loss_scale_build(cvr_graph *g, cvr_error *err);
double loss_scale_of(const cvr_session *s, const train_state *st);
int32_t loss_scale_look(cvr_session *s, net_program *p, cvr_error *err);
int32_t loss_scale_step(const cvr_session *s, train_state *st, cvr_error *err);

int32_t train_state_remember(train_state *state, double metric, cvr_error *err);
void train_state_clear(train_state *state);
int32_t checkpoint_save(cvr_session *s, const char *folder, const train_state *state, cvr_error *err);
int32_t checkpoint_load(cvr_session *s, const char *folder, train_state *state, cvr_error *err);
/* Only what plugins have put there: before they are asked for anything. No checkpoint, or a bad one: nothing. */
void checkpoint_load_plugin_state(cvr_session *s, const char *folder);

/* missing_plugins.c. Settles run.plugins, for config.ini: what is loaded by now. */
int32_t session_note_plugins(cvr_session *s, cvr_error *err);
void session_warn_missing(const cvr_session *s);
/* Adds a missing plugin to an error. What was not found is most likely the plugin's, which is then said first, without
 * the list of what there is. */
void session_blame_missing(const cvr_session *s, cvr_error *err);
/* run.plugins is no setting of the command line. */
int32_t session_check_record(const cvr_session *s, cvr_error *err);

#endif
