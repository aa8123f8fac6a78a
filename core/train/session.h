/* A session from within: its parts, each with a file and a header of its own. */
#ifndef CVR_TRAIN_SESSION_H
#define CVR_TRAIN_SESSION_H

#include "network.h"
#include <cvr/session.h>

typedef struct step_losses {
    double total;
    size_t n; /* losses by name; more than one, or none are told: the total is the loss */
    const char *const *names;
    double *each;
} step_losses;

struct cvr_session {
    uint32_t purpose;
    settings set;
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    cvr_config_service config_service;
    run_data data;
    network net;
    step_losses losses;     /* of the last training step */
    cvr_named_tensor *part; /* fields of a part of a batch; see step.c */
    const cvr_named_tensor **part_fields;
};

/* Opens the network with the first of these programs, and loads the weights to start from. */
int32_t session_open_network(cvr_session *s, const program_key *keys, size_t n, cvr_error *err);

/* step.c: one optimizer step on a batch, in as many parts as train.grad_accum says; its losses are then in s->losses.
 */
int32_t session_train_step(cvr_session *s, const cvr_batch *b, double lr, int64_t step, cvr_error *err);
/* Adds the keys of the programs that training steps on batches of n run; returns the number of keys. */
size_t step_keys(const settings *s, int64_t n, cvr_canvas canvas, program_key keys[3]);
int32_t session_eval_step(cvr_session *s, const cvr_batch *b, net_program **p, double *loss, cvr_error *err);

/* evaluate.c */
typedef struct evaluation {
    cvr_metrics metrics;
    const uint64_t *matrix; /* NULL: none; it and `self` live until the end */
    void *self;
} evaluation;
typedef struct evaluate_options {
    cvr_progress_fn progress;
    void *progress_ctx;
    /* Sees the first batch. */
    int32_t (*on_batch)(void *ctx, const cvr_batch *first, const cvr_batch_view *outputs, cvr_error *err);
    void *ctx;
} evaluate_options;
/* Whatever comes of it, `out` is to be ended. */
int32_t evaluation_run(cvr_session *s, const evaluate_options *o, evaluation *out, cvr_error *err);
void evaluation_end(const cvr_session *s, evaluation *e);
/* One metric more; CVR_ERR_NOMEM or CVR_OK. */
int32_t metrics_add(cvr_metrics *m, const char *name, double value);
/* An error where the task has no metric of this name. */
int32_t evaluation_check_metric(cvr_session *s, const char *name, cvr_error *err);

/* checkpoint.c: everything that a run needs to go on, in one file. */
typedef struct train_state {
    int64_t step, epoch, batch; /* done steps; the epoch (from 0) and batch in it that come next */
    int64_t epoch_samples, images, best_epoch;
    double loss_sum, seconds, wait_seconds, epoch_seconds, epoch_wait, best_value;
    int64_t finished;
} train_state;
int32_t checkpoint_save(cvr_session *s, const char *folder, const train_state *state, cvr_error *err);
int32_t checkpoint_load(cvr_session *s, const char *folder, train_state *state, cvr_error *err);

#endif
