/* One job: a case of an op, of a layer, or of a line of a file. */
#include "case_auto.h"
#include "conform_backend.h"
#include "gradient_check.h"
#include <math.h>

#define TRIES 400 /* of an op, until its shape rule takes a case */
#define LAYER_TRIES 150
#define LARGEST_OUTPUT (INT64_C(1) << 24) /* elements; inputs have a few thousand at most */

static void give_line(worker *w, const char *text) {
    (void)snprintf(w->board->line, sizeof w->board->line, "%s", text);
    w->check.positive = strstr(text, "u01:") != NULL;
}

/* NULL where an input is absent. */
static void input_types(const layer_case *c, const cvr_type **in) {
    for (uint32_t i = 0; i < c->n_inputs; i++) in[i] = c->inputs[i].type.dtype ? &c->inputs[i].type : NULL;
}

/* What the shape rule says of the case; `types` are its outputs. */
static int32_t ask_infer(worker *w, const cvr_op_desc *op, const layer_case *c, const void *attrs, cvr_type *types,
                         cvr_error *err) {
    const cvr_type *in[CVR_MAX_IO];
    cvr_type *out[CVR_MAX_IO];
    board_doing(w->board, NULL, "in `infer` of op %s", op->name);
    input_types(c, in);
    for (uint32_t i = 0; i < op->n_outputs; i++) {
        types[i] = (cvr_type){.struct_size = sizeof types[i]};
        out[i] = &types[i];
    }
    const cvr_infer_args args = {sizeof args, attrs, in, out, c->n_inputs, op->n_outputs};
    const int32_t status = op->infer(&args, err);
    if (status < CVR_OK || status > CVR_ERR_DEVICE)
        return cvr_fail(err, CVR_ERR_PLUGIN, "its `infer` returns %d, which is no status that abi.h has", status);
    if (status != CVR_OK && !err->message[0])
        return cvr_fail(err, CVR_ERR_PLUGIN, "its `infer` refuses the inputs with status %d and does not say why",
                        status);
    if (status != CVR_OK) return status;
    for (uint32_t i = 0; i < op->n_outputs; i++) {
        int64_t n = 1;
        bool good = cvr_dtype_size(types[i].dtype) && types[i].rank <= CVR_MAX_RANK;
        for (uint32_t k = 0; good && k < types[i].rank; k++)
            good = types[i].shape[k] >= 0 && types[i].shape[k] <= LARGEST_OUTPUT &&
                   (n *= types[i].shape[k]) <= LARGEST_OUTPUT;
        if (good) continue;
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "its `infer` gives output %u a type that is none: dtype %u, rank %u, axis 0 %lld", i,
                        types[i].dtype, types[i].rank, (long long)types[i].shape[0]);
    }
    return CVR_OK;
}

/* The kernels under test on this case's tensors, outside of any graph. */
static int32_t launch_directly(worker *w, const cvr_op_desc *op, const layer_case *c, const void *attrs,
                               const cvr_type *types, cvr_error *err) {
    const cvr_schema schema = {op->attrs, op->n_attrs};
    static cvr_tensor tensors[2 * CVR_MAX_IO];
    const cvr_tensor *in[CVR_MAX_IO] = {NULL};
    cvr_tensor *out[CVR_MAX_IO] = {NULL};
    if (!kernel_check_has(&w->check, op)) return CVR_OK;
    for (uint32_t i = 0; i < c->n_inputs + op->n_outputs; i++) {
        const bool input = i < c->n_inputs;
        const cvr_type *t = input ? &c->inputs[i].type : &types[i - c->n_inputs];
        cvr_tensor *to = &tensors[i];
        if (!t->dtype) continue;
        *to = (cvr_tensor){.struct_size = sizeof *to, .dtype = t->dtype, .rank = t->rank};
        memcpy(to->shape, t->shape, sizeof to->shape);
        memcpy(to->order, t->order, sizeof to->order);
        for (uint32_t k = t->rank; k < CVR_MAX_RANK; k++) to->shape[k] = 1;
        to->pixel_stride = t->rank == 4 ? t->shape[1] : 0;
        to->data = input ? c->inputs[i].data : NULL;
        if (input)
            in[i] = to;
        else
            out[i - c->n_inputs] = to;
    }
    const cvr_kernel_args args = {.struct_size = sizeof args,
                                  .attrs = attrs,
                                  .inputs = in,
                                  .outputs = out,
                                  .pool = w->check.one,
                                  .n_inputs = c->n_inputs,
                                  .n_outputs = op->n_outputs};
    const cvr_kernel_desc any = {.struct_size = sizeof any, .op = op->name, .payload = &args};
    const cvr_launch launch = {.struct_size = sizeof launch,
                               .kernel = &any,
                               .args = &args,
                               .name = op->name,
                               .op = op,
                               .attrs_size = cvr_schema_size(&schema, err)};
    const int32_t status = kernel_check_launch(&w->check, &launch, err);
    return status == CVR_ERR_INTERRUPTED ? CVR_OK : status; /* its kernel's row says it */
}

