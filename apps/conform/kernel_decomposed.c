/* An op's meaning in other ops, computed by the reference backend. Inputs that the op updates are stored, as those of a
 * program are; the rest are its inputs. */
#include "kernel_check.h"

typedef struct decomposed {
    cvr_store *store;
    cvr_graph *graph;
    cvr_program *program;
    cvr_arena *arena;
    cvr_value inputs[CVR_MAX_IO], outputs[CVR_MAX_IO];
} decomposed;

static cvr_type type_of(const cvr_tensor *t) {
    cvr_type type;
    cvr_type_set(&type, t->dtype, t->rank, t->shape);
    memcpy(type.order, t->order, sizeof type.order);
    return type;
}

static bool is_updated(const cvr_op_desc *op, uint32_t input) {
    return input < 64 && op->mutates >> input & 1;
}

static int32_t build(decomposed *d, const cvr_op_desc *op, const cvr_kernel_args *a, cvr_error *err) {
    char name[32];
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        if (!a->inputs[i]) continue;
        const cvr_type type = type_of(a->inputs[i]);
        (void)snprintf(name, sizeof name, "in%u", i);
        if (is_updated(op, i))
            CVR_TRY(case_stored_input(cvr_graph_builder(d->graph), name, &type, &d->inputs[i], err));
        else
            CVR_TRY(cvr_graph_input(d->graph, name, &type, &d->inputs[i], err));
    }
    cvr_decompose_args args = {sizeof args, a->attrs, d->inputs, d->outputs, a->n_inputs, a->n_outputs};
    CVR_TRY(op->decompose(cvr_graph_builder(d->graph), &args, err));
    for (uint32_t i = 0; i < a->n_outputs; i++) {
        (void)snprintf(name, sizeof name, "out%u", i);
        CVR_TRY(cvr_graph_output(d->graph, name, d->outputs[i], err));
    }
    return CVR_OK;
}

/* Stored inputs begin as the launch has them. */
static int32_t write_stored(const decomposed *d, const cvr_op_desc *op, const cvr_kernel_args *a, cvr_error *err) {
    char name[32];
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        if (!a->inputs[i] || !is_updated(op, i)) continue;
        (void)snprintf(name, sizeof name, "in%u", i);
        CVR_TRY(cvr_store_write(d->store, (size_t)cvr_store_find(d->store, name), a->inputs[i]->data, err));
    }
    return CVR_OK;
}

static int32_t compute(decomposed *d, const case_machine *m, const cvr_op_desc *op, const cvr_kernel_args *a,
                       cvr_error *err) {
    char name[32];
    CVR_TRY(cvr_store_place(d->store, m->device, err));
    CVR_TRY(write_stored(d, op, a, err));
    CVR_TRY(cvr_program_plan(&d->program, d->graph, m->device, m->pool, CVR_FALLBACK_ALLOW, err));
    CVR_TRY(cvr_arena_create(&d->arena, m->device, &d->program, 1, 0, err));
    CVR_TRY(cvr_program_bind(d->program, d->arena, err));
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        (void)snprintf(name, sizeof name, "in%u", i);
        const int32_t slot = a->inputs[i] && !is_updated(op, i) ? cvr_program_slot(d->program, name) : -1;
        if (slot >= 0) CVR_TRY(cvr_program_write(d->program, slot, a->inputs[i]->data, err));
    }
    return cvr_program_run(d->program, err);
}

static int32_t make_room(kernel_results *out, uint32_t at, const cvr_type *t, cvr_error *err) {
    out->bytes[at] = case_bytes(t);
    out->dtype[at] = t->dtype;
    out->data[at] = cvr_alloc_aligned(out->bytes[at] + 1, 8);
    return out->data[at] ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int32_t read_results(const decomposed *d, const cvr_op_desc *op, const cvr_kernel_args *a, kernel_results *out,
                            cvr_error *err) {
    char name[32];
    out->n = a->n_inputs + a->n_outputs;
    out->n_inputs = a->n_inputs;
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        if (!a->inputs[i] || !is_updated(op, i)) continue;
        const cvr_type type = type_of(a->inputs[i]);
        (void)snprintf(name, sizeof name, "in%u", i);
        CVR_TRY(make_room(out, i, &type, err));
        CVR_TRY(cvr_store_read(d->store, (size_t)cvr_store_find(d->store, name), out->data[i], err));
    }
    for (uint32_t i = 0; i < a->n_outputs; i++) {
        (void)snprintf(name, sizeof name, "out%u", i);
        const int32_t slot = cvr_program_slot(d->program, name);
        CVR_TRY(make_room(out, a->n_inputs + i, cvr_program_slot_type(d->program, slot), err));
        CVR_TRY(cvr_program_read(d->program, slot, out->data[a->n_inputs + i], err));
    }
    return CVR_OK;
}

int32_t kernel_decomposed(const kernel_check *k, const cvr_op_desc *op, const cvr_kernel_args *a, kernel_results *out,
                          cvr_error *err) {
    decomposed d = {0};
    int32_t status;
    memset(out, 0, sizeof *out);
    if (!op->decompose) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "no decomposition");
    CVR_TRY_OUT(cvr_store_create(&d.store, 1, err));
    CVR_TRY_OUT(cvr_graph_create(&d.graph, k->plugins, d.store, true, err));
    CVR_TRY_OUT(build(&d, op, a, err));
    CVR_TRY_OUT(compute(&d, k->plain, op, a, err));
    CVR_TRY_OUT(read_results(&d, op, a, out, err));
out:
    cvr_program_destroy(&d.program);
    cvr_arena_destroy(&d.arena);
    cvr_graph_destroy(&d.graph);
    cvr_store_destroy(&d.store);
    return status == CVR_ERR_UNSUPPORTED ? CVR_ERR_PLUGIN : status;
}
