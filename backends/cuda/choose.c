/* See choose.h. */
#include "choose.h"

#include "trial.h"

#define OWN "device kernel" /* the choice of no plan, in the tuning */

/* ---- the key ---- */

static void add_text(char *text, const char *format, ...) CVR_PRINTF(2, 3);
static void add_text(char *text, const char *format, ...) {
    const size_t n = strlen(text);
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text + n, LIBRARY_KEY - n, format, ap);
    va_end(ap);
}

static void add_tensor(char *text, const char *before, const cvr_tensor *t) {
    add_text(text, "%s", before);
    if (!t) {
        add_text(text, "-");
        return;
    }
    add_text(text, "%s", cvr_dtype_name(t->dtype));
    for (uint32_t i = 0; i < t->rank; i++) add_text(text, "%c%lld", i ? 'x' : ' ', (long long)t->shape[i]);
}

void library_key(const library_node *node, char text[LIBRARY_KEY]) {
    const cvr_signature *sig = node->sig;
    (void)snprintf(text, LIBRARY_KEY, "%s", node->op->op);
    for (uint32_t i = 0; i < sig->n_inputs; i++) add_tensor(text, i ? ", " : " of ", sig->inputs[i]);
    for (uint32_t i = 0; i < sig->n_outputs; i++) add_tensor(text, i ? ", " : " to ", sig->outputs[i]);
    for (uint64_t i = 0; i < node->op->attrs_size; i += 8) { /* attributes are numbers of 8 bytes */
        uint64_t word;
        memcpy(&word, (const char *)sig->attrs + i, sizeof word);
        add_text(text, "%s%llx", i ? "," : ", attributes ", (unsigned long long)word);
    }
    add_text(text, ", math %u", sig->math);
}

/* ---- what is kept ---- */

static const cvr_tuning_service *tuning_of(const library_opened *l) {
    return (const cvr_tuning_service *)l->place->host->get(l->place->host, CVR_SERVICE_TUNING);
}

static void tuning_key(const library_opened *l, const library_node *node, char key[1000]) {
    char text[LIBRARY_KEY];
    const cvr_device_info *d = l->place->info;
    library_key(node, text);
    (void)snprintf(key, 1000, "cuda/%.60s/%.30s/%.32s/%.850s", d->name, d->driver, l->library->version(l->self), text);
}

static void keep(const library_opened *l, const char *key, const char *choice) {
    const cvr_tuning_service *s = tuning_of(l);
    cvr_error err = CVR_ERROR_INIT;
    char line[1400];
    if (!s || s->put(s, key, choice, &err) == CVR_OK) return;
    (void)snprintf(line, sizeof line, "cuda: the choice of a plan is not kept: %.1000s", err.message);
    l->place->host->log(l->place->host, CVR_LOG_WARNING, line);
}

/* ---- the candidates ---- */

/* All but one of them go; that one becomes the choice. `which` may be n: none. */
static void take(const library_opened *l, library_offer *offer, uint32_t which, library_choice *out) {
    for (uint32_t i = 0; i < offer->n; i++) {
        if (i == which)
            out->candidate = offer->candidates[i];
        else
            l->library->release(l->self, offer->candidates[i].plan);
    }
    offer->n = 0;
}

/* The kept choice, which alone is made. *taken: 0 where there is none, or the library offers it no more. */
static int32_t take_kept(const library_opened *l, const library_node *node, const char *key, library_choice *out,
                         int *taken, cvr_error *err) {
    const cvr_tuning_service *s = tuning_of(l);
    const char *choice = s ? s->get(s, key) : NULL;
    library_offer offer = {.n = 0};
    *taken = choice && strcmp(choice, OWN) == 0;
    if (*taken) (void)snprintf(out->reason, sizeof out->reason, "the device kernel was chosen by an earlier trial");
    if (!choice || *taken) return CVR_OK;
    const library_node one = {node->op, node->sig, choice};
    const int32_t status = l->library->offer(l->self, &one, &offer, err);
    *taken = status == CVR_OK && offer.n;
    take(l, &offer, *taken ? 0 : offer.n, out);
    return status;
}

/* ---- the trial ---- */

typedef struct timing {
    double seconds;
    uint32_t which, reserved;
} timing;

static void say(const library_opened *l, const library_node *node, uint32_t level, const char *plan, const char *what) {
    char line[2000], text[LIBRARY_KEY];
    library_key(node, text);
    (void)snprintf(line, sizeof line, "cuda: %s plan `%.150s` %.600s for %.800s", l->library->name, plan, what, text);
    l->place->host->log(l->place->host, level, line);
}

