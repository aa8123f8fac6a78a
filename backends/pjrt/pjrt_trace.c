/*
 * A list of launches as a program without addresses. Each launch becomes a function of the module, which its kernel
 * writes; the main function calls them in order. A write to an address range defines a value there, a read takes the
 * value that is there, and what is read before anything was written is an input of the program. A view of other axes is
 * a reshape. That the planner uses memory again and again costs nothing: ranges are only names.
 */
#include "pjrt_device.h"
#include <cvr/plugin/stablehlo.h>

/* A value of the main function, %vID, which is flat there: `count` elements at an address. */
typedef struct traced {
    uint64_t address, bytes;
    uint32_t id, dtype;
    int64_t count;
} traced;

typedef struct tracer {
    pjrt_trace *t;
    const cvr_host *host;
    traced *live; /* what lies where, newest last; none overlaps another */
    uint64_t n_live, live_capacity;
    traced *inputs; /* what was read before it was written */
    uint64_t n_inputs, inputs_capacity;
    uint32_t next;
    cvr_error *err;
} tracer;

/* ---- text ---- */

int32_t pjrt_text_write(pjrt_text *t, const char *s, uint64_t n) {
    if (t->failed) return CVR_ERR_NOMEM;
    char *more = (char *)host_grow_by(t->host, t->s, t->n, n + 1, &t->capacity, 1);
    t->failed = !more;
    if (!more) return CVR_ERR_NOMEM;
    t->s = more;
    memcpy(t->s + t->n, s, n);
    t->n += n;
    t->s[t->n] = '\0';
    return CVR_OK;
}

void pjrt_text_print(pjrt_text *t, const char *format, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, format);
    const int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text)
        t->failed = 1;
    else
        (void)pjrt_text_write(t, text, (uint64_t)n);
}

static const char *element(uint32_t dtype) {
    return dtype == CVR_U8 ? "ui8" : cvr_dtype_name(dtype);
}

/* "tensor<2x5x5x3xf32>": the axes as they lie in memory. */
static const char *type_of(const cvr_tensor *x, char text[160]) {
    static const uint32_t logical[4] = {0, 2, 3, 1};
    size_t n = (size_t)snprintf(text, 160, "tensor<");
    for (uint32_t i = 0; i < x->rank; i++)
        n += (size_t)snprintf(text + n, 160 - n, "%lldx", (long long)x->shape[x->rank == 4 ? logical[i] : i]);
    (void)snprintf(text + n, 160 - n, "%s>", element(x->dtype));
    return text;
}

static int32_t no_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

/* ---- what lies where ---- */

static traced range_of(const cvr_tensor *x) {
    const int64_t n = cvr_numel(x->rank, x->shape);
    return (traced){.address = (uint64_t)(uintptr_t)x->data,
                    .bytes = (uint64_t)n * cvr_dtype_size(x->dtype),
                    .dtype = x->dtype,
                    .count = n};
}

static int overlap(const traced *a, const traced *b) {
    return a->address < b->address + b->bytes && b->address < a->address + a->bytes;
}

static int same_range(const traced *a, const traced *b) {
    return a->address == b->address && a->bytes == b->bytes;
}

static int32_t add_traced(tracer *r, traced **items, uint64_t *n, uint64_t *capacity, const traced *v) {
    traced *more = (traced *)host_grow(r->host, *items, *n, capacity, sizeof *more);
    if (!more) return no_memory(r->err);
    *items = more;
    more[(*n)++] = *v;
    return CVR_OK;
}

/* A write: what it overlaps is gone. */
static int32_t define(tracer *r, const traced *v) {
    uint64_t n = 0;
    if (!v->bytes) return CVR_OK;
    for (uint64_t i = 0; i < r->n_live; i++)
        if (!overlap(&r->live[i], v)) r->live[n++] = r->live[i];
    r->n_live = n;
    return add_traced(r, &r->live, &r->n_live, &r->live_capacity, v);
}

static int32_t add_slot(const tracer *r, pjrt_slot **items, uint64_t *n, uint64_t *capacity, const traced *v) {
    pjrt_slot *more = (pjrt_slot *)host_grow(r->host, *items, *n, capacity, sizeof *more);
    if (!more) return no_memory(r->err);
    *items = more;
    more[(*n)++] = (pjrt_slot){.address = v->address, .bytes = v->bytes, .dtype = v->dtype};
    return CVR_OK;
}

/* A part of a value that lies there: elements first to last. */
static void cut(tracer *r, const traced *whole, traced *want) {
    const uint64_t size = cvr_dtype_size(want->dtype), offset = want->address - whole->address;
    want->id = r->next++;
    pjrt_text_print(&r->t->main,
                    "    %%v%u = stablehlo.slice %%v%u [%llu:%llu] : (tensor<%lldx%s>) -> tensor<%lldx%s>\n", want->id,
                    whole->id, (unsigned long long)(offset / size), (unsigned long long)((offset + want->bytes) / size),
                    (long long)whole->count, element(whole->dtype), (long long)want->count, element(want->dtype));
}

