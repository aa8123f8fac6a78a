/*
 * train.batch = auto: the largest power of two whose training step fits into memory, at most 1024 pictures and a tenth
 * of the data. Memory is train.memory where that is given, else four fifths of what the system has available. It is
 * settled once: config.ini has the number, so that a run that goes on does not look again.
 */
#include "session_parts.h"
#include <stdio.h>

#define MOST_AUTO 1024

/* MemAvailable of /proc/meminfo, bytes; 0 where the system does not tell. */
static uint64_t available_memory(void) {
    unsigned long long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) break;
    if (f) fclose(f);
    return (uint64_t)kib * 1024;
}

/* The programs of a training step on `batch` pictures, and with [probe] that of their features. */
static size_t keys_of(cvr_session *s, int64_t batch, program_key keys[4]) {
    const cvr_canvas *canvases; /* the largest first */
    (void)cvr_batches_canvases(s->data.splits[CVR_SPLIT_TRAIN].batches, &canvases);
    s->set.train->batch = batch;
    size_t n = step_keys(&s->set, batch, canvases[0], keys);
    if (s->data.probes) keys[n++] = (program_key){.purpose = PROGRAM_FEATURES, .batch = batch, .canvas = canvases[0]};
    return n;
}

/* What these need, with the parameters. */
static int32_t need_of(cvr_session *s, int64_t batch, uint64_t *bytes, cvr_error *err) {
    program_key keys[4];
    uint64_t arena = 0;
    const size_t n = keys_of(s, batch, keys);
    for (size_t i = 0; i < n; i++) {
        net_program *p;
        keys[i].phase = s->set.phases.n;
        CVR_TRY(net_program_plan(&s->net, &keys[i], &p, err));
        if (cvr_program_arena_bytes(p->program) > arena) arena = cvr_program_arena_bytes(p->program);
        net_program_destroy(&p);
    }
    *bytes = arena + cvr_store_bytes(s->net.store);
    return CVR_OK;
}

/* From the largest down; one part of a gradient that is accumulated has at least one picture. */
static int32_t find_largest(cvr_session *s, int64_t most, uint64_t memory, cvr_error *err) {
    const int64_t parts = s->set.train->grad_accum;
    uint64_t bytes;
    char need[32], have[32];
    for (int64_t batch = most; batch >= parts; batch /= 2) {
        CVR_TRY(need_of(s, batch, &bytes, err));
        if (memory && bytes > memory) continue;
        cvr_log(CVR_LOG_INFO, "train.batch=auto: %lld pictures, which need %s of %s; optim.lr stays as it is",
                (long long)batch, cvr_bytes_text(bytes, need), cvr_bytes_text(memory, have));
        return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_USAGE,
                    "train.batch = auto: not even %lld pictures fit into %s; set data.img_size lower", (long long)parts,
                    cvr_bytes_text(memory, have));
}

int32_t auto_batch(cvr_session *s, cvr_error *err) {
    const int64_t tenth = cvr_batches_samples(s->data.splits[CVR_SPLIT_TRAIN].batches) / 10,
                  parts = s->set.train->grad_accum;
    const uint64_t memory = s->set.memory ? s->set.memory : available_memory() / 5 * 4;
    program_key keys[4];
    int64_t most = parts;
    int32_t status;
    while (2 * most <= MOST_AUTO && 2 * most <= tenth) most *= 2;
    (void)keys_of(s, most, keys);
    CVR_TRY_OUT(network_begin(&s->net, &keys[0], err));
    CVR_TRY_OUT(find_largest(s, most, memory, err));
out:
    network_close(&s->net);
    memset(&s->net, 0, sizeof s->net);
    return status;
}
