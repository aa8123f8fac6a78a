/* See trial.h. */
#include "trial.h"

#include <cvr/plugin/bf16.h>
#include <cvr/plugin/f16.h>
#include <math.h>

#define PERIOD 1048573u      /* elements until inputs repeat: a prime, so that no axis fits into it */
#define BUFFER (4u * PERIOD) /* bytes */
#define CHUNK 16384u         /* elements that are compared in a row */
#define CHUNKS 64u           /* of a tensor, evenly from its begin to its end */
#define REPEATS 5u
#define PLAIN_REPEATS 1u /* a device kernel may be slow; that it is the faster one shows in one run as well */

/* ---- memory ---- */

static uint64_t numel(const cvr_tensor *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape);
}

static uint64_t bytes_of(const cvr_tensor *t) {
    return numel(t) * cvr_dtype_size(t->dtype);
}

/* A number as an element. */
static void put(uint8_t *to, uint32_t dtype, float v) {
    if (dtype == CVR_F32) memcpy(to, &v, 4);
    const uint16_t half = dtype == CVR_F16 ? cvr_f16_of_f32(v) : cvr_bf16_of_f32(v);
    if (dtype != CVR_F32) memcpy(to, &half, 2);
}

static float get(const uint8_t *from, uint32_t dtype) {
    float v;
    uint16_t half;
    if (dtype == CVR_F32) {
        memcpy(&v, from, 4);
        return v;
    }
    memcpy(&half, from, 2);
    return dtype == CVR_F16 ? cvr_f32_of_f16(half) : cvr_f32_of_bf16(half);
}

/* Uploads the buffer until the tensor is full. */
static int32_t fill(const trial *t, const cvr_tensor *x, cvr_error *err) {
    const cuda_lab *lab = t->place->lab;
    const uint64_t all = bytes_of(x), piece = PERIOD * cvr_dtype_size(x->dtype);
    for (uint64_t at = 0; at < all; at += piece)
        CVR_TRY(lab->upload(lab->ctx, (char *)x->data + at, t->host, all - at < piece ? all - at : piece, err));
    return CVR_OK;
}

/* Numbers from -1 to 1; vectors, among which there may be variances, from 0.5 to 1.5. */
static int32_t fill_input(const trial *t, const cvr_tensor *x, uint32_t seed, cvr_error *err) {
    const uint64_t n = numel(x) < PERIOD ? numel(x) : PERIOD, size = cvr_dtype_size(x->dtype);
    uint32_t state = 2654435761u * (seed + 1);
    for (uint64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        const float v = (float)(state >> 8) * 0x1p-23f - 1;
        put(t->host + i * size, x->dtype, x->rank == 1 ? 1 + v / 2 : v);
    }
    return fill(t, x, err);
}

/* NaN, so that an element that a plan leaves out shows itself. */
static int32_t poison_outputs(const trial *t, cvr_error *err) {
    memset(t->host, 0xff, BUFFER);
    for (uint32_t i = 0; i < t->node->sig->n_outputs; i++) CVR_TRY(fill(t, t->outputs[i], err));
    return CVR_OK;
}

static int32_t place_tensor(trial *t, uint32_t i, const cvr_tensor *like, cvr_error *err) {
    const cuda_lab *lab = t->place->lab;
    t->tensors[i] = *like;
    return lab->alloc(lab->ctx, bytes_of(like), &t->tensors[i].data, err);
}

int32_t trial_open(trial *t, const library_place *place, const library_node *node, uint64_t workspace, cvr_error *err) {
    const cvr_signature *sig = node->sig;
    const cuda_lab *lab = place->lab;
    *t = (trial){.place = place, .node = node};
    if (sig->n_inputs + sig->n_outputs > TRIAL_TENSORS)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "too many tensors to try");
    t->host = (uint8_t *)place->host->alloc(place->host, BUFFER, 64);
    if (!t->host) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < sig->n_inputs; i++) {
        if (!sig->inputs[i]) continue;
        CVR_TRY(place_tensor(t, i, sig->inputs[i], err));
        t->inputs[i] = &t->tensors[i];
        CVR_TRY(fill_input(t, &t->tensors[i], i, err));
    }
    for (uint32_t i = 0; i < sig->n_outputs; i++) {
        CVR_TRY(place_tensor(t, sig->n_inputs + i, sig->outputs[i], err));
        t->outputs[i] = &t->tensors[sig->n_inputs + i];
        t->n_expected += numel(t->outputs[i]) < CHUNK * CHUNKS ? numel(t->outputs[i]) : CHUNK * CHUNKS;
    }
    t->workspace_size = workspace;
    return workspace ? lab->alloc(lab->ctx, workspace, &t->workspace, err) : CVR_OK;
}

void trial_close(trial *t) {
    const cuda_lab *lab = t->place->lab;
    const cvr_host *host = t->place->host;
    for (uint32_t i = 0; i < TRIAL_TENSORS; i++)
        if (t->tensors[i].data) lab->free(lab->ctx, t->tensors[i].data);
    if (t->workspace) lab->free(lab->ctx, t->workspace);
    host->free(host, t->host);
    host->free(host, t->expected);
}

/* ---- running ---- */

/* What is enqueued: a plan, or the device kernel where there is no library. */
typedef struct work {
    const trial *t;
    const library_opened *l;
    const library_candidate *c;
} work;