static void say_unused(const library_opened *l, const library_node *node, const library_candidate *c, const char *why) {
    char what[640];
    (void)snprintf(what, sizeof what, "is not used (%.600s)", why);
    say(l, node, CVR_LOG_WARNING, c->name, what);
}

static int is_fatal(int32_t status) {
    return status == CVR_ERR_DEVICE;
}

/* Times all plans; those that do not run are left out, which is said. Fastest first. */
static int32_t time_all(trial *t, const library_opened *l, const library_offer *offer, timing *times, uint32_t *n,
                        cvr_error *err) {
    *n = 0;
    for (uint32_t i = 0; i < offer->n; i++) {
        double seconds;
        const int32_t status = trial_time(t, l, &offer->candidates[i], &seconds, err);
        if (status != CVR_OK) say_unused(l, t->node, &offer->candidates[i], err->message);
        if (is_fatal(status)) return status;
        if (status != CVR_OK) continue;
        uint32_t at = (*n)++;
        for (; at > 0 && times[at - 1].seconds > seconds; at--) times[at] = times[at - 1];
        times[at] = (timing){seconds, i, 0};
    }
    return CVR_OK;
}

/* The fastest plan that agrees with the device kernel, or offer->n with the reason. */
static int32_t try_all(trial *t, const library_opened *l, const library_offer *offer, uint32_t *which,
                       library_choice *out, cvr_error *err) {
    timing times[LIBRARY_CANDIDATES];
    double own;
    uint32_t n;
    *which = offer->n;
    CVR_TRY(trial_plain(t, &own, err));
    CVR_TRY(time_all(t, l, offer, times, &n, err));
    (void)snprintf(out->reason, sizeof out->reason, "no plan ran as the device kernel does");
    for (uint32_t i = 0; i < n && *which == offer->n; i++) {
        if (times[i].seconds >= own) {
            (void)snprintf(out->reason, sizeof out->reason, "the device kernel takes %.3f ms, %s %.3f ms", own * 1e3,
                           l->library->name, times[i].seconds * 1e3);
            break;
        }
        const int32_t status = trial_compare(t, l, &offer->candidates[times[i].which], err);
        if (status == CVR_OK) {
            char what[100];
            (void)snprintf(what, sizeof what, "takes %.3f ms, the device kernel %.3f ms", times[i].seconds * 1e3,
                           own * 1e3);
            say(l, t->node, CVR_LOG_DEBUG, offer->candidates[times[i].which].name, what);
            *which = times[i].which;
        } else {
            say_unused(l, t->node, &offer->candidates[times[i].which], err->message);
            if (is_fatal(status)) return status;
        }
    }
    return CVR_OK;
}

static uint64_t most_workspace(const library_node *node, const library_offer *offer) {
    uint64_t most = node->op->plain_workspace(node->op, node->sig);
    for (uint32_t i = 0; i < offer->n; i++)
        if (offer->candidates[i].workspace > most) most = offer->candidates[i].workspace;
    return most;
}

/* What was not tried is not used, and not kept either: memory may be there the next time. */
static int32_t take_best(const library_opened *l, const library_node *node, const char *key, library_offer *offer,
                         library_choice *out, cvr_error *err) {
    trial t;
    uint32_t which = offer->n;
    int32_t status = trial_open(&t, l->place, node, most_workspace(node, offer), err);
    if (status == CVR_OK) status = try_all(&t, l, offer, &which, out, err);
    trial_close(&t);
    if (status == CVR_OK) {
        keep(l, key, which < offer->n ? offer->candidates[which].name : OWN);
    } else if (!is_fatal(status)) {
        (void)snprintf(out->reason, sizeof out->reason, "could not be tried: %.280s", err->message);
        status = CVR_OK;
    }
    take(l, offer, which, out);
    return status;
}

int32_t library_choose(const library_opened *l, const library_node *node, library_choice *out, cvr_error *err) {
    library_offer offer = {.n = 0};
    char key[1000];
    int taken;
    *out = (library_choice){.candidate = {.plan = NULL}};
    tuning_key(l, node, key);
    CVR_TRY(take_kept(l, node, key, out, &taken, err));
    if (taken) return CVR_OK;
    const int32_t status = l->library->offer(l->self, node, &offer, err);
    if (status != CVR_OK) {
        take(l, &offer, offer.n, out);
        return status;
    }
    if (offer.n == 0) {
        (void)snprintf(out->reason, sizeof out->reason, "%s offers no plan (%u refused%s%.150s)", l->library->name,
                       offer.refused, *offer.reason ? ", the last: " : "", offer.reason);
        return CVR_OK;
    }
    if (l->place->lab) return take_best(l, node, key, &offer, out, err);
    take(l, &offer, 0, out);
    return CVR_OK;
}