static int32_t unreadable(const tracer *r, const cvr_launch *l, const traced *want) {
    return cvr_fail(r->err, CVR_ERR_UNSUPPORTED,
                    "pjrt: %s reads %llu bytes of type %s at an address where values of another size or type lie",
                    l->name, (unsigned long long)want->bytes, cvr_dtype_name(want->dtype));
}

/* A read: what lies there, or an input of the program. */
static int32_t find(tracer *r, const cvr_launch *l, traced *want) {
    for (uint64_t i = 0; i < r->n_live; i++) {
        const traced *v = &r->live[i];
        if (!overlap(v, want)) continue;
        if (v->dtype != want->dtype) return unreadable(r, l, want);
        if (same_range(v, want)) {
            *want = *v;
            return CVR_OK;
        }
        if (v->address > want->address || v->address + v->bytes < want->address + want->bytes ||
            (want->address - v->address) % cvr_dtype_size(v->dtype))
            return unreadable(r, l, want);
        cut(r, v, want);
        return CVR_OK;
    }
    for (uint64_t i = 0; i < r->n_inputs; i++)
        if (same_range(&r->inputs[i], want) && r->inputs[i].dtype == want->dtype) {
            *want = r->inputs[i];
            return CVR_OK;
        }
    want->id = r->next++;
    CVR_TRY(add_slot(r, &r->t->inputs, &r->t->n_inputs, &r->t->inputs_capacity, want));
    return add_traced(r, &r->inputs, &r->n_inputs, &r->inputs_capacity, want);
}

/* ---- one launch ---- */

#define LONGEST_TEXT (UINT64_C(1) << 30) /* more is a kernel's mistake, such as the -1 of an snprintf() that failed */

static int32_t write_function(const cvr_text_sink *sink, const char *text, uint64_t n, cvr_error *err) {
    if (n > LONGEST_TEXT)
        return cvr_fail(err, CVR_ERR_PLUGIN, "its kernel writes %llu bytes at once; the most is %llu",
                        (unsigned long long)n, (unsigned long long)LONGEST_TEXT);
    return pjrt_text_write((pjrt_text *)sink->ctx, text, n) == CVR_OK ? CVR_OK : no_memory(err);
}

/* Outputs, then the inputs that the op changes. */
static uint32_t results_of(const cvr_launch *l, const cvr_tensor **results) {
    const cvr_kernel_args *a = l->args;
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_outputs; i++)
        if (a->outputs[i]) results[n++] = a->outputs[i];
    for (uint32_t i = 0; i < a->n_inputs && i < 64; i++)
        if ((l->op->mutates >> i & 1) && a->inputs[i]) results[n++] = a->inputs[i];
    return n;
}

static void put_types(pjrt_text *t, const cvr_tensor *const *all, uint32_t n) {
    char text[160];
    for (uint32_t i = 0; i < n; i++) pjrt_text_print(t, "%s%s", i ? ", " : "", type_of(all[i], text));
}

/* "(%i0: tensor<...>, ...) -> (tensor<...>) {" and the kernel's body. */
static int32_t emit_body(tracer *r, const cvr_launch *l, const cvr_tensor *const *results, uint32_t n_results) {
    const cvr_stablehlo_emit *payload = (const cvr_stablehlo_emit *)l->kernel->payload;
    pjrt_text *t = &r->t->functions;
    const cvr_text_sink sink = {sizeof sink, t, write_function};
    char text[160];
    int first = 1;
    if (payload->struct_size < sizeof *payload || !payload->emit)
        return cvr_fail(r->err, CVR_ERR_PLUGIN, "pjrt: %s: the payload of kernel %s/%s is no cvr_stablehlo_emit",
                        l->name, l->kernel->backend, l->kernel->op);
    pjrt_text_print(t, "(");
    for (uint32_t i = 0; i < l->args->n_inputs; i++) {
        if (!l->args->inputs[i]) continue;
        pjrt_text_print(t, "%s%%i%u: %s", first ? "" : ", ", i, type_of(l->args->inputs[i], text));
        first = 0;
    }
    pjrt_text_print(t, ") -> (");
    put_types(t, results, n_results);
    pjrt_text_print(t, ") {\n");
    cvr_error why = CVR_ERROR_INIT;
    const int32_t status = payload->emit(l->args, &sink, &why);
    if (status != CVR_OK)
        return cvr_fail(r->err, status, "pjrt: %s: %.800s", l->name,
                        why.message[0] ? why.message : "its kernel fails and does not say why");
    pjrt_text_print(t, "  }\n");
    return CVR_OK;
}