static int32_t enqueue(void *ctx, void *stream, cvr_error *err) {
    const work *w = (const work *)ctx;
    const trial *t = w->t;
    const cvr_signature *sig = t->node->sig;
    const cuda_lab *lab = t->place->lab;
    const cvr_kernel_args a = {.struct_size = sizeof a,
                               .attrs = sig->attrs,
                               .inputs = t->inputs,
                               .outputs = t->outputs,
                               .workspace = t->workspace,
                               .workspace_size = t->workspace_size,
                               .stream = stream,
                               .n_inputs = sig->n_inputs,
                               .n_outputs = sig->n_outputs,
                               .device = sig->device};
    if (w->l) return w->l->library->enqueue(w->l->self, w->c->plan, &a, stream, err);
    return t->node->op->plain(t->node->op, &a, lab->recorder(lab->ctx, stream), err);
}

/* Once to load code, then for the time. */
static int32_t run_timed(const work *w, uint32_t repeats, double *seconds, cvr_error *err) {
    const cuda_lab *lab = w->t->place->lab;
    work once = *w;
    CVR_TRY(lab->run(lab->ctx, enqueue, &once, 1, seconds, err));
    return lab->run(lab->ctx, enqueue, &once, repeats, seconds, err);
}

int32_t trial_time(trial *t, const library_opened *l, const library_candidate *c, double *seconds, cvr_error *err) {
    return run_timed(&(const work){t, l, c}, REPEATS, seconds, err);
}

/* ---- comparing ---- */

/* Samples of an output, from the device: all of a small one. `to` has room for them; how many they are. */
static int32_t sample(const trial *t, const cvr_tensor *y, float *to, uint64_t *n, cvr_error *err) {
    const cuda_lab *lab = t->place->lab;
    const uint64_t size = cvr_dtype_size(y->dtype), all = numel(y);
    const int whole = all <= CHUNK * CHUNKS;
    const uint64_t chunks = whole ? (all + CHUNK - 1) / CHUNK : CHUNKS;
    *n = 0;
    for (uint64_t k = 0; k < chunks; k++) {
        const uint64_t first = whole ? k * CHUNK : (all - CHUNK) / (CHUNKS - 1) * k;
        const uint64_t here = all - first < CHUNK ? all - first : CHUNK;
        CVR_TRY(lab->download(lab->ctx, t->host, (const char *)y->data + first * size, here * size, err));
        for (uint64_t i = 0; i < here; i++) to[(*n)++] = get(t->host + i * size, y->dtype);
    }
    return CVR_OK;
}

int32_t trial_plain(trial *t, double *seconds, cvr_error *err) {
    const cvr_host *host = t->place->host;
    uint64_t at = 0, n;
    t->expected = (float *)host->alloc(host, t->n_expected * 4, 64);
    if (!t->expected) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY(run_timed(&(const work){t, NULL, NULL}, PLAIN_REPEATS, seconds, err));
    for (uint32_t i = 0; i < t->node->sig->n_outputs; i++, at += n)
        CVR_TRY(sample(t, t->outputs[i], t->expected + at, &n, err));
    return CVR_OK;
}

/*
 * What rounding may do, as a share of an element and of the root of the output's mean square. Both sides add up in f32,
 * in different orders; 16 bits of storage round once more, some forms twice; tf32 rounds the operands to 11 bits.
 */
static double allowed(const library_node *node, const cvr_tensor *y) {
    double most = node->sig->math == CVR_MATH_TF32 ? 0x1p-7 : 0x1p-12;
    for (uint32_t i = 0; i < node->sig->n_inputs + 1; i++) {
        const cvr_tensor *x = i < node->sig->n_inputs ? node->sig->inputs[i] : y;
        const double share = !x || x->dtype == CVR_F32 ? 0 : x->dtype == CVR_F16 ? 0x1p-8 : 0x1p-5;
        if (share > most) most = share;
    }
    return most;
}

static int32_t compare(const trial *t, uint32_t i, const float *expected, const float *given, uint64_t n,
                       cvr_error *err) {
    double squares = 0;
    for (uint64_t k = 0; k < n; k++) squares += (double)expected[k] * (double)expected[k];
    const double share = allowed(t->node, t->outputs[i]), rms = sqrt(squares / (double)(n ? n : 1));
    for (uint64_t k = 0; k < n; k++) {
        const double e = (double)expected[k], off = fabs((double)given[k] - e);
        if (off <= share * (fabs(e) + rms)) continue; /* not so for NaN */
        return cvr_fail(err, CVR_ERR_NUMERIC,
                        "it gives %.6g where the device kernel gives %.6g (output %u, %.2g allowed)", (double)given[k],
                        e, i, share * (fabs(e) + rms));
    }
    return CVR_OK;
}

int32_t trial_compare(trial *t, const library_opened *l, const library_candidate *c, cvr_error *err) {
    const cuda_lab *lab = t->place->lab;
    const cvr_host *host = t->place->host;
    work w = {t, l, c};
    double seconds;
    uint64_t at = 0, n = 0;
    float *given = (float *)host->alloc(host, t->n_expected * 4, 64);
    if (!given) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status;
    CVR_TRY_OUT(poison_outputs(t, err));
    CVR_TRY_OUT(lab->run(lab->ctx, enqueue, &w, 1, &seconds, err));
    for (uint32_t i = 0; i < t->node->sig->n_outputs; i++, at += n) {
        CVR_TRY_OUT(sample(t, t->outputs[i], given, &n, err));
        CVR_TRY_OUT(compare(t, i, t->expected + at, given, n, err));
    }
out:
    host->free(host, given);
    return status;
}