static bool has_gradient(const layer_case *c) {
    for (uint32_t i = 0; i < c->n_gradients; i++)
        if (c->gradients[i].data) return true;
    return false;
}

/* Inputs that no gradient reaches: the first must have one, of others it is told. */
static void note_missing(conform_row *row, layer_case *c, const case_result *r) {
    char name[16];
    for (uint32_t i = 1; i < c->n_inputs; i++) {
        (void)snprintf(name, sizeof name, "gin%u", i);
        if (c->inputs[i].constant || c->inputs[i].type.dtype != CVR_F32 || case_result_find(r, name)) continue;
        c->inputs[i].constant = true;
        (void)snprintf(row->note, sizeof row->note, "no gradient goes to input %u", i);
    }
}

static void check_gradient(worker *w, layer_case *c, const char *name, const case_result *r) {
    conform_row *row = board_row(w->board, name, "gradient");
    gradient_report g;
    char why[600];
    board_doing(w->board, row, "while its gradient was compared with differences");
    note_missing(row, c, r);
    gradient_check(&w->plain, c, &g, why, sizeof why);
    row->cases++;
    row->compared = true;
    for (uint32_t i = 0; i < g.n; i++) row->worst = fmax(row->worst, g.all[i].worst);
    if (*why)
        board_fail(w->board, row, "%s", why);
    else
        row->passed++;
}

/* The case as a program: in training with its backward pass, and in evaluation. *refused: it is no case. */
static int32_t run_program(worker *w, layer_case *c, uint64_t seed, conform_row *row, const char *gradient,
                           cvr_error *err) {
    case_result r;
    if (w->o->backend) return backend_run(w, c, seed, row, err);
    w->check.failed = false;
    board_doing(w->board, row, "while it was built");
    if (!draw_complete(&w->watched, c, seed, err)) return err->code ? (int32_t)err->code : CVR_ERR_PLUGIN;
    if (w->emitters && !placement_wants(w->o->op, row->name)) {
        bool asked;
        CVR_TRY(worker_launches_asked(w, c, &asked, err));
        if (!asked) return CVR_OK;
        gradient = NULL;
    }
    board_doing(w->board, row, "while it ran in training");
    CVR_TRY(case_result_of(&w->watched, c, &r, err));
    if (w->check.failed) {
        case_result_clear(&r);
        return cvr_fail(err, CVR_ERR_INTERRUPTED, "a kernel of it failed");
    }
    c->training = c->backward = false;
    board_doing(w->board, row, "while it ran in evaluation");
    case_result other;
    const int32_t status = case_result_of(&w->watched, c, &other, err);
    if (status == CVR_OK) case_result_clear(&other);
    c->training = c->backward = true;
    if (status == CVR_OK && gradient && has_gradient(c)) check_gradient(w, c, gradient, &r);
    case_result_clear(&r);
    return status;
}

/* Once more with activations in bf16. What cannot be built so is no fault: a layer need not take it. */
static int32_t run_low(worker *w, layer_case *c, conform_row *row, cvr_error *err) {
    case_result r;
    if (!w->lows[0]) return CVR_OK;
    c->training = c->backward = true;
    c->low = CVR_BF16;
    board_doing(w->board, row, "while it ran in bf16");
    w->check.low = CVR_BF16;
    const int32_t status = case_result_of(&w->watched, c, &r, err);
    w->check.low = 0;
    if (status == CVR_OK) case_result_clear(&r);
    return status;
}

/* A chain once more, with the ops that passes make of it. */
static int32_t run_fused(worker *w, layer_case *c, conform_row *row, cvr_error *err) {
    case_result r;
    c->low = 0;
    c->training = c->backward = true;
    c->passes = "auto";
    board_doing(w->board, row, "while it ran with passes");
    CVR_TRY(case_result_of(&w->watched, c, &r, err));
    case_result_clear(&r);
    return CVR_OK;
}

