/* What steps cost, node by node, and what the machine can do at most: what `cvrun bench` prints. */
#ifndef CVRUN_MEASURE_H
#define CVRUN_MEASURE_H

#include <cvr/peaks.h>
#include <cvr/session.h>

typedef struct measured_node {
    cvr_node_info info;
    double seconds, fastest_seconds; /* of one run: the median, the least */
} measured_node;

typedef struct measurement {
    measured_node *nodes;
    size_t n;
    double step_seconds; /* median of the whole step, profiler off */
    double fastest_step_seconds;
    double step_cpu_seconds; /* processor time of all threads, the median; without what a device computes */
    double images_per_s;
    int64_t batch, steps; /* steps: how many the medians are of */
    cvr_peaks peaks;
    double peak;                                    /* operations a second in the session's precision; 0: not known */
    double loader_images_per_s;                     /* batches made while nothing else runs */
    uint64_t start_memory_bytes, peak_memory_bytes; /* the process's peak before the first step, and after the steps */
} measurement;

/* A training step, or evaluation, on one batch. About 25 seconds, or 13 steps where those take longer. */
int32_t measure_session(cvr_session *s, bool training, measurement *out, cvr_error *err);
void measurement_clear(measurement *m);

#endif
