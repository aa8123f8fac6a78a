/* Training in a run folder, for the commands that do it. */
#ifndef CVRUN_TRAIN_H
#define CVRUN_TRAIN_H

#include <cvr/session.h>

typedef struct train_place {
    const char *folder; /* that is there */
    bool resumes;       /* goes on in it */
    const cvr_swap *swaps;
    size_t n_swaps;
    cvr_train_result result;
} train_place;

/* SIGINT, SIGTERM and SIGHUP ask the training to save and to stop. */
void train_catch_signals(void);
/* Trains the session, with everybody who is told of it, and prints what came of it. A new folder in which nothing was
 * saved is removed. */
int32_t train_in(cvr_session *s, train_place *p, cvr_error *err);

#endif
