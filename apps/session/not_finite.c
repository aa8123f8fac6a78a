/*
 * A step whose loss is not a finite number. Its update was left out, as every training program is guarded by its loss,
 * so that the weights are those from before the step. train.on_nan = fail ends the run, names the batch's samples and,
 * by running the step once more on a checked device, the first node that made what is not finite. train.on_nan = skip
 * goes on with the next batch, without what batch norms have gathered of this one; three in a row end the run as well.
 */
#include "trainer.h"
#include <cvr/check.h>
#include <math.h>

#define MOST_IN_A_ROW 3

/* ---- running statistics ---- */

static bool is_gathered(const cvr_store_entry *e) {
    return e->role == CVR_STORE_BUFFER && (!*e->network || e->network_trains);
}

int32_t not_finite_keep(trainer *t, cvr_error *err) {
    cvr_store *store = t->s->net.store;
    uint64_t bytes = 0, at = 0;
    if (t->s->set.train->on_nan != ON_NAN_SKIP) return CVR_OK;
    for (size_t i = 0; !t->gathered && i < cvr_store_count(store); i++)
        if (is_gathered(cvr_store_get(store, i))) bytes += cvr_store_get(store, i)->bytes;
    if (!t->gathered) t->gathered = cvr_alloc_aligned(bytes + 8, 64);
    if (!t->gathered) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < cvr_store_count(store); i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        if (!is_gathered(e)) continue;
        CVR_TRY(cvr_store_read(store, i, t->gathered + at, err));
        at += e->bytes;
    }
    return CVR_OK;
}

static int32_t give_back(trainer *t, cvr_error *err) {
    cvr_store *store = t->s->net.store;
    uint64_t at = 0;
    for (size_t i = 0; i < cvr_store_count(store); i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        if (!is_gathered(e)) continue;
        CVR_TRY(cvr_store_write(store, i, t->gathered + at, err));
        at += e->bytes;
    }
    return CVR_OK;
}

/* ---- what is said ---- */

static void name_samples(const trainer *t, const cvr_batch_view *b, char *to, size_t size) {
    const split *sp = &t->s->data.splits[CVR_SPLIT_TRAIN];
    size_t n = 0;
    *to = '\0';
    for (int64_t i = 0; i < b->n && i < 6 && n < size; i++) {
        char one[512];
        CVR_CALL_VOID(sp->desc, describe, NULL, sp->self, b->origins[i]->index, one, sizeof one);
        n += (size_t)snprintf(to + n, size - n, "%s%.100s", i ? ", " : "", one);
    }
    if (b->n > 6 && n < size) (void)snprintf(to + n, size - n, ", ...");
}

/* Any element type; out of memory is no finding. */
static bool all_finite(uint32_t dtype, const void *data, int64_t n) {
    float *values = cvr_alloc_aligned((uint64_t)n * sizeof *values + 8, 64);
    const bool known = values && weights_cast(CVR_F32, values, dtype, data, n),
               finite = !known || weights_finite(CVR_F32, values, n);
    cvr_free(values);
    return finite;
}

static bool entry_finite(cvr_store *store, size_t i) {
    const cvr_store_entry *e = cvr_store_get(store, i);
    cvr_error ignored = CVR_ERROR_INIT;
    void *data = cvr_alloc_aligned(e->bytes + 8, 64);
    const bool finite = !data || cvr_store_read(store, i, data, &ignored) != CVR_OK ||
                        all_finite(e->type.dtype, data, cvr_numel(e->type.rank, e->type.shape));
    cvr_free(data);
    return finite;
}

/* Where no node made it first: what the step read was not finite already. Parameters before statistics, since those of
 * layers that are trained are this step's own by now. */
static void find_before(trainer *t, const cvr_batch *b, char *to, size_t size) {
    cvr_store *store = t->s->net.store;
    const cvr_named_tensor *f = cvr_batch_find(&b->view, FEATURES);
    if (f && !all_finite(f->tensor.dtype, f->tensor.data, cvr_numel(f->tensor.rank, f->tensor.shape))) {
        (void)snprintf(to, size, "the features that the probe's backbone makes are not finite; look at its weights");
        return;
    }
    for (int buffers = 0; buffers < 2; buffers++)
        for (size_t i = 0; i < cvr_store_count(store); i++) {
            const cvr_store_entry *e = cvr_store_get(store, i);
            if (e->role > CVR_STORE_BUFFER || (e->role == CVR_STORE_BUFFER) != (buffers == 1) || *e->network) continue;
            if (entry_finite(store, i)) continue;
            (void)snprintf(to, size, "`%.200s` was not finite before this step; look at the weights that it began with",
                           e->name);
            return;
        }
}

/* Why a checked device would not go on with the same step, or what was not finite before it. */
static void find_origin(trainer *t, const cvr_batch *b, const net_scalars *at, char *to, size_t size) {
    run_network *n = &t->s->net;
    cvr_error found = CVR_ERROR_INIT, ignored = CVR_ERROR_INIT;
    (void)snprintf(to, size, "no node of the network could be found that made it first");
    find_before(t, b, to, size);
    network_unbind(n);
    if (cvr_check_device(n->device, t->s->plugins, CVR_CHECK_NAN, &ignored) == CVR_OK) {
        if (network_bind_again(n, &ignored) == CVR_OK && session_train_step(t->s, b, at, &found) != CVR_OK)
            (void)snprintf(to, size, "it began here: %.400s", found.message);
        network_unbind(n);
        cvr_uncheck_device(n->device);
    }
    (void)network_bind_again(n, &ignored);
}

static int32_t stop(trainer *t, const cvr_batch *b, const net_scalars *at, cvr_error *err) {
    char names[700], origin[460];
    const bool nan = isnan(t->s->losses.total);
    name_samples(t, &b->view, names, sizeof names);
    find_origin(t, b, at, origin, sizeof origin);
    return cvr_fail(err, CVR_ERR_NUMERIC,
                    "the loss is %s at step %lld (epoch %lld)%s; %s; lower optim.lr, or look at this batch's %lld "
                    "samples: %s",
                    nan ? "not a number" : "infinite", (long long)t->state.step + 1, (long long)t->state.epoch + 1,
                    t->in_a_row > 1 ? ", as it was in the steps before" : "", origin, (long long)b->view.n, names);
}

int32_t not_finite(trainer *t, const cvr_batch *b, const net_scalars *at, cvr_error *err) {
    char names[700];
    t->in_a_row++;
    if (t->s->set.train->on_nan != ON_NAN_SKIP || t->in_a_row >= MOST_IN_A_ROW) return stop(t, b, at, err);
    name_samples(t, &b->view, names, sizeof names);
    cvr_log(CVR_LOG_WARNING, "the loss is not finite at step %lld; its update is left out (train.on_nan): %s",
            (long long)t->state.step + 1, names);
    return give_back(t, err);
}
