/* The ring of batches that are made ahead; internal to core/data. */
#ifndef CVR_RING_H
#define CVR_RING_H

#include "slot.h"
#include <pthread.h>

#define RING_DEPTH 4
#define MOST_WORKERS 64u

typedef struct permutation {
    int64_t epoch;
    int64_t *order;
} permutation;

struct cvr_batches {
    pipeline pipeline;
    layout layout;
    int64_t per_epoch;
    slot slots[RING_DEPTH];
    permutation orders[2];
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    pthread_t threads[MOST_WORKERS];
    workbench benches[MOST_WORKERS + 1]; /* the caller's, and one for each thread */
    uint32_t n_threads;
    bool stop;
    int64_t next, end; /* positions: the caller's next, and where making stops */
    int64_t busy;      /* threads at work */
};

int32_t batches_new(cvr_batches **out, cvr_error *err);
/* The order of an epoch: numbers of samples. Under the lock, or before there are threads. */
const int64_t *batches_order(cvr_batches *b, int64_t epoch);

#endif
