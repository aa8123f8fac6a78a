/* A run in progress, and what is told of it: trainer.c steps, tell.c tells. */
#ifndef CVR_TRAINER_H
#define CVR_TRAINER_H

#include "control.h"
#include "session_parts.h"

typedef struct trainer {
    cvr_session *s;
    const cvr_train_options *o;
    void **reporters; /* those that are open */
    bool *off;        /* of these, those that failed */
    size_t n_open;
    train_state state;
    double last_save, session_start, before; /* `before`: seconds of the sessions before this one */
    int64_t steps_per_epoch;
    double epoch_lr;     /* of the last step of an epoch, before its validation counts for the scheduler */
    cvr_metrics metrics; /* "train_loss" and those of the last validation */
    struct {
        double steps, waiting, validation, saving;
    } spent;              /* seconds of this session */
    bool moved;           /* to another backend, and no step was done there yet */
    run_network departed; /* where it was, until then */
    double move_begun;
    control control;   /* what it was told by `cvrun ctl`, and has not answered */
    int64_t validated; /* batches of the validation that is going on */
    int64_t in_a_row;  /* steps whose loss was not finite */
    char *gathered;    /* running statistics before the step, where train.on_nan = skip */
} trainer;

/* One step that is done. */
typedef struct step_done {
    const cvr_batch *batch;
    double lr, seconds;
} step_done;

double trainer_elapsed(const trainer *t);
/* schedule.c: the learning rate of a batch of the epoch that is going on, from 0. */
double trainer_lr(const trainer *t, int64_t batch);
/* Before the first batch of the epochs that do without mosaics: says so. */
void schedule_tell_closing(const trainer *t);
int64_t sched_warmup_steps(const sched_settings *s, int64_t steps_per_epoch);

/* resume.c: reads the run's checkpoint, if it has one. */
int32_t resume_load(trainer *t, cvr_error *err);
/* Finds the place in the epoch, by the data and the features that there are now. */
int32_t resume_fit(trainer *t, cvr_error *err);
/* What tells this training data from other data. */
int64_t resume_pictures(const trainer *t);

/* teacher_told.c: measures the teacher of [distill], where a run begins, and says how good it is. */
int32_t tell_teacher(trainer *t, cvr_error *err);

/* doubts.c */
void warn_of_doubts(const trainer *t);

/* first_batch.c */
int32_t tell_first_batch(trainer *t, const cvr_batch *b, cvr_error *err);

/* not_finite.c: before a step; and after one whose loss is not finite: an error, or CVR_OK where it is left out. */
int32_t not_finite_keep(trainer *t, cvr_error *err);
int32_t not_finite(trainer *t, const cvr_batch *b, const net_scalars *at, cvr_error *err);

/* moves.c. Before a step: moves that are due, and orders that came in. */
void moves_begin_step(trainer *t);
/* The step; where it is the first on another backend and fails, on the one before. */
int32_t moves_step(trainer *t, const cvr_batch *b, const net_scalars *at, cvr_error *err);
/* Whether the run was told to stop; whether what it was told wants to be saved, so that it holds after any end. */
bool moves_stop(const trainer *t);
bool moves_save(const trainer *t);
/* Once the step is done and saved. */
int32_t moves_answer(trainer *t, cvr_error *err);
int32_t moves_open(trainer *t, cvr_error *err);
void moves_close(trainer *t);

int32_t tell_start(trainer *t, cvr_error *err);
int32_t tell_step(const trainer *t, const step_done *d, cvr_error *err);
int32_t tell_batch(const trainer *t, const char *name, const cvr_batch *b, const cvr_batch_view *outputs,
                   cvr_error *err);
/* Each batch of a validation; `scores` may be NULL. */
int32_t tell_validated(const trainer *t, const cvr_batch *b, const cvr_batch_view *outputs, const double *scores,
                       cvr_error *err);
/* `v`: the epoch's validation, or NULL where there was none. */
int32_t tell_epoch(const trainer *t, const evaluation *v, bool is_best, cvr_error *err);
int32_t tell_flush(const trainer *t, cvr_error *err);
int32_t tell_end(const trainer *t, cvr_train_result *r, cvr_error *err);
void tell_close(trainer *t);

#endif
