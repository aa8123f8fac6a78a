/*
 * The network on a backend: one graph and program for whole batches and one for the last of an epoch, for training and
 * for evaluation. All are planned before the first step, and the largest decides the arena.
 */
#include "session.h"

static int32_t build_network(cvr_session *s, cvr_graph *g, cvr_value image, cvr_value *output, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(g);
    const cvr_net net = {s->net, s->n_net, s->task_info.n_classes};
    const cvr_model_args args = {sizeof args, s->model_attrs, s->task_info.n_classes, s->in_channels};
    const cvr_setting *const *layers;
    const size_t n_layers = cvr_config_lines(s->config, "layers", &layers);
    CVR_TRY(cvr_graph_override_layers(g, layers, n_layers, err));
    CVR_TRY(net.n ? cvr_graph_net(g, &net, image, output, err) : s->model_desc->build(b, &args, image, output, err));
    return cvr_graph_overrides_used(g, err);
}

/* The element type that activations have inside the network. */
static uint32_t activation_dtype(const machine *m) {
    return m->precision == PRECISION_BF16 ? CVR_BF16 : CVR_F32;
}

static int32_t cast_to(const cvr_builder *b, uint32_t dtype, cvr_value *v, cvr_error *err) {
    const cvr_cast_attrs attrs = {dtype};
    if (b->type(b, *v)->dtype == dtype) return CVR_OK;
    return cvr_emit(b, "cast", &attrs, sizeof attrs, v, 1, v, err);
}

static int32_t passes(const cvr_session *s, cvr_graph *g, uint32_t stage, cvr_error *err) {
    const int32_t status = cvr_graph_passes(g, stage, s->backend->passes, err);
    return status == CVR_ERR_USAGE ? cvr_config_blame(s->config, "backend", "passes", status, err) : status;
}

/* Where there are no gradients between them. */
static int32_t all_passes(const cvr_session *s, cvr_graph *g, cvr_error *err) {
    CVR_TRY(passes(s, g, CVR_PASS_NETWORK, err));
    return passes(s, g, CVR_PASS_STEP, err);
}

/* image -> output [-> loss [-> gradients -> updates]] */
static int32_t build_graph(cvr_session *s, const machine *m, bool training, const int64_t shape[4], entry *e,
                           cvr_error *err) {
    cvr_graph **out = &e->graph;
    cvr_value image, output = CVR_NONE, target, loss;
    cvr_type type, target_type;
    int32_t status = cvr_graph_create(out, s->plugins, s->store, training, err);
    if (status != CVR_OK) return status;
    cvr_graph *g = *out;
    const cvr_builder *b = cvr_graph_builder(g);
    cvr_type_set(&type, CVR_F32, 4, shape);
    status = cvr_graph_input(g, "image", &type, &image, err);
    if (s->train->ema && !training && (s->purpose & CVR_FOR_TRAINING)) cvr_graph_use_averages(g);
    cvr_graph_math(g, m->precision == PRECISION_BF16X3 ? CVR_MATH_BF16X3 : CVR_MATH_F32);
    if (status == CVR_OK) status = cast_to(b, activation_dtype(m), &image, err);
    if (status == CVR_OK) status = build_network(s, g, image, &output, err);
    if (status == CVR_OK) status = cast_to(b, CVR_F32, &output, err);
    if (status == CVR_OK) status = cvr_graph_output(g, "output", output, err);
    if (status == CVR_OK && (s->purpose & CVR_FOR_PREDICTION)) return all_passes(s, g, err);
    if (status != CVR_OK) return status;
    memset(&target_type, 0, sizeof target_type);
    target_type.struct_size = sizeof target_type;
    status = s->task->target(&s->task_info, b->type(b, output), &target_type, err);
    if (status == CVR_OK) status = cvr_graph_input(g, "target", &target_type, &target, err);
    if (status == CVR_OK) status = s->task->loss(b, &s->task_info, output, target, &loss, err);
    if (status == CVR_OK) status = cvr_graph_output(g, "loss", loss, err);
    if (status == CVR_OK && !training) return all_passes(s, g, err);
    if (status == CVR_OK) status = passes(s, g, CVR_PASS_NETWORK, err);
    if (status != CVR_OK) return status;
    status = cvr_graph_backward(g, cvr_graph_output_value(g, "loss"), err);
    if (status == CVR_OK) status = cvr_graph_gradients(g, s->gradient_plugins, s->n_gradient_plugins, err);
    if (status == CVR_OK) status = cvr_graph_update(g, &s->policy, err);
    if (status == CVR_OK && s->train->ema) status = cvr_graph_average(g, err);
    if (status == CVR_OK) status = passes(s, g, CVR_PASS_STEP, err);
    if (status == CVR_OK) status = cvr_graph_recompute(g, m->recompute, &e->recompute, err);
    return status == CVR_OK ? cvr_graph_schedule(g, err) : status;
}

