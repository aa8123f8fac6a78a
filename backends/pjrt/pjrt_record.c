/*
 * Recordings: a program with the addresses that its inputs come from and its outputs go to. A replay takes what lies at
 * these addresses when it is called, so that whatever is uploaded afterwards is for the next one.
 */
#include "pjrt_device.h"

typedef struct pjrt_recording {
    pjrt_trace trace; /* its slots: the text has been compiled */
    pjrt_program *program;
    PJRT_Buffer **arguments, **results;
    int64_t *shared; /* arguments that others use as well: their buffers are not given away */
} pjrt_recording;

static void *zeroed(const cvr_host *host, uint64_t n, uint64_t size) {
    void *p = host->alloc(host, n * size + 1, 64);
    if (p) memset(p, 0, n * size + 1);
    return p;
}

int32_t pjrt_record(pjrt_device *d, const cvr_record_request *request, void **recording, cvr_error *err) {
    pjrt_recording *r = (pjrt_recording *)zeroed(d->host, 1, sizeof *r);
    int32_t status;
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY_OUT(pjrt_trace_make(d, request, &r->trace, err));
    r->arguments = (PJRT_Buffer **)zeroed(d->host, r->trace.n_inputs, sizeof *r->arguments);
    r->results = (PJRT_Buffer **)zeroed(d->host, r->trace.n_outputs, sizeof *r->results);
    r->shared = (int64_t *)zeroed(d->host, r->trace.n_inputs, sizeof *r->shared);
    if (!r->arguments || !r->results || !r->shared) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (r->trace.n_outputs) CVR_TRY_OUT(pjrt_program_get(d, &r->trace, &r->program, err));
    pjrt_trace_drop_text(&r->trace);
    *recording = r;
out:
    if (status != CVR_OK) pjrt_discard(d, r);
    return status;
}

void pjrt_discard(pjrt_device *d, void *recording) {
    pjrt_recording *r = (pjrt_recording *)recording;
    pjrt_program_release(d, r->program);
    if (r->trace.host) pjrt_trace_clear(&r->trace);
    d->host->free(d->host, (void *)r->arguments);
    d->host->free(d->host, (void *)r->results);
    d->host->free(d->host, r->shared);
    d->host->free(d->host, r);
}

/* ---- tickets ---- */

/* The oldest thing that is under way. What fails is remembered: nothing after it is right. */
static void finish_oldest(pjrt_device *d) {
    cvr_error why = CVR_ERROR_INIT;
    const int32_t status = pjrt_await(d, d->pending[0].event, "a step", &why);
    if (status != CVR_OK && d->failed.code == CVR_OK) d->failed = why;
    d->n_pending--;
    memmove(d->pending, d->pending + 1, d->n_pending * sizeof *d->pending);
}

int32_t pjrt_wait(pjrt_device *d, uint64_t ticket, cvr_error *err) {
    while (d->n_pending && d->pending[0].ticket <= ticket) finish_oldest(d);
    if (ticket > d->issued)
        return cvr_fail(err, CVR_ERR_INVALID, "pjrt: nobody has been given the ticket %llu",
                        (unsigned long long)ticket);
    if (d->failed.code == CVR_OK) return CVR_OK;
    if (err) *err = d->failed;
    return d->failed.code;
}

/* ---- running ---- */

static int32_t take_arguments(pjrt_device *d, pjrt_recording *r, uint64_t *n_shared, cvr_error *err) {
    *n_shared = 0;
    for (uint64_t i = 0; i < r->trace.n_inputs; i++) {
        const pjrt_slot *s = &r->trace.inputs[i];
        pjrt_value *v;
        CVR_TRY(pjrt_fetch(d, s->address, s->bytes, s->dtype, &v, err));
        r->arguments[i] = v->buffer;
        if (s->alias && v->refs > 1) r->shared[(*n_shared)++] = (int64_t)i;
    }
    return CVR_OK;
}

static int32_t execute(pjrt_device *d, pjrt_recording *r, uint64_t n_shared, PJRT_Event **event, cvr_error *err) {
    PJRT_Buffer *const *arguments = r->arguments;
    PJRT_Buffer **results = r->results;
    PJRT_ExecuteOptions options = {.struct_size = PJRT_ExecuteOptions_STRUCT_SIZE,
                                   .non_donatable_input_indices = r->shared,
                                   .num_non_donatable_input_indices = n_shared};
    PJRT_ARGS(PJRT_LoadedExecutable_Execute, e, .executable = r->program->executable, .options = &options,
              .argument_lists = &arguments, .num_devices = 1, .num_args = r->trace.n_inputs, .output_lists = &results,
              .device_complete_events = event, .execute_device = d->device);
    memset((void *)results, 0, r->trace.n_outputs * sizeof *results);
    return pjrt_check(&d->plugin, d->plugin.api->PJRT_LoadedExecutable_Execute(&e), "a step", err);
}

static int32_t check_results(const pjrt_device *d, const pjrt_recording *r, cvr_error *err) {
    for (uint64_t i = 0; i < r->trace.n_outputs; i++)
        if (!r->results[i])
            return cvr_fail(err, CVR_ERR_PLUGIN, "pjrt: %s: a step gives no buffer for result %llu of %llu",
                            d->plugin.file, (unsigned long long)i, (unsigned long long)r->trace.n_outputs);
    return CVR_OK;
}

/* What it wrote is unknown but for what is kept. Every buffer finds a place, or is freed. */
static int32_t place_results(pjrt_device *d, pjrt_recording *r, cvr_error *err) {
    int32_t status = CVR_OK;
    for (uint64_t i = 0; i < r->trace.n_written; i++) {
        const int32_t here = pjrt_drop(d, r->trace.written[i].address, r->trace.written[i].bytes, err);
        if (status == CVR_OK) status = here;
    }
    for (uint64_t i = 0; i < r->trace.n_outputs; i++) {
        const pjrt_slot *s = &r->trace.outputs[i];
        if (!r->results[i]) continue;
        const int32_t here = pjrt_put(d, s->address, s->bytes, s->dtype, r->results[i], err);
        if (status == CVR_OK) status = here;
    }
    return status;
}

int32_t pjrt_replay(pjrt_device *d, void *recording, uint64_t *ticket, cvr_error *err) {
    pjrt_recording *r = (pjrt_recording *)recording;
    PJRT_Event *event = NULL;
    uint64_t n_shared;
    *ticket = 0;
    if (!r->program) return CVR_OK; /* nothing of it is ever read */
    if (d->failed.code != CVR_OK) return pjrt_wait(d, d->issued, err);
    if (d->n_pending == PJRT_PENDING) finish_oldest(d);
    CVR_TRY(take_arguments(d, r, &n_shared, err));
    CVR_TRY(execute(d, r, n_shared, &event, err));
    d->pending[d->n_pending++] = (pjrt_pending){++d->issued, event};
    *ticket = d->issued;
    CVR_TRY(place_results(d, r, err));
    return check_results(d, r, err);
}
