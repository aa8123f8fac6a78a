/* What the tasks share: a loss for each result that has none. */
#ifndef CVR_TASK_LOSSES_H
#define CVR_TASK_LOSSES_H

#include <cvr/plugin/plugin.h>

/* One task's loss of one result. */
typedef struct task_loss {
    const char *layer;    /* "cross_entropy" */
    const char *field;    /* the target */
    const char *settings; /* of the layer */
    const char *name;     /* of the loss, one of several: NAME, of another result than "output" RESULT_NAME; NULL: there
                             is one loss, which has the result's name */
    double weight;        /* what it counts */
    double aux_weight;    /* of the losses of auxiliary results, as the recipe says; -1: it says nothing */
    double aux_usual;     /* where neither the recipe nor the model says anything */
    /* Refuses an output that the task cannot use. */
    int32_t (*check)(const cvr_task_info *info, const cvr_type *output, const cvr_type *target, cvr_error *err);
    /* Changes the target in[1], and sets in[2], the layer's weights; CVR_NONE: none. */
    int32_t (*prepare)(const cvr_builder *b, const cvr_task_info *info, cvr_value in[3], cvr_error *err);
} task_loss;

/* `prepare` of cross entropy: train.class_weights, in training only. */
int32_t task_class_weights(const cvr_builder *b, const cvr_task_info *info, cvr_value in[3], cvr_error *err);

/* x * scale, of x's shape. */
int32_t task_scale(const cvr_builder *b, double scale, cvr_value x, cvr_value *out, cvr_error *err);

/* The loss for every result, and in training for every auxiliary one, that has no loss of its name. */
int32_t task_add_losses(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, const task_loss *loss,
                        cvr_error *err);

/* `n` x `n` counts, all 0, with the task's host; NULL when memory is out. */
typedef struct task_matrix {
    const cvr_host *host;
    int64_t n;
    uint64_t count[]; /* (truth, prediction) */
} task_matrix;
task_matrix *task_matrix_new(const cvr_host *host, int64_t n, cvr_error *err);

/* What is told of one class. */
typedef struct task_class {
    uint64_t truth, predicted, right;
} task_class;
task_class task_matrix_class(const task_matrix *m, int64_t k);
/* a / b, NaN where b is 0. */
double task_share(uint64_t a, uint64_t b);

#endif