/* The function that a launch calls: an earlier one with the same text, or a new one. */
static int32_t emit_function(tracer *r, const cvr_launch *l, const cvr_tensor *const *results, uint32_t n_results,
                             uint64_t *number) {
    pjrt_text *t = &r->t->functions;
    const uint64_t start = t->n;
    pjrt_part *more = (pjrt_part *)host_grow(r->host, r->t->parts, r->t->n_parts, &r->t->parts_capacity, sizeof *more);
    if (!more) return no_memory(r->err);
    r->t->parts = more;
    CVR_TRY(emit_body(r, l, results, n_results));
    if (t->failed) return no_memory(r->err);
    for (*number = 0; *number < r->t->n_parts; (*number)++) {
        const pjrt_part *p = &more[*number];
        if (p->n != t->n - start || memcmp(t->s + p->at, t->s + start, p->n) != 0) continue;
        t->n = start; /* there is one like it */
        return CVR_OK;
    }
    more[r->t->n_parts++] = (pjrt_part){start, t->n - start, l->name};
    return CVR_OK;
}

/* "%v7 = stablehlo.reshape ..." where the flat value has to get axes for a call. */
static uint32_t give_axes(tracer *r, const traced *v, const cvr_tensor *x) {
    char type[160];
    const uint32_t id = r->next++;
    pjrt_text_print(&r->t->main, "    %%v%u = stablehlo.reshape %%v%u : (tensor<%lldx%s>) -> %s\n", id, v->id,
                    (long long)v->count, element(v->dtype), type_of(x, type));
    return id;
}

/* The inputs that there are, and their values for the call. */
static int32_t read_inputs(tracer *r, const cvr_launch *l, const cvr_tensor *inputs[CVR_MAX_IO],
                           uint32_t ids[CVR_MAX_IO], uint32_t *n) {
    *n = 0;
    for (uint32_t i = 0; i < l->args->n_inputs; i++) {
        const cvr_tensor *x = l->args->inputs[i];
        if (!x) continue;
        traced v = range_of(x);
        if (!v.bytes) return cvr_fail(r->err, CVR_ERR_UNSUPPORTED, "pjrt: %s has an input without elements", l->name);
        CVR_TRY(find(r, l, &v));
        ids[*n] = give_axes(r, &v, x);
        inputs[(*n)++] = x;
    }
    return CVR_OK;
}

/* The result, flat again. */
static int32_t keep_result(tracer *r, uint32_t call, uint32_t k, uint32_t n, const cvr_tensor *x) {
    char type[160];
    traced v = range_of(x);
    v.id = r->next++;
    pjrt_text_print(&r->t->main,
                    n > 1 ? "    %%v%u = stablehlo.reshape %%c%u#%u" : "    %%v%u = stablehlo.reshape %%c%u", v.id,
                    call, k);
    pjrt_text_print(&r->t->main, " : (%s) -> tensor<%lldx%s>\n", type_of(x, type), (long long)v.count,
                    element(v.dtype));
    CVR_TRY(add_slot(r, &r->t->written, &r->t->n_written, &r->t->written_capacity, &v));
    return define(r, &v);
}

static int32_t trace_launch(tracer *r, const cvr_launch *l) {
    const cvr_tensor *results[2 * CVR_MAX_IO], *inputs[CVR_MAX_IO];
    uint32_t ids[CVR_MAX_IO], n_inputs;
    const uint32_t n = results_of(l, results), call = r->next++;
    pjrt_text *t = &r->t->main;
    uint64_t number = 0;
    if (!n) return CVR_OK;
    CVR_TRY(read_inputs(r, l, inputs, ids, &n_inputs));
    CVR_TRY(emit_function(r, l, results, n, &number));
    if (n > 1)
        pjrt_text_print(t, "    %%c%u:%u = call @n%llu(", call, n, (unsigned long long)number);
    else
        pjrt_text_print(t, "    %%c%u = call @n%llu(", call, (unsigned long long)number);
    for (uint32_t i = 0; i < n_inputs; i++) pjrt_text_print(t, "%s%%v%u", i ? ", " : "", ids[i]);
    pjrt_text_print(t, ") : (");
    put_types(t, inputs, n_inputs);
    pjrt_text_print(t, ") -> (");
    put_types(t, results, n);
    pjrt_text_print(t, ")\n");
    for (uint32_t k = 0; k < n; k++) CVR_TRY(keep_result(r, call, k, n, results[k]));
    return CVR_OK;
}

/* ---- the module ---- */

