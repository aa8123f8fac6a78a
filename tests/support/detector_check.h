/*
 * What tests of detectors share: golden files of narrow networks (tests/parity/detectors.py, detectors_two.py), with
 * what torchvision detects, loses and learns; and detectors by themselves. A failure is the test's.
 *
 * Fields of a case beside detector_case.h's: expect.boxes.N, .scores.N, .labels.N and .masks.N of picture N,
 * expect.loss_NAME, and change.NAME, what a step of plain SGD changes in a parameter or running statistic.
 *
 * Tolerances: boxes to 0.01 pixels, scores and masks to 1e-4, losses to 1e-4; a change to 2e-3 in L2, relative, where a
 * change below 1e-4 of the largest is not told apart from rounding.
 */
#ifndef CVR_TEST_DETECTOR_CHECK_H
#define CVR_TEST_DETECTOR_CHECK_H

#include "detector_case.h"

/* The file, and what the last run of one of its cases gave. */
typedef struct detector_subject {
    golden g;
    detector_case c;
    detector_result r;
} detector_subject;

void detector_open(detector_subject *s, const char *file);
void detector_close(detector_subject *s);
/* Runs the case s->c.label. */
void detector_try(detector_subject *s, bool training, bool targets);
/* A result of the run; a field of the file. */
const detector_tensor *detector_gave(const detector_subject *s, const char *name);
const golden_tensor *detector_wants(detector_subject *s, const char *name);
/* Number i of a tensor, as the file or a result has it. */
double detector_number(uint32_t dtype, const void *data, int64_t i);

/* What the run detected is what the file has. */
void detector_check_found(detector_subject *s);
/* So are its losses, each of them. */
void detector_check_losses(detector_subject *s);
/* So is what every parameter and statistic changed by. */
void detector_check_changes(detector_subject *s);

/* Every case of a file, at least `least` of them: what it detects; what it loses and learns in a step. */
void detector_check_all_found(const char *file, size_t least);
void detector_check_all_learned(const char *file, size_t least);
/* Trains the case without any object: nothing becomes NaN. */
void detector_try_without_objects(detector_subject *s);
/* A loss of the run. */
double detector_loss(const detector_subject *s, const char *name);

/* A model by settings in a store that is not filled yet, for pictures of `side` x `side` and 3 classes. */
typedef struct detector_net {
    const cvr_model_desc *model;
    cvr_store *store;
    cvr_graph *graph;
} detector_net;
typedef struct detector_recipe {
    const char *model, *settings;
    const char *freeze; /* as model.freeze; "": nothing */
    int64_t side;
} detector_recipe;
/* The status of the model's build; detector_error has its message. Free with detector_drop, whatever it was. */
int32_t detector_build(const detector_subject *s, const detector_recipe *recipe, detector_net *out);
/* The same with another number of classes, or to be trained: on pictures with room for so many objects. */
typedef struct detector_use {
    int64_t classes, objects; /* 0: evaluation without targets */
} detector_use;
int32_t detector_build_for(const detector_subject *s, const detector_recipe *recipe, const detector_use *use,
                           detector_net *out);
void detector_drop(detector_net *n);

/* The model is not built by these settings; one line says why. */
void detector_check_refusal(const detector_subject *s, const detector_recipe *recipe, const char *says);
/* Every parameter belongs to a stage of the model. */
void detector_check_stages(const detector_subject *s, const detector_recipe *recipe);
/* The model's alias of each first name is the second one, a parameter. */
void detector_check_names(const detector_subject *s, const detector_recipe *recipe, const char *const names[][2],
                          size_t n);
extern cvr_error detector_error;

#endif
