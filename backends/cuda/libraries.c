/*
 * The devices that are open, with their libraries and the plans of their nodes; and the kernels, which look up the plan
 * of their node. See libraries.h.
 */
#include "../host/host_grow.h"
#include "library_kernels.h"

#include <pthread.h>

#define LIBRARIES 4u

/* What was settled for a node. */
typedef struct settled {
    char *key; /* and library */
    library_choice choice;
    const library_opened *by;
} settled;

typedef struct opened_device {
    struct opened_device *next;
    library_place place;
    library_opened libraries[LIBRARIES];
    uint32_t n_libraries, reserved;
    settled *nodes;
    uint64_t n_nodes, room;
} opened_device;

static opened_device *devices;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- devices ---- */

/* Told once per device: which libraries compute, or why one does not. */
static void open_library(opened_device *d, const library_desc *library) {
    const cvr_host *host = d->place.host;
    cvr_error err = CVR_ERROR_INIT;
    char line[1400];
    void *self;
    if (library->open(&d->place, &self, &err) == CVR_OK) {
        d->libraries[d->n_libraries++] = (library_opened){library, self, &d->place};
        return;
    }
    (void)snprintf(line, sizeof line, "cuda: %s is not used, device kernels compute instead: %.1000s", library->name,
                   err.message);
    host->log(host, CVR_LOG_WARNING, line);
}

static int32_t open_device(const library_place *place, cvr_error *err) {
    opened_device *d = (opened_device *)place->host->alloc(place->host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *d = (opened_device){.place = *place};
    for (const library_desc *const *l = library_all; *l; l++) open_library(d, *l);
    (void)pthread_mutex_lock(&lock);
    d->next = devices;
    devices = d;
    (void)pthread_mutex_unlock(&lock);
    return CVR_OK;
}

int32_t cuda_libraries_open(const cvr_host *host, const cvr_device_info *info, const cuda_lab *lab, cvr_error *err) {
    return open_device(&(const library_place){host, info, NULL, lab}, err);
}

int32_t cuda_libraries_describe(const cvr_host *host, const cvr_device_info *info, const char *json, cvr_error *err) {
    return open_device(&(const library_place){host, info, json, NULL}, err);
}

static void close_device(opened_device *d) {
    const cvr_host *host = d->place.host;
    for (uint64_t i = 0; i < d->n_nodes; i++) {
        const settled *s = &d->nodes[i];
        if (s->choice.candidate.plan) s->by->library->release(s->by->self, s->choice.candidate.plan);
        host->free(host, s->key);
    }
    for (uint32_t i = 0; i < d->n_libraries; i++) d->libraries[i].library->close(d->libraries[i].self);
    host->free(host, d->nodes);
    host->free(host, d);
}

void cuda_libraries_close(const cvr_device_info *info) {
    (void)pthread_mutex_lock(&lock);
    opened_device **at = &devices;
    while (*at && (*at)->place.info != info) at = &(*at)->next;
    opened_device *d = *at;
    if (d) *at = d->next;
    (void)pthread_mutex_unlock(&lock);
    if (d) close_device(d);
}

static opened_device *find_device(const cvr_device_info *info) {
    opened_device *d = devices;
    while (d && d->place.info != info) d = d->next;
    return d;
}

static const library_opened *find_library(const opened_device *d, const library_desc *library) {
    for (uint32_t i = 0; i < d->n_libraries; i++)
        if (d->libraries[i].library == library) return &d->libraries[i];
    return NULL;
}

/* ---- nodes ---- */

/* Behind the others; it counts once its choice is made. */
static settled *add_node(opened_device *d, const char *key, cvr_error *err) {
    const cvr_host *host = d->place.host;
    const size_t n = strlen(key) + 1;
    settled *more = (settled *)host_grow(host, d->nodes, d->n_nodes, &d->room, sizeof *more);
    if (more) d->nodes = more;
    char *copy = more ? (char *)host->alloc(host, n, 16) : NULL;
    if (!copy) {
        (void)cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        return NULL;
    }
    memcpy(copy, key, n);
    more[d->n_nodes] = (settled){.key = copy};
    return &more[d->n_nodes];
}

/* With the lock held. NULL with an error where nothing can be settled. */
static const settled *settle(opened_device *d, const library_node *node, cvr_error *err) {
    char key[LIBRARY_KEY];
    const library_opened *by = find_library(d, node->op->library);
    if (!by) {
        (void)cvr_fail(err, CVR_ERR_UNSUPPORTED, "%s is not used on this device", node->op->library->name);
        return NULL;
    }
    library_key(node, key);
    for (uint64_t i = 0; i < d->n_nodes; i++)
        if (strcmp(d->nodes[i].key, key) == 0 && d->nodes[i].by == by) return &d->nodes[i];
    settled *s = add_node(d, key, err);
    if (!s) return NULL;
    s->by = by;
    if (library_choose(by, node, &s->choice, err) == CVR_OK) {
        d->n_nodes++;
        return s;
    }
    d->place.host->free(d->place.host, s->key);
    return NULL;
}

static const settled *look_up(const library_node *node, cvr_error *err) {
    opened_device *d = find_device(node->sig->device);
    if (d) return settle(d, node, err);
    (void)cvr_fail(err, CVR_ERR_UNSUPPORTED, "no library is open on this device");
    return NULL;
}

/* ---- the kernels' callbacks ---- */

/* Whether a kernel is none for the node's math: where tf32 was not asked for, or there is no f32 to round. */
static int is_other_math(const library_kernel *k, const cvr_signature *sig) {
    return k->math == CVR_MATH_TF32 && (sig->math != CVR_MATH_TF32 || sig->inputs[0]->dtype != CVR_F32);
}

/* What the op is asked with: the kernel's own math. */
static cvr_signature asked(const library_kernel *k, const cvr_signature *sig) {
    cvr_signature s = *sig;
    s.math = k->math;
    return s;
}

int32_t library_supports(const library_kernel *k, const cvr_signature *sig, cvr_error *reason) {
    if (!sig->device) return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "it runs on a GPU alone");
    if (is_other_math(k, sig)) return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "it is for f32 in tf32");
    CVR_TRY(k->op->takes(sig, reason));
    const cvr_signature s = asked(k, sig);
    (void)pthread_mutex_lock(&lock);
    const settled *found = look_up(&(const library_node){k->op, &s, NULL}, reason);
    int32_t status = found ? CVR_OK : CVR_ERR_UNSUPPORTED;
    if (found && !found->choice.candidate.plan)
        status = cvr_fail(reason, CVR_ERR_UNSUPPORTED, "%s", found->choice.reason);
    (void)pthread_mutex_unlock(&lock);
    return status;
}

