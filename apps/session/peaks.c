/*
 * What a device can do at most, measured: programs of one op that exists for nothing else (cvr/plugin/ops/peak.h). The
 * registry picks their kernels like any other's, so the device's own best instructions are what is measured, and this
 * file knows none.
 */
#include <cvr/peaks.h>
#include <unistd.h>

#define BLOCK_ROWS 16 /* of peak_multiply_add's input, (B,16,32) */
#define BLOCK_DEPTH 32
#define BLOCKS_PER_WORKER 4
#define LEAST_RUN_SECONDS 1e-3 /* starting the threads does not count; and short, so that some run is not disturbed */
#define MOST_LINKS 4194304
#define LEAST_COPY_BYTES 67108864
#define MOST_COPY_BYTES 536870912
#define COPY_SHARE 8 /* of the device's memory, as there are four such blocks */

/* One op of one input, ready to run. */
typedef struct one_op {
    cvr_store *store;
    cvr_graph *graph;
    cvr_program *program;
    cvr_device *device;
    cvr_arena *arena;
} one_op;

static void one_op_close(one_op *o) {
    cvr_program_destroy(&o->program);
    cvr_arena_destroy(&o->arena);
    cvr_graph_destroy(&o->graph);
    cvr_store_destroy(&o->store);
}

/* Emits the op with its settings, as text after its own schema. */
static int32_t emit_op(one_op *o, const cvr_op_desc *op, const char *settings, const cvr_type *type, cvr_error *err) {
    const cvr_schema schema = {op->attrs, op->n_attrs};
    cvr_value x, y;
    void *attrs = NULL;
    CVR_TRY(cvr_graph_input(o->graph, "x", type, &x, err));
    if (op->n_attrs) CVR_TRY(cvr_attrs_parse(&schema, settings, NULL, op->name, &attrs, err));
    const uint64_t size = op->n_attrs ? cvr_schema_size(&schema, err) : 0;
    const int32_t status = cvr_emit(cvr_graph_builder(o->graph), op->name, attrs, size, &x, 1, &y, err);
    cvr_free(attrs);
    return status == CVR_OK ? cvr_graph_output(o->graph, "y", y, err) : status;
}

