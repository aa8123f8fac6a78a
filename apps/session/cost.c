/* What a network costs: time, memory and products of one run on so many pictures. */
#include "session_parts.h"
#include <stdlib.h>

#define LEAST_RUNS 5
#define MOST_RUNS 200
#define SECONDS 1.0

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int32_t write_zeros(net_program *p, cvr_error *err) {
    for (size_t i = 0; i < p->n_inputs; i++) {
        void *zeros = cvr_calloc(1, p->inputs[i].bytes + 8);
        if (!zeros) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        const int32_t status = cvr_program_write(p->program, p->inputs[i].slot, zeros, err);
        cvr_free(zeros);
        CVR_TRY(status);
    }
    return CVR_OK;
}

static int32_t time_runs(net_program *p, double *median, cvr_error *err) {
    double times[MOST_RUNS], spent = 0;
    int n = 0;
    for (int i = 0; i < 2; i++) CVR_TRY(cvr_program_run(p->program, err));
    CVR_TRY(cvr_program_wait(p->program, err));
    while (n < LEAST_RUNS || (n < MOST_RUNS && spent < SECONDS)) {
        const double start = cvr_now();
        CVR_TRY(cvr_program_run(p->program, err));
        CVR_TRY(cvr_program_wait(p->program, err));
        times[n] = cvr_now() - start;
        spent += times[n++];
    }
    qsort(times, (size_t)n, sizeof *times, compare);
    *median = times[n / 2];
    return CVR_OK;
}

int32_t cost_time(net_program *p, cvr_session_cost *out, cvr_error *err) {
    CVR_TRY(write_zeros(p, err));
    return time_runs(p, &out->seconds, err);
}

void cost_count(const cvr_program *p, int64_t pictures, cvr_session_cost *out) {
    double flops = 0;
    for (size_t i = 0; i < cvr_program_nodes(p); i++) {
        cvr_node_info info;
        cvr_program_node(p, i, &info);
        const size_t n = strlen(info.op);
        const bool products = strncmp(info.op, "conv", 4) == 0 || strncmp(info.op, "linear", 6) == 0 ||
                              strncmp(info.op, "matmul", 6) == 0;
        out->nodes++;
        out->int8_nodes += n > 5 && strcmp(info.op + n - 5, "_int8") == 0;
        flops += products ? info.flops : 0;
    }
    out->macs = flops / 2 / (double)pictures;
}

int32_t cvr_session_cost_of(cvr_session *s, int64_t pictures, cvr_session_cost *out, cvr_error *err) {
    const cvr_batches *val = s->data.splits[CVR_SPLIT_VAL].batches;
    const cvr_canvas *canvases;
    net_program *p;
    *out = (cvr_session_cost){0};
    if (!val || cvr_batches_canvases(val, &canvases) < 1)
        return cvr_fail(err, CVR_ERR_INVALID, "there is no validation data to know the size of pictures by");
    const program_key key = {.purpose = PROGRAM_PREDICT, .batch = pictures, .canvas = canvases[0]};
    CVR_TRY(network_program(&s->net, &key, &p, err));
    CVR_TRY(cost_time(p, out, err));
    cost_count(p->program, pictures, out);
    out->planned_bytes = cvr_store_bytes(s->net.store) + cvr_program_arena_bytes(p->program);
    return CVR_OK;
}