static int32_t build_entry(cvr_session *s, const machine *m, entry *e, bool training, int64_t batch, cvr_error *err) {
    int64_t shape[4] = {batch, s->in_channels, s->height, s->width};
    const split *sp = &s->splits[training ? CVR_SPLIT_TRAIN : CVR_SPLIT_VAL];
    if (batch == 0) return CVR_OK;
    if (sp->batches) cvr_batches_shape(sp->batches, shape);
    e->batch = shape[0] = batch; /* the last of an epoch is smaller than the others */
    return build_graph(s, m, training, shape, e, err);
}

/* Warnings about nodes that the backend leaves to the host are given for the first program only: the others have the
 * same nodes. */
static int32_t plan_entry(cvr_session *s, machine *m, entry *e, cvr_error *err) {
    if (!e->graph) return CVR_OK;
    const uint32_t asked = (uint32_t)s->backend->fallback,
                   fallback = asked == CVR_FALLBACK_WARN && m->arena_bytes ? CVR_FALLBACK_ALLOW : asked;
    const int32_t status = cvr_program_plan(&e->program, e->graph, m->device, s->pool, fallback, err);
    if (status != CVR_OK) return status;
    if (cvr_program_arena_bytes(e->program) > m->arena_bytes) m->arena_bytes = cvr_program_arena_bytes(e->program);
    const struct {
        int32_t *slot;
        const char *name;
    } slots[] = {{&e->image, "image"},
                 {&e->target, "target"},
                 {&e->lr, "lr"},
                 {&e->step, "step"},
                 {&e->seed, "seed"},
                 {&e->loss, "loss"},
                 {&e->output, "output"},
                 {&e->loss_scale, "loss_scale"},
                 {&e->average_weight, "average_weight"}};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        *slots[i].slot = cvr_program_slot(e->program, slots[i].name);
    return CVR_OK;
}

/* Batch sizes that the session's data asks for: whole, and the last of an epoch. */
static void batch_sizes(const cvr_session *s, uint32_t which, int64_t sizes[2]) {
    const cvr_batches *b = s->splits[which].batches;
    sizes[0] = sizes[1] = 0;
    if (b && cvr_batches_samples(b) >= s->train->batch) sizes[0] = s->train->batch;
    if (b) sizes[1] = cvr_batches_remainder(b);
}

/* `auto`: bf16 where a kernel of the device's says that this machine is faster in it. */
static int32_t choose_precision(const cvr_session *s, machine *m, cvr_error *err) {
    m->precision = s->backend->precision;
    if (m->precision != PRECISION_AUTO) return CVR_OK;
    const cvr_kernel_desc *fast;
    const int32_t status = cvr_plugins_fast_bf16(s->plugins, cvr_device_backend(m->device), &fast, err);
    if (status != CVR_OK) return status;
    m->precision = fast ? PRECISION_BF16 : PRECISION_F32;
    if (fast)
        cvr_log(CVR_LOG_INFO, "precision=auto: bf16, since this machine multiplies it faster (%s)",
                fast->isa && *fast->isa ? fast->isa : fast->backend);
    else
        cvr_log(CVR_LOG_INFO, "precision=auto: f32, since this machine has no faster products in bf16");
    return CVR_OK;
}