/* What a case that has run is run for once more; backend_run has done all of it. */
static int32_t run_again(worker *w, layer_case *c, conform_row *row, cvr_error *err) {
    if (w->o->backend) return CVR_OK;
    CVR_TRY(run_low(w, c, row, err));
    return strstr(c->settings, " > ") ? run_fused(w, c, row, err) : CVR_OK;
}

/* ---- jobs ---- */

static void start_rng(const worker *w, const char *name, uint64_t slot, cvr_rng *rng) {
    cvr_rng_start(rng, cvr_hash(name) ^ w->o->seed, slot);
}

static bool draw_line(worker *w, const case_subject *s, cvr_rng *rng, layer_case *c, conform_row *row) {
    case_line line = {.place = "drawn"};
    char why[300] = "";
    if (!case_auto(s, rng, line.text, sizeof line.text)) return false;
    row->drawn++;
    if (!draw_case(&line, 0, c, why, sizeof why)) {
        layer_case_clear(c);
        return false;
    }
    give_line(w, line.text);
    return true;
}

static void refuse(conform_row *row, const cvr_error *err) {
    row->refused++;
    (void)snprintf(row->refusal, sizeof row->refusal, "%.190s", err->message);
}

conform_row *worker_row(const worker *w, const target *t) {
    return board_row(w->board, t->name, t->kind == JOB_LAYER ? "layer" : "op");
}

static void judge(worker *w, conform_row *row, int32_t status, const cvr_error *err) {
    row->cases++;
    if (status == CVR_ERR_INTERRUPTED || (status == CVR_OK && w->check.failed)) return; /* its kernel's row says it */
    if (status == CVR_OK)
        row->passed++;
    else
        board_fail(w->board, row, "%s", err->message);
}

static bool is_refusal(int32_t status) {
    return status == CVR_ERR_INVALID || status == CVR_ERR_UNSUPPORTED || status == CVR_ERR_USAGE;
}

/* Where the backend under test runs it. */
static void place_directly(worker *w, const cvr_op_desc *op, const layer_case *c, const void *attrs) {
    const cvr_schema schema = {op->attrs, op->n_attrs};
    const cvr_type *in[CVR_MAX_IO];
    input_types(c, in);
    placement_try(&w->probe, op, attrs, cvr_schema_size(&schema, NULL), in, c->n_inputs);
}

/* Whether the case is left out for conform_options.flops; `types` are its outputs. */
static bool is_large(const worker *w, const cvr_op_desc *op, const layer_case *c, const void *attrs, cvr_type *types) {
    const cvr_type *in[CVR_MAX_IO];
    cvr_type *out[CVR_MAX_IO];
    if (!op->flops || w->board->flops <= 0) return false;
    input_types(c, in);
    for (uint32_t i = 0; i < op->n_outputs; i++) out[i] = &types[i];
    const cvr_infer_args args = {sizeof args, attrs, in, out, c->n_inputs, op->n_outputs};
    return op->flops(&args) > w->board->flops;
}

static int32_t run_op(worker *w, const target *t, layer_case *c, const void *attrs, uint64_t slot, cvr_error *err) {
    cvr_type types[CVR_MAX_IO];
    const cvr_op_desc *op = t->op;
    conform_row *row = worker_row(w, t);
    CVR_TRY(ask_infer(w, op, c, attrs, types, err));
    if (w->o->backend) place_directly(w, op, c, attrs);
    w->check.failed = false;
    const bool large = is_large(w, op, c, attrs, types);
    w->board->n_large += large && !t->emits;
    const int32_t status = large ? CVR_OK : launch_directly(w, op, c, attrs, types, err);
    if (status == CVR_OK && !w->check.failed && worker_is_for_programs(w, t) && !op->mutates && op->n_outputs &&
        !(op->flags & CVR_OP_ALIAS) && (op->grad || !kernel_check_has(&w->check, op))) {
        c->backward = op->grad != NULL;
        const int32_t built = run_program(w, c, slot, row, op->grad && t->own ? op->name : NULL, err);
        if (is_refusal(built)) return built; /* by the gradient's own ops */
        judge(w, row, built, err);
    } else {
        judge(w, row, status, err);
    }
    return CVR_OK;
}