uint64_t library_workspace(const library_kernel *k, const cvr_signature *sig) {
    const cvr_signature s = asked(k, sig);
    (void)pthread_mutex_lock(&lock);
    const settled *found = look_up(&(const library_node){k->op, &s, NULL}, NULL);
    const uint64_t bytes = found ? found->choice.candidate.workspace : 0;
    (void)pthread_mutex_unlock(&lock);
    return bytes;
}

int32_t library_launch(const library_kernel *k, const cvr_kernel_args *a, void *stream, cvr_error *err) {
    const cvr_signature s = {.struct_size = sizeof s,
                             .attrs = a->attrs,
                             .inputs = a->inputs,
                             .outputs = (const cvr_tensor *const *)a->outputs,
                             .n_inputs = a->n_inputs,
                             .n_outputs = a->n_outputs,
                             .n_workers = 1,
                             .math = k->math,
                             .device = a->device};
    (void)pthread_mutex_lock(&lock);
    const settled *found = look_up(&(const library_node){k->op, &s, NULL}, err);
    const library_opened *by = found ? found->by : NULL;
    void *plan = found ? found->choice.candidate.plan : NULL;
    if (found && !plan) (void)cvr_fail(err, CVR_ERR_UNSUPPORTED, "%.300s", found->choice.reason);
    (void)pthread_mutex_unlock(&lock); /* nodes that others settle may move `found` from here on */
    return plan ? by->library->enqueue(by->self, plan, a, stream, err) : CVR_ERR_UNSUPPORTED;
}

int32_t cuda_libraries_add_kernels(const cvr_registrar *r, cvr_error *err) {
    for (const library_kernels *k = library_all_kernels; k->n; k++)
        for (uint32_t i = 0; i < k->n; i++) CVR_TRY(r->add(r, CVR_KIND_KERNEL, &k->list[i], err));
    return CVR_OK;
}
