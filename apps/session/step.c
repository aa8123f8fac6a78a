/*
 * One step on a batch. With train.grad_accum = k a training step runs the network k times, on one part of the batch
 * after the other, and adds the gradients up, each with the part's share of the samples; then it applies them. So the
 * batch is the same whatever k is, and for networks without batch statistics so is the step, to rounding; unless the
 * loss is a mean that classes weigh (train.class_weights) or leave samples out of, which each part takes by itself.
 */
#include "session_parts.h"
#include <math.h>

size_t step_keys(const settings *s, int64_t n, cvr_canvas canvas, program_key keys[3]) {
    const int64_t parts = s->train->grad_accum, size = s->train->batch / parts;
    size_t count = 0;
    if (parts == 1) {
        keys[0] = (program_key){.purpose = PROGRAM_TRAIN, .batch = n, .canvas = canvas};
        return 1;
    }
    if (n >= size) keys[count++] = (program_key){.purpose = PROGRAM_ACCUMULATE, .batch = size, .canvas = canvas};
    if (n % size) keys[count++] = (program_key){.purpose = PROGRAM_ACCUMULATE, .batch = n % size, .canvas = canvas};
    keys[count++] = (program_key){.purpose = PROGRAM_APPLY};
    return count;
}

/* ---- losses ---- */

static void clear_losses(step_losses *l) {
    l->total = 0;
    for (size_t i = 0; i < l->n; i++) l->each[i] = 0;
}

/* Of a run whose losses have been read. */
static int32_t add_losses(step_losses *l, const net_program *p, double share, cvr_error *err) {
    l->total += share * net_program_total(p);
    if (p->n_losses < 2) return CVR_OK;
    if (!l->each) l->each = cvr_calloc(p->n_losses, sizeof *l->each);
    if (!l->each) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    l->n = p->n_losses;
    l->names = p->loss_names;
    for (size_t i = 0; i < l->n; i++) l->each[i] += share * net_program_loss(p, i);
    return CVR_OK;
}

/* Waits for all that is under way, also after a failure: pictures that go up are no longer read then. */
static int32_t wait_for(net_program *p, int32_t status, cvr_error *err) {
    const int32_t waited = cvr_program_wait(p->program, status == CVR_OK ? err : NULL);
    return status == CVR_OK ? waited : status;
}

/* ---- parts of a batch ---- */

/* Samples `first` to `first + n` of the batch. */
static int32_t cut(cvr_session *s, const cvr_batch_view *whole, int64_t first, int64_t n, cvr_batch_view *out,
                   cvr_error *err) {
    if (!s->part) s->part = cvr_calloc(whole->n_fields, sizeof *s->part);
    if (!s->part_fields) s->part_fields = cvr_calloc(whole->n_fields, sizeof *s->part_fields);
    if (!s->part || !s->part_fields) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < whole->n_fields; i++) {
        cvr_tensor *t = &s->part[i].tensor;
        s->part[i] = *whole->fields[i];
        s->part_fields[i] = &s->part[i];
        const uint64_t row = (uint64_t)(cvr_numel(t->rank, t->shape) / whole->n) * cvr_dtype_size(t->dtype);
        t->shape[0] = n;
        t->data = (char *)t->data + row * (uint64_t)first;
    }
    *out = (cvr_batch_view){.struct_size = sizeof *out,
                            .n = n,
                            .n_fields = whole->n_fields,
                            .fields = s->part_fields,
                            .origins = whole->origins + first};
    return CVR_OK;
}

/* How many samples the part has that begins with sample `first`. */
static int64_t part_size(const cvr_session *s, const cvr_batch *b, int64_t first) {
    const int64_t size = s->set.train->batch / s->set.train->grad_accum, rest = b->view.n - first;
    return rest < size ? rest : size;
}

static program_key part_key(const cvr_batch *b, int64_t n) {
    return (program_key){.purpose = PROGRAM_ACCUMULATE, .batch = n, .canvas = b->canvas};
}

/* A part is under way, and will be waited for: the one behind it can go up meanwhile. */
static int32_t begin_part(cvr_session *s, const cvr_batch *b, int64_t first, cvr_error *err) {
    cvr_batch_view part;
    if (first >= b->view.n) return CVR_OK;
    const int64_t n = part_size(s, b, first);
    const program_key key = part_key(b, n);
    CVR_TRY(cut(s, &b->view, first, n, &part, err));
    return network_begin_batch(&s->net, &key, &part, err);
}