/* What of the values is read afterwards, and which input's buffer each may have. */
static int32_t choose_outputs(tracer *r, const cvr_record_request *request, traced **outputs, uint64_t *n) {
    uint64_t capacity = 0;
    *n = 0;
    for (uint64_t i = 0; i < r->n_live; i++) {
        int is_kept = 0;
        for (uint64_t k = 0; k < request->n_kept && !is_kept; k++) {
            const traced range = {.address = (uint64_t)(uintptr_t)request->kept[k]->address,
                                  .bytes = request->kept[k]->bytes};
            is_kept = overlap(&r->live[i], &range);
        }
        if (!is_kept) continue;
        CVR_TRY(add_traced(r, outputs, n, &capacity, &r->live[i]));
        CVR_TRY(add_slot(r, &r->t->outputs, &r->t->n_outputs, &r->t->outputs_capacity, &r->live[i]));
        for (uint64_t k = 0; k < r->n_inputs; k++)
            if (same_range(&r->inputs[k], &r->live[i]) && r->inputs[k].dtype == r->live[i].dtype)
                r->t->inputs[k].alias = (uint32_t)r->t->n_outputs;
    }
    return CVR_OK;
}

static void put_head(const tracer *r, const traced *outputs, uint64_t n) {
    pjrt_text *t = &r->t->text;
    pjrt_text_print(t, "module @cvrun {\n  func.func public @main(");
    for (uint64_t i = 0; i < r->n_inputs; i++) {
        pjrt_text_print(t, "%s%%v%u: tensor<%lldx%s>", i ? ", " : "", r->inputs[i].id, (long long)r->inputs[i].count,
                        element(r->inputs[i].dtype));
        if (r->t->inputs[i].alias) pjrt_text_print(t, " {tf.aliasing_output = %u : i32}", r->t->inputs[i].alias - 1);
    }
    pjrt_text_print(t, ") -> (");
    for (uint64_t i = 0; i < n; i++)
        pjrt_text_print(t, "%stensor<%lldx%s>", i ? ", " : "", (long long)outputs[i].count, element(outputs[i].dtype));
    pjrt_text_print(t, ") {\n");
}

static void put_return(const tracer *r, const traced *outputs, uint64_t n) {
    pjrt_text *t = &r->t->text;
    pjrt_text_print(t, "    return");
    for (uint64_t i = 0; i < n; i++) pjrt_text_print(t, "%s %%v%u", i ? "," : "", outputs[i].id);
    if (n) pjrt_text_print(t, " :");
    for (uint64_t i = 0; i < n; i++)
        pjrt_text_print(t, "%s tensor<%lldx%s>", i ? "," : "", (long long)outputs[i].count, element(outputs[i].dtype));
    pjrt_text_print(t, "\n  }\n");
}

static int32_t assemble(tracer *r, const cvr_record_request *request) {
    pjrt_trace *t = r->t;
    traced *outputs = NULL;
    uint64_t n;
    int32_t status;
    CVR_TRY_OUT(choose_outputs(r, request, &outputs, &n));
    put_head(r, outputs, n);
    if (t->main.n) (void)pjrt_text_write(&t->text, t->main.s, t->main.n);
    put_return(r, outputs, n);
    for (uint64_t i = 0; i < t->n_parts; i++) {
        pjrt_text_print(&t->text, "  func.func private @n%llu", (unsigned long long)i);
        (void)pjrt_text_write(&t->text, t->functions.s + t->parts[i].at, t->parts[i].n);
    }
    pjrt_text_print(&t->text, "}\n");
    if (t->main.failed || t->functions.failed || t->text.failed) status = no_memory(r->err);
out:
    r->host->free(r->host, outputs);
    return status;
}

int32_t pjrt_trace_make(const pjrt_device *d, const cvr_record_request *request, pjrt_trace *t, cvr_error *err) {
    tracer r = {.t = t, .host = d->host, .err = err};
    int32_t status = CVR_OK;
    memset(t, 0, sizeof *t);
    t->host = t->main.host = t->functions.host = t->text.host = d->host;
    for (uint64_t i = 0; i < request->n_launches; i++) CVR_TRY_OUT(trace_launch(&r, request->launches[i]));
    CVR_TRY_OUT(assemble(&r, request));
out:
    d->host->free(d->host, r.live);
    d->host->free(d->host, r.inputs);
    return status;
}

void pjrt_trace_drop_text(pjrt_trace *t) {
    pjrt_text *const texts[] = {&t->main, &t->functions, &t->text};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        t->host->free(t->host, texts[i]->s);
        *texts[i] = (pjrt_text){.host = t->host};
    }
    t->host->free(t->host, t->parts);
    t->parts = NULL;
    t->n_parts = t->parts_capacity = 0;
}

void pjrt_trace_clear(pjrt_trace *t) {
    const cvr_host *host = t->host;
    pjrt_trace_drop_text(t);
    host->free(host, t->inputs);
    host->free(host, t->outputs);
    host->free(host, t->written);
    memset(t, 0, sizeof *t);
}