/* x: bytes of 0x3F, numbers somewhat below 1 in f32 and in bf16 alike. */
static int32_t fill_input(one_op *o, cvr_error *err) {
    const int32_t slot = cvr_program_slot(o->program, "x");
    const cvr_type *t = cvr_program_slot_type(o->program, slot);
    const size_t bytes = (size_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
    void *ones = cvr_alloc_aligned(bytes, 64);
    if (!ones) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory to measure the machine's speed");
    memset(ones, 0x3F, bytes);
    const int32_t status = cvr_program_write(o->program, slot, ones, err);
    cvr_free(ones);
    return status;
}

static int32_t one_op_open(one_op *o, const cvr_peak_request *r, const cvr_op_desc *op, const char *settings,
                           const cvr_type *type, cvr_error *err) {
    *o = (one_op){.device = r->device};
    int32_t status;
    CVR_TRY_OUT(cvr_store_create(&o->store, 0, err));
    CVR_TRY_OUT(cvr_graph_create(&o->graph, r->plugins, o->store, false, err));
    CVR_TRY_OUT(emit_op(o, op, settings, type, err));
    CVR_TRY_OUT(cvr_store_place(o->store, r->device, err));
    CVR_TRY_OUT(cvr_program_plan(&o->program, o->graph, r->device, r->pool, CVR_FALLBACK_ALLOW, err));
    CVR_TRY_OUT(cvr_arena_create(&o->arena, r->device, &o->program, 1, 0, err));
    CVR_TRY_OUT(cvr_program_bind(o->program, o->arena, err));
    CVR_TRY_OUT(fill_input(o, err));
out:
    if (status != CVR_OK) one_op_close(o);
    return status;
}

/* Whether the device itself runs the op, in the type that it is given: casts around it, or a kernel of the host's,
 * would measure something else. */
static bool runs_as_it_is(const one_op *o, cvr_node_info *info) {
    if (cvr_program_nodes(o->program) != 1) return false;
    cvr_program_node(o->program, 0, info);
    return !*info->why;
}

static int32_t run_whole(one_op *o, cvr_error *err) {
    CVR_TRY(cvr_program_run(o->program, err));
    return cvr_program_wait(o->program, err);
}

/* Seconds of the fastest run within `seconds`: what others do on the machine can only make it slower. */
static int32_t fastest(one_op *o, double seconds, double *best, cvr_error *err) {
    const double start = cvr_now();
    *best = 1e30;
    CVR_TRY(run_whole(o, err));
    for (int i = 0; i < 2 || cvr_now() - start < seconds; i++) {
        const double began = cvr_now();
        CVR_TRY(run_whole(o, err));
        const double took = cvr_now() - began;
        if (took < *best) *best = took;
    }
    return CVR_OK;
}

/* A program of some links: whether the device runs it, how long that takes, and whether the time can be trusted. */
typedef struct link_timing {
    bool own, enough;
    double seconds, flops;
    const char *isa;
} link_timing;

/* Where others are at work a short run may seem long at first; among many one is undisturbed, and that one decides. */
static int32_t time_links(const cvr_peak_request *r, const cvr_op_desc *op, const cvr_type *type, int64_t links,
                          link_timing *t, cvr_error *err) {
    const bool most = links * 2 > MOST_LINKS;
    char settings[32];
    one_op o;
    cvr_node_info info;
    int32_t status = CVR_OK;
    (void)snprintf(settings, sizeof settings, "%lld", (long long)links);
    CVR_TRY(one_op_open(&o, r, op, settings, type, err));
    t->own = runs_as_it_is(&o, &info);
    if (!t->own) goto out;
    CVR_TRY_OUT(fastest(&o, 0, &t->seconds, err));
    if (t->seconds < LEAST_RUN_SECONDS && !most) goto out;
    CVR_TRY_OUT(fastest(&o, r->seconds, &t->seconds, err));
    t->enough = t->seconds >= LEAST_RUN_SECONDS / 2 || most;
    t->flops = info.flops;
    t->isa = info.isa;
out:
    one_op_close(&o);
    return status;
}

/* Operations a second in a type; 0 where the device has no kernel for them. Links are added until a run is long enough.
 */
static int32_t multiply_adds(const cvr_peak_request *r, const cvr_op_desc *op, uint32_t dtype, double *out,
                             const char **isa, cvr_error *err) {
    const int64_t shape[3] = {(int64_t)r->pool->n_workers * BLOCKS_PER_WORKER, BLOCK_ROWS, BLOCK_DEPTH};
    link_timing t = {.own = true};
    cvr_type type;
    cvr_type_set(&type, dtype, 3, shape);
    *out = 0;
    for (int64_t links = 64; t.own && !t.enough; links *= 2) CVR_TRY(time_links(r, op, &type, links, &t, err));
    if (!t.own) return CVR_OK;
    *out = t.flops / t.seconds;
    *isa = t.isa;
    return CVR_OK;
}

/* Twice the last cache, so that a copy finds nothing in it; less on a device that has no room for that. */
static int64_t copy_bytes(const cvr_device *device) {
    const int64_t room = (int64_t)(cvr_device_info_of(device)->memory / COPY_SHARE);
    long cache = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    const int64_t most = room && room < MOST_COPY_BYTES ? room : MOST_COPY_BYTES;
    const int64_t bytes = 2 * (int64_t)cache < LEAST_COPY_BYTES ? LEAST_COPY_BYTES : 2 * (int64_t)cache;
    return bytes > most ? most : bytes;
}

static int32_t copies(const cvr_peak_request *r, const cvr_op_desc *op, double *out, cvr_error *err) {
    const int64_t shape[1] = {copy_bytes(r->device) / (int64_t)sizeof(float)};
    cvr_type type;
    cvr_node_info info;
    one_op o;
    double took = 0;
    *out = 0;
    cvr_type_set(&type, CVR_F32, 1, shape);
    int32_t status = CVR_OK;
    CVR_TRY(one_op_open(&o, r, op, "", &type, err));
    if (runs_as_it_is(&o, &info)) {
        status = fastest(&o, r->seconds, &took, err);
        *out = status == CVR_OK ? (double)info.bytes / took : 0;
    }
    one_op_close(&o);
    return status;
}

/* The op, or NULL where no plugin has it. */
static int32_t find_op(cvr_plugins *p, const char *name, const cvr_op_desc **op, cvr_error *err) {
    const void *desc = NULL;
    const int32_t status = cvr_plugins_find(p, CVR_KIND_OP, name, &desc, err);
    *op = status == CVR_OK ? desc : NULL;
    return status == CVR_ERR_NOTFOUND ? CVR_OK : status;
}

int32_t cvr_measure_peaks(const cvr_peak_request *r, cvr_peaks *out, cvr_error *err) {
    const cvr_op_desc *product, *copy;
    memset(out, 0, sizeof *out);
    CVR_TRY(find_op(r->plugins, "peak_multiply_add", &product, err));
    CVR_TRY(find_op(r->plugins, "peak_copy", &copy, err));
    if (product && r->what & CVR_PEAK_F32) CVR_TRY(multiply_adds(r, product, CVR_F32, &out->f32, &out->f32_isa, err));
    if (product && r->what & CVR_PEAK_BF16)
        CVR_TRY(multiply_adds(r, product, CVR_BF16, &out->bf16, &out->bf16_isa, err));
    return copy && r->what & CVR_PEAK_BANDWIDTH ? copies(r, copy, &out->bandwidth, err) : CVR_OK;
}

int32_t cvr_raise_peaks(const cvr_peak_request *r, cvr_peaks *best, cvr_error *err) {
    cvr_peaks now;
    CVR_TRY(cvr_measure_peaks(r, &now, err));
    if (now.f32 > best->f32) best->f32 = now.f32;
    if (now.bf16 > best->bf16) best->bf16 = now.bf16;
    if (now.bandwidth > best->bandwidth) best->bandwidth = now.bandwidth;
    if (now.f32_isa) best->f32_isa = now.f32_isa;
    if (now.bf16_isa) best->bf16_isa = now.bf16_isa;
    return CVR_OK;
}
