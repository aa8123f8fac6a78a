/* cuDNN as a library of choose.c: it opens a device, offers plans for a node by the forms of its op, and runs them. */
#include "cudnn_form_parts.h"
#include "cudnn_plan.h"

typedef struct cudnn {
    library_place place;
    cudnn_target target;
    cudnn_owned description;
    char version[32];
} cudnn;

/* A form with the plan that was made for it. */
typedef struct cudnn_work {
    cudnn_form form;
    cudnn_plan plan;
} cudnn_work;

/* ---- opening ---- */

/* The device as it is told, or a handle for the one whose context is current. */
static int32_t open_target(cudnn *c, cvr_error *err) {
    const char *json = c->place.json;
    cudnn_target *t = &c->target;
    if (!json) return cudnn_check(t->table, t->table->create(&t->handle), "cudnnCreate", err);
    return CUDNN_MAKE(t, &c->description, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &t->described, err,
                      {CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(json), json});
}

static void close_cudnn(void *self) {
    cudnn *c = (cudnn *)self;
    cudnn_release(&c->target, &c->description);
    if (c->target.handle) (void)c->target.table->destroy(c->target.handle);
    c->place.host->free(c->place.host, c);
}

static int32_t open_cudnn(const library_place *place, void **self, cvr_error *err) {
    const cudnn_table *table = cudnn_table_open(err);
    if (!table) return CVR_ERR_NOTFOUND;
    cudnn *c = (cudnn *)place->host->alloc(place->host, sizeof *c, 16);
    if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const size_t v = table->version();
    *c = (cudnn){.place = *place, .target = {.table = table}};
    (void)snprintf(c->version, sizeof c->version, "cudnn %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    const int32_t status = open_target(c, err);
    if (status != CVR_OK) {
        close_cudnn(c);
        return status;
    }
    *self = c;
    return CVR_OK;
}

static const char *version_of(const void *self) {
    return ((const cudnn *)self)->version;
}

/* ---- offers ---- */

static void release_work(void *self, void *plan) {
    cudnn *c = (cudnn *)self;
    cudnn_work *work = (cudnn_work *)plan;
    cudnn_plan_free(&c->target, &work->plan);
    c->place.host->free(c->place.host, work);
}

/* A plan's name begins with the form's number, and says whether it pads, as two forms may have a plan of one name. */
static void name_form(uint32_t number, const cudnn_form *form, char name[32]) {
    (void)snprintf(name, 32, "form %u %s", number, form->pads ? "padded " : "");
}

/* Takes the plan over. */
static int32_t add_work(cudnn *c, const cudnn_form *form, uint32_t number, cudnn_plan *plan, library_offer *out,
                        cvr_error *err) {
    cudnn_work *work = (cudnn_work *)c->place.host->alloc(c->place.host, sizeof *work, 16);
    library_candidate *to = &out->candidates[out->n];
    if (!work) {
        cudnn_plan_free(&c->target, plan);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    *work = (cudnn_work){.form = *form, .plan = *plan};
    to->plan = work;
    to->workspace = form->scratch + plan->workspace;
    char before[32];
    name_form(number, form, before);
    (void)snprintf(to->name, sizeof to->name, "%s%.*s", before, (int)(sizeof to->name - sizeof before), plan->name);
    out->n++;
    return CVR_OK;
}

static int32_t offer_form(cudnn *c, const library_node *node, uint32_t number, uint32_t pads, uint32_t room,
                          library_offer *out, cvr_error *err) {
    const cudnn_op *op = (const cudnn_op *)node->op; /* its first member */
    cudnn_form form = {.pads = pads};
    cudnn_plans plans;
    cvr_error why = CVR_ERROR_INIT;
    op->forms[number](node->sig, &form);
    char before[32];
    name_form(number, &form, before);
    const size_t n = strlen(before);
    if (!form.graph.n_steps || form.scratch >= LIBRARY_WORKSPACE) return CVR_OK;
    if (node->only && strncmp(node->only, before, n) != 0) return CVR_OK;
    const cudnn_wish wish = {.most = LIBRARY_WORKSPACE - form.scratch,
                             .room = room,
                             .only = node->only ? node->only + n : NULL,
                             .tf32 = node->sig->math == CVR_MATH_TF32,
                             .is_f32 = node->sig->inputs[0]->dtype == CVR_F32};
    if (cudnn_plans_make(&c->target, &form.graph, &wish, &plans, &why) != CVR_OK) {
        out->refused++;
        (void)snprintf(out->reason, sizeof out->reason, "%.150s", why.message);
        return CVR_OK;
    }
    out->refused += plans.refused;
    if (plans.refused) memcpy(out->reason, plans.reason, sizeof out->reason);
    int32_t status = CVR_OK;
    for (uint32_t i = 0; i < plans.n; i++) {
        if (status == CVR_OK)
            status = add_work(c, &form, number, &plans.list[i], out, err);
        else
            cudnn_plan_free(&c->target, &plans.list[i]);
    }
    return status;
}

/* The forms, and then those that pad, share the room for candidates, the first ones half of what is left. */
static int32_t offer(void *self, const library_node *node, library_offer *out, cvr_error *err) {
    const cudnn_op *op = (const cudnn_op *)node->op;
    const uint32_t pads = op->pads ? op->pads(node->sig) : 0;
    for (uint32_t padded = 0; padded <= (pads != 0); padded++) {
        for (uint32_t i = 0; op->forms[i]; i++) {
            const uint32_t left = LIBRARY_CANDIDATES - out->n;
            const int last = !op->forms[i + 1] && padded == (pads != 0);
            CVR_TRY(offer_form((cudnn *)self, node, i, padded ? pads : 0, last ? left : left / 2, out, err));
        }
    }
    return CVR_OK;
}

/* ---- running ---- */

static int32_t run_casts(const cudnn_form *f, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    for (uint32_t i = 0; i < f->n_casts; i++) {
        const cvr_tensor *from = a->inputs[f->casts[i].input];
        cvr_tensor to = *from;
        if (from->dtype != f->casts[i].dtype) {
            to.dtype = f->casts[i].dtype;
            to.data = (char *)a->workspace + f->casts[i].at;
            CVR_TRY(library_cast(from, &to, r, err));
        }
        if (!(f->pads >> f->casts[i].input & 1)) continue;
        cvr_tensor padded = form_padded(&to);
        padded.data = (char *)a->workspace + f->casts[i].padded;
        CVR_TRY(library_fit_channels(&to, &padded, r, err));
    }
    return CVR_OK;
}

static void *address_of(const cudnn_tensor *t, const cvr_kernel_args *a) {
    switch (t->place) {
    case CUDNN_AT_INPUT: return a->inputs[t->at]->data;
    case CUDNN_AT_OUTPUT: return a->outputs[t->at]->data;
    case CUDNN_AT_SCRATCH: return (char *)a->workspace + t->at;
    default: return NULL;
    }
}

static int32_t enqueue(void *self, void *plan, const cvr_kernel_args *a, void *stream, cvr_error *err) {
    const cudnn *c = (const cudnn *)self;
    const cudnn_work *work = (const cudnn_work *)plan;
    const cudnn_form *f = &work->form;
    const cuda_lab *lab = c->place.lab;
    void *addresses[CUDNN_GRAPH_TENSORS];
    if (!lab) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "the device is only described");
    const cvr_recorder *r = lab->recorder(lab->ctx, stream);
    for (uint32_t i = 0; i < f->graph.n_tensors; i++) addresses[i] = address_of(&f->graph.tensors[i], a);
    CVR_TRY(run_casts(f, a, r, err));
    if (f->before) CVR_TRY(f->before(f, a, r, err));
    CVR_TRY(cudnn_plan_enqueue(&c->target, &work->plan, &f->graph, addresses, (char *)a->workspace + f->scratch, stream,
                               err));
    return f->after ? f->after(f, a, r, err) : CVR_OK;
}

const library_desc cudnn_library = {.name = "cudnn",
                                    .open = open_cudnn,
                                    .close = close_cudnn,
                                    .version = version_of,
                                    .offer = offer,
                                    .release = release_work,
                                    .enqueue = enqueue};
