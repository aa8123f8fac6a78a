/*
 * "cvr.distiller/1": what a network (the student) learns from another that is trained already (the teacher). Both stand
 * in one graph and see the same pictures; a distiller adds losses between what they say. distill.method names it.
 */
#ifndef CVR_PLUGIN_DISTILLER_H
#define CVR_PLUGIN_DISTILLER_H

#include "layer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a layer, or a block of layers, of each network gives: an entry of distill.layers. */
typedef struct cvr_distill_pair {
    uint64_t struct_size;
    const char *student_layer, *teacher_layer; /* "layer2"; "layer3" */
    cvr_value student, teacher;
} cvr_distill_pair;

typedef struct cvr_distillation {
    uint64_t struct_size;
    /* Adds ops and layers. What is built here is no part of the student: parameters are trained with it and kept in
     * checkpoints, in no file of weights. */
    const cvr_builder *builder;
    const void *attrs; /* the distiller's settings, packed */
    /* The student: its inputs, the targets among them, and its results. A loss (CVR_ROLE_LOSS) that is put here is
     * added to what is trained. A result that has a loss of its own name gets none from the task. */
    const cvr_io *student;
    /* The teacher: the same inputs, and its results, f32, by the names that the student's have. Where a result has
     * scores of classes on axis 1, they are in the order of the student's classes. Nothing can be put here. */
    const cvr_io *teacher;
    const cvr_distill_pair *const *pairs; /* n_pairs of them; none where the distiller did not ask for any */
    uint64_t n_pairs;
    int64_t n_classes;
} cvr_distillation;

typedef struct cvr_distiller_desc {
    uint64_t struct_size;
    const char *name; /* "hinton": what distill.method says */
    const char *doc;  /* paper */
    uint32_t n_attrs;
    uint32_t layers;                   /* 1: compares values within the networks: distill.layers has to be given */
    const cvr_attr_desc *const *attrs; /* keys of [distill] */
    /* Adds its losses, after the networks are built and before the task adds its own. `task_weight`, 1 unless it is
     * written, is what the task's losses are multiplied with. */
    int32_t (*losses)(const cvr_distillation *d, double *task_weight, cvr_error *err);
} cvr_distiller_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_distill_pair) == 32, "cvr_distill_pair has padding");
CVR_STATIC_ASSERT(sizeof(cvr_distillation) == 64, "cvr_distillation has padding");
CVR_STATIC_ASSERT(sizeof(cvr_distiller_desc) == 48, "cvr_distiller_desc has padding");

#endif