static int32_t run_part(cvr_session *s, const cvr_batch *b, int64_t first, const net_scalars *at, cvr_error *err) {
    const int64_t n = part_size(s, b, first);
    const program_key key = part_key(b, n);
    const double share = (double)n / (double)b->view.n;
    net_program *p;
    cvr_batch_view part;
    net_scalars scalars = *at;
    scalars.loss_scale *= share;
    CVR_TRY(cut(s, &b->view, first, n, &part, err));
    CVR_TRY(network_program(&s->net, &key, &p, err));
    if (first == 0) p->begun = NULL; /* by a step that failed: all parts have the same list of fields */
    int32_t status = net_program_run(p, &part, &scalars, err);
    if (status == CVR_OK) status = begin_part(s, b, first + n, err);
    if (status == CVR_OK) status = net_program_begin_losses(p, err);
    CVR_TRY(wait_for(p, status, err));
    return add_losses(&s->losses, p, share, err);
}

/* Each part is a step of its own to what is random in the network. */
static int32_t step_in_parts(cvr_session *s, const cvr_batch *b, const net_scalars *at, cvr_error *err) {
    const int64_t parts = s->set.train->grad_accum;
    const program_key apply = {.purpose = PROGRAM_APPLY};
    net_scalars part = *at;
    net_program *p;
    for (int64_t first = 0; first < b->view.n; first += part_size(s, b, first), part.micro_step++) {
        part.step = at->step * parts + part.micro_step;
        CVR_TRY(run_part(s, b, first, &part, err));
    }
    s->vetoed = !isfinite(s->losses.total);
    s->overflowed = false;
    if (s->vetoed) return CVR_OK;
    CVR_TRY(network_program(&s->net, &apply, &p, err));
    CVR_TRY(net_program_run(p, NULL, at, err));
    CVR_TRY(cvr_program_vetoed(p->program, &s->vetoed, err));
    return loss_scale_look(s, p, err);
}

/* The step is under way, and will be waited for: the next batch can go up meanwhile. */
static int32_t begin_next(cvr_session *s, cvr_error *err) {
    cvr_batch next;
    if (!s->ahead || !split_peek(s->ahead, &next)) return CVR_OK;
    const program_key key = {.purpose = PROGRAM_TRAIN, .batch = next.view.n, .canvas = next.canvas};
    return network_begin_batch(&s->net, &key, &next.view, err);
}

static int32_t begin_step(cvr_session *s, net_program *p, const cvr_batch *b, const net_scalars *at, cvr_error *err) {
    CVR_TRY(net_program_run(p, &b->view, at, err));
    CVR_TRY(begin_next(s, err));
    CVR_TRY(net_program_begin_losses(p, err));
    return cvr_program_vetoed(p->program, &s->vetoed, err);
}

/* With one wait, for all that is read of the step and for the uploads: neither this batch nor the next is read any more
 * when this returns, also after a failure. */
static int32_t whole_step(cvr_session *s, const cvr_batch *b, const net_scalars *at, cvr_error *err) {
    const program_key key = {.purpose = PROGRAM_TRAIN, .batch = b->view.n, .canvas = b->canvas};
    net_program *p;
    CVR_TRY(network_program(&s->net, &key, &p, err));
    CVR_TRY(wait_for(p, begin_step(s, p, b, at, err), err));
    CVR_TRY(add_losses(&s->losses, p, 1, err));
    return loss_scale_look(s, p, err);
}

int32_t session_train_step(cvr_session *s, const cvr_batch *b, const net_scalars *at, cvr_error *err) {
    clear_losses(&s->losses);
    return s->set.train->grad_accum > 1 ? step_in_parts(s, b, at, err) : whole_step(s, b, at, err);
}

int32_t session_eval_step(cvr_session *s, int64_t purpose, const cvr_batch *b, net_program **p, double *loss,
                          cvr_error *err) {
    const program_key key = {.purpose = purpose, .batch = b->view.n, .canvas = b->canvas};
    const net_scalars scalars = {.loss_scale = 1, .seed = s->set.run->seed};
    CVR_TRY(network_program(&s->net, &key, p, err));
    CVR_TRY(net_program_run(*p, &b->view, &scalars, err));
    return net_program_losses(*p, loss, err);
}

int32_t cvr_session_step(cvr_session *s, bool training, const cvr_batch *b, int64_t step, double *loss,
                         cvr_error *err) {
    const double scale = loss_scale_of(s, &(const train_state){.step = step});
    const net_scalars at = {.lr = s->set.lr,
                            .loss_scale = scale,
                            .loss_unscale = 1 / scale,
                            .step = step,
                            .updates = step,
                            .seed = s->set.run->seed};
    net_program *p;
    if (!training) return session_eval_step(s, PROGRAM_EVAL, b, &p, loss, err);
    CVR_TRY(session_train_step(s, b, &at, err));
    *loss = s->losses.total;
    return CVR_OK;
}