/* Nodes that two programs run on different kernels. */
static size_t nodes_apart(const cvr_program *a, const cvr_program *b) {
    size_t apart = 0;
    for (size_t i = 0; i < cvr_program_nodes(a); i++) {
        cvr_node_info x, y = {.isa = NULL};
        cvr_program_node(a, i, &x);
        if (i < cvr_program_nodes(b)) cvr_program_node(b, i, &y);
        apart += !y.isa || strcmp(x.op, y.op) != 0 || strcmp(x.isa, y.isa) != 0 || strcmp(x.backend, y.backend) != 0;
    }
    return apart;
}

/*
 * bf16x3 is what kernels may do, not what they must: says how many nodes of the program do. They are those that run on
 * another kernel in f32. Where there are none the machine's precision is f32, and that is said.
 */
static int32_t explain_bf16x3(cvr_session *s, machine *m, const entry *e, bool training, cvr_error *err) {
    machine plain = *m;
    entry in_f32 = {0};
    plain.precision = PRECISION_F32;
    int32_t status = build_entry(s, &plain, &in_f32, training, e->batch, err);
    if (status == CVR_OK) status = plan_entry(s, &plain, &in_f32, err);
    if (status == CVR_OK) {
        const size_t n = nodes_apart(e->program, in_f32.program);
        if (n)
            cvr_log(CVR_LOG_INFO, "precision=bf16x3: %zu of %zu nodes multiply so; the others compute in f32", n,
                    cvr_program_nodes(e->program));
        else
            cvr_log(CVR_LOG_WARNING, "precision=bf16x3: no kernel for this machine multiplies so; it computes in f32");
        if (!n) m->precision = PRECISION_F32;
    }
    cvr_program_destroy(&in_f32.program);
    cvr_graph_destroy(&in_f32.graph);
    return status;
}

/* ---- train.memory ---- */

/* Planned bytes of the first training program where `most` values are made again; the program is gone afterwards. */
static int32_t probe_memory(cvr_session *s, machine *m, size_t most, uint64_t *bytes, cvr_recompute *r,
                            cvr_error *err) {
    entry e = {0};
    const uint64_t arena = m->arena_bytes;
    m->recompute = most;
    m->arena_bytes = 0;
    int32_t status = build_entry(s, m, &e, true, s->train->batch, err);
    if (status == CVR_OK) status = plan_entry(s, m, &e, err);
    *bytes = m->arena_bytes + cvr_store_bytes(s->store);
    *r = e.recompute;
    m->arena_bytes = arena;
    cvr_program_destroy(&e.program);
    cvr_graph_destroy(&e.graph);
    return status;
}

/* The fewest values whose being made again brings the plan below train.memory. */
static int32_t fit_memory(cvr_session *s, machine *m, cvr_error *err) {
    uint64_t budget, kept, bytes;
    char a[32], b[32];
    cvr_recompute r;
    int32_t status = parse_bytes("train.memory", s->train->memory, &budget, err);
    m->recompute = 0;
    if (status != CVR_OK || !budget) return status;
    status = probe_memory(s, m, 0, &kept, &r, err);
    if (status != CVR_OK || kept <= budget) return status;
    size_t low = 0, high = r.candidates; /* low does not fit */
    status = probe_memory(s, m, high, &bytes, &r, err);
    if (status == CVR_OK && bytes > budget)
        return cvr_fail(
            err, CVR_ERR_USAGE,
            "train.memory = %s: this step needs at least %lluM (%s without computing anything twice); lower "
            "train.batch or data.img_size",
            s->train->memory, (unsigned long long)((bytes + 999999) / 1000000), cvr_bytes_text(kept, b));
    while (status == CVR_OK && high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        status = probe_memory(s, m, middle, &bytes, &r, err);
        *(bytes <= budget ? &high : &low) = middle;
    }
    if (status == CVR_OK) status = probe_memory(s, m, high, &bytes, &r, err);
    if (status == CVR_OK)
        cvr_log(CVR_LOG_INFO, "train.memory: %zu of %zu activations are computed twice: %s in place of %s", r.dropped,
                r.candidates, cvr_bytes_text(bytes, a), cvr_bytes_text(kept, b));
    return status;
}