/* What only gradients emit is used as programs use it, where there are some: its inputs may depend on each other. */
static void op_job(worker *w, const target *t, uint64_t slot) {
    const cvr_op_desc *op = t->op;
    if (worker_has_programs(w, op) || (t->emits && !worker_awaits(w))) return;
    conform_row *row = worker_row(w, t);
    cvr_rng rng;
    row->foreign = !t->own;
    if (row->left) return;
    start_rng(w, op->name, slot, &rng);
    for (int i = 0; i < TRIES; i++) {
        const case_subject s = {.prefix = "op:",
                                .name = op->name,
                                .schema = {op->attrs, op->n_attrs},
                                .min_inputs = op->min_inputs,
                                .max_inputs = op->max_inputs,
                                .optional = op->optional,
                                .positive = slot % 2 == 0,
                                .whole = i >= TRIES / 2,
                                .alike = i % (TRIES / 2) < TRIES / 4 && worker_is_emitted(w, op)};
        layer_case c;
        void *attrs = NULL;
        cvr_error err = CVR_ERROR_INIT;
        if (!draw_line(w, &s, &rng, &c, row)) continue;
        int32_t status = cvr_attrs_parse(&s.schema, c.settings, NULL, op->name, &attrs, &err);
        if (status == CVR_OK) status = run_op(w, t, &c, attrs, slot, &err);
        cvr_free(attrs);
        layer_case_clear(&c);
        if (status == CVR_OK) return;
        if (status != CVR_ERR_PLUGIN) {
            refuse(row, &err);
            continue;
        }
        judge(w, row, status, &err);
        return;
    }
}

static void layer_job(worker *w, const target *t, uint64_t slot) {
    const cvr_layer_desc *l = t->layer;
    conform_row *row = worker_row(w, t);
    cvr_rng rng;
    start_rng(w, l->name, slot, &rng);
    for (int i = 0; i < LAYER_TRIES; i++) {
        const case_subject s = {.prefix = "",
                                .name = l->name,
                                .schema = {l->attrs, l->n_attrs},
                                .min_inputs = l->min_inputs,
                                .max_inputs = l->max_inputs,
                                .positive = slot % 2 == 0,
                                .whole = i >= LAYER_TRIES / 2};
        layer_case c;
        cvr_error err = CVR_ERROR_INIT;
        if (!draw_line(w, &s, &rng, &c, row)) continue;
        int32_t status = run_program(w, &c, slot, row, l->name, &err);
        const bool refused = is_refusal(status);
        if (refused)
            refuse(row, &err);
        else if (status == CVR_OK)
            status = run_again(w, &c, row, &err);
        layer_case_clear(&c);
        if (refused) continue;
        judge(w, row, status, &err);
        return;
    }
}

static const char *gradient_of(const worker *w, const layer_case *c) {
    for (size_t i = 0; i < w->n_targets; i++) {
        const target *t = &w->targets[i];
        const char *name = strncmp(c->layer, "op:", 3) == 0 ? c->layer + 3 : c->layer;
        if (!t->own || t->kind == JOB_LINE || strcmp(t->name, name) != 0) continue;
        return t->kind == JOB_LAYER || t->op->grad ? t->name : NULL;
    }
    return NULL;
}

/* A line of a file: who wrote it knows that it is a case. */
static void line_job(worker *w, const target *t, uint64_t draw) {
    layer_case c;
    cvr_error err = CVR_ERROR_INIT;
    char why[300] = "";
    conform_row *row;
    if (!draw_case(&t->line, draw, &c, why, sizeof why)) {
        row = board_row(w->board, t->line.place, "line");
        judge(w, row, cvr_fail(&err, CVR_ERR_INVALID, "%s", why), &err);
        layer_case_clear(&c);
        return;
    }
    char text[600];
    (void)snprintf(text, sizeof text, "%s draw %llu: %.400s", t->line.place, (unsigned long long)draw, t->line.text);
    give_line(w, text);
    const bool op = strncmp(c.layer, "op:", 3) == 0;
    row = board_row(w->board, op ? c.layer + 3 : c.layer, op ? "op" : "layer");
    int32_t status = run_program(w, &c, draw, row, gradient_of(w, &c), &err);
    if (status == CVR_OK) status = run_again(w, &c, row, &err);
    judge(w, row, status, &err);
    layer_case_clear(&c);
}

void worker_do(worker *w, const target *t, uint64_t slot) {
    *w->board->line = '\0';
    w->board->job_row = t->kind == JOB_LINE ? -1 : worker_row(w, t) - w->board->rows;
    if (t->kind == JOB_LAYER && worker_row(w, t)->left) return;
    if (t->kind == JOB_OP)
        op_job(w, t, slot);
    else if (t->kind == JOB_LAYER)
        layer_job(w, t, slot);
    else
        line_job(w, t, slot);
}
