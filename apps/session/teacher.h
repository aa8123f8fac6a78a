/*
 * [distill]: a trained network, the teacher, that stands in the programs of training beside the one that is trained.
 * teacher.c opens it, teacher_stages.c builds it into a graph, teacher_told.c says how good it is.
 */
#ifndef CVR_TEACHER_H
#define CVR_TEACHER_H

#include "network.h"

#define TEACHER "teacher" /* the scope of its layers and parameters */
#define MOST_PAIRS 16     /* of distill.layers */
#define MOST_RESULTS 16   /* of a teacher */

typedef struct teacher {
    settings set;                /* of its run folder; or what stands for one, of a file of weights */
    network_rewriting rewriting; /* where its run was quantised */
    char *plan;
    char *weights;       /* the file */
    class_names classes; /* none: nobody knows */
    int64_t n_classes;
    int64_t *columns;         /* which class of its own each of the student's is; NULL: they are in one order */
    int64_t side;             /* of its pictures; 0: as the student's */
    float scale[4], shift[4]; /* its pixels of the student's: x * scale + shift */
    bool renormalises;
    char sha256[65]; /* of the file */
} teacher;

/* A graph that has a teacher, while it is built. */
typedef struct distilling {
    const run_network *net;
    cvr_graph *graph;
    int64_t batch;
    cvr_value pixels;  /* as the student's batch has them, f32 */
    cvr_value picture; /* as the teacher reads them */
    cvr_io io;         /* the teacher's ends */
    cvr_io_output results[MOST_RESULTS];
    char names[MOST_RESULTS][64];
    uint32_t n_results;
    cvr_distill_pair pairs[MOST_PAIRS];
    const cvr_distill_pair *pair_list[MOST_PAIRS];
    char layers[MOST_PAIRS][2][128];
    uint32_t n_pairs;
    double task_weight;
    uint32_t first_loss, n_losses; /* outputs that the distiller has put */
} distilling;

/* Builds the teacher, so far as the student's program reads it; with `looks`, finds the layers of distill.layers. */
int32_t teacher_build(distilling *d, bool looks, cvr_error *err);
/* Its results become those of the graph: a program that measures it. */
int32_t teacher_say(const distilling *d, cvr_error *err);
/* Adds the distiller's losses; after the student is built. */
int32_t teacher_losses(distilling *d, cvr_error *err);
/* What output i of the graph, a loss, counts in the sum that is trained. */
double teacher_loss_weight(const distilling *d, uint32_t i);

#endif