const char *machine_precision(const machine *m) {
    static const char *const names[] = {"f32", "bf16", "bf16x3"};
    return names[m->precision];
}

int32_t machine_build(cvr_session *s, const char *backend, machine *m, cvr_error *err) {
    entry *all[4] = {&m->train[0], &m->train[1], &m->eval[0], &m->eval[1]};
    int64_t train_sizes[2], eval_sizes[2];
    batch_sizes(s, CVR_SPLIT_TRAIN, train_sizes);
    batch_sizes(s, CVR_SPLIT_VAL, eval_sizes);
    if (s->purpose & CVR_FOR_PREDICTION) eval_sizes[0] = 1;
    memset(m, 0, sizeof *m);
    int32_t status = cvr_device_open(&m->device, s->plugins, backend, s->backend->device, s->pool, err);
    if (status == CVR_OK) status = choose_precision(s, m, err);
    if (status == CVR_OK && train_sizes[0]) status = fit_memory(s, m, err);
    for (int i = 0; i < 4 && status == CVR_OK; i++)
        status = build_entry(s, m, all[i], i < 2, i < 2 ? train_sizes[i] : eval_sizes[i - 2], err);
    for (int i = 0; i < 4 && status == CVR_OK; i++) status = plan_entry(s, m, all[i], err);
    int first = 0;
    while (first < 4 && !all[first]->program) first++;
    if (status == CVR_OK && first < 4 && m->precision == PRECISION_BF16X3)
        status = explain_bf16x3(s, m, all[first], first < 2, err);
    if (status == CVR_OK) status = cvr_device_alloc(m->device, m->arena_bytes, &m->arena, err);
    if (status == CVR_OK) status = cvr_store_check_rules(s->store, err);
    if (status == CVR_OK) status = cvr_store_prepare(s->store, m->device, err);
    for (int i = 0; i < 4 && status == CVR_OK; i++) {
        if (all[i]->program) status = cvr_program_bind(all[i]->program, m->arena, err);
    }
    if (status == CVR_OK) {
        cvr_store_commit(s->store);
        return CVR_OK;
    }
    cvr_store_rollback(s->store);
    machine_clear(m);
    return status;
}

void machine_clear(machine *m) {
    entry *all[4] = {&m->train[0], &m->train[1], &m->eval[0], &m->eval[1]};
    for (int i = 0; i < 4; i++) {
        cvr_program_destroy(&all[i]->program);
        cvr_graph_destroy(&all[i]->graph);
    }
    cvr_device_free(m->device, m->arena);
    cvr_device_close(&m->device);
    memset(m, 0, sizeof *m);
}

entry *machine_entry(entry pair[2], int64_t n) {
    return pair[0].batch == n ? &pair[0] : pair[1].batch == n ? &pair[1] : NULL;
}

int32_t entry_step(entry *e, const entry_run *r, cvr_error *err) {
    const float lr = (float)r->lr, one = 1.0f, average = (float)r->average_weight;
    const struct {
        int32_t slot;
        const void *bytes;
    } writes[] = {{e->image, r->images},        {e->target, r->target}, {e->lr, &lr},
                  {e->step, &r->step},          {e->seed, &r->seed},    {e->loss_scale, &one},
                  {e->average_weight, &average}};
    int32_t status = CVR_OK;
    for (size_t i = 0; i < sizeof writes / sizeof *writes && status == CVR_OK; i++) {
        if (writes[i].slot >= 0 && writes[i].bytes)
            status = cvr_program_write(e->program, writes[i].slot, writes[i].bytes, err);
    }
    if (status == CVR_OK) status = cvr_program_run(e->program, err);
    if (status == CVR_OK && r->loss && e->loss >= 0) status = cvr_program_read(e->program, e->loss, r->loss, err);
    return status;
}
