/* What the plugins under test register, as targets for jobs. */
#include "conform_worker.h"
#include <stdlib.h>

static bool is_wanted(const worker *w, const char *name) {
    return w->emitters || placement_wants(w->o->op, name);
}

static bool is_ours(const worker *w, const char *owner) {
    for (size_t i = 0; owner && i < w->n_ids; i++)
        if (strcmp(w->ids[i], owner) == 0) return true;
    return false;
}

int32_t worker_add_target(worker *w, const target *t, cvr_error *err) {
    for (size_t i = 0; i < w->n_targets && t->kind != JOB_LINE; i++) {
        if (w->targets[i].kind != t->kind || strcmp(w->targets[i].name, t->name) != 0) continue;
        w->targets[i].own = w->targets[i].own || t->own;
        return CVR_OK;
    }
    target *more = cvr_grow(w->targets, w->n_targets, &w->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    w->targets = more;
    w->gradients = w->gradients || (t->op && t->op->grad);
    more[w->n_targets++] = *t;
    return CVR_OK;
}

int32_t worker_add_kernel(worker *w, const cvr_op_desc *op, const cvr_kernel_desc *k, cvr_error *err) {
    kernel_check *c = &w->check;
    char what[88];
    for (size_t i = 0; i < c->n; i++)
        if (c->kernels[i].desc == k) return CVR_OK;
    if (c->n == CONFORM_MOST_ROWS) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "more kernels than %u", CONFORM_MOST_ROWS);
    const bool isa = k->isa && *k->isa;
    (void)snprintf(what, sizeof what, "kernel %.30s%s%.40s%s", k->backend, isa ? " (" : "", isa ? k->isa : "",
                   isa ? ")" : "");
    c->kernels[c->n++] = (tested_kernel){k, op, board_row(w->board, op->name, what)};
    w->lows[0] = w->lows[0] || (k->flags & CVR_KERNEL_BF16);
    w->lows[1] = w->lows[1] || (k->flags & CVR_KERNEL_F16);
    return CVR_OK;
}

/* "BACKEND/OP" of a plugin under test. */
static int32_t add_kernels(worker *w, const char *name, cvr_error *err) {
    const char *slash = strchr(name, '/');
    const void *found;
    const cvr_kernel_desc *const *kernels;
    size_t n, ours = 0;
    char backend[64];
    if (!slash || !is_wanted(w, slash + 1)) return CVR_OK;
    (void)snprintf(backend, sizeof backend, "%.*s", (int)(slash - name), name);
    target t = {.kind = JOB_OP, .emits = w->emitters};
    CVR_TRY(cvr_plugins_find(w->plugins, CVR_KIND_OP, slash + 1, &found, err));
    t.op = found;
    t.name = t.op->name;
    CVR_TRY(cvr_plugins_kernels(w->plugins, t.op, backend, &kernels, &n, err));
    for (size_t i = 0; i < n; i++) {
        if (!cvr_kernel_is_host(kernels[i]) || !is_ours(w, cvr_plugins_owner(w->plugins, kernels[i]))) continue;
        if (!w->emitters) CVR_TRY(worker_add_kernel(w, t.op, kernels[i], err));
        ours++;
    }
    if (ours || w->emitters) return ours ? worker_add_target(w, &t, err) : CVR_OK;
    conform_row *row = board_row(w->board, t.name, backend);
    (void)snprintf(row->note, sizeof row->note,
                   "not run: this machine lacks a CPU feature, or the backend %s has to launch it", backend);
    return CVR_OK;
}

static int32_t add_provided(worker *w, const char *token, cvr_error *err) {
    target t = {.own = true, .emits = w->emitters};
    const void *found;
    if (strncmp(token, "kernel:", 7) == 0) return add_kernels(w, token + 7, err);
    if (strncmp(token, "op:", 3) == 0 && is_wanted(w, token + 3)) {
        CVR_TRY(cvr_plugins_find(w->plugins, CVR_KIND_OP, token + 3, &found, err));
        t.kind = JOB_OP;
        t.op = found;
        t.name = t.op->name;
        return worker_add_target(w, &t, err);
    }
    if (strncmp(token, "layer:", 6) != 0 || !is_wanted(w, token + 6)) return CVR_OK;
    CVR_TRY(cvr_plugins_find(w->plugins, CVR_KIND_LAYER, token + 6, &found, err));
    t.kind = JOB_LAYER;
    t.layer = found;
    t.name = t.layer->name;
    return worker_add_target(w, &t, err);
}

static int32_t add_plugin(worker *w, const cvr_plugin_info *info, cvr_error *err) {
    char token[200];
    for (const char *p = info->provides; *p;) {
        const size_t n = strcspn(p, " ");
        (void)snprintf(token, sizeof token, "%.*s", (int)n, p);
        CVR_TRY(add_provided(w, token, err));
        p += n + strspn(p + n, " ");
    }
    return CVR_OK;
}

/* Programs first, which show how ops are used; ops that only gradients emit last. */
static int order_of(const target *t) {
    return t->kind == JOB_LINE ? 0 : t->kind == JOB_LAYER ? 1 : t->op->grad ? 2 : 3;
}

static int by_order(const void *a, const void *b) {
    const target *s = a, *t = b;
    const int d = order_of(s) - order_of(t);
    return d ? d : strcmp(s->name, t->name);
}

int32_t worker_add_lines(worker *w, cvr_error *err) {
    for (size_t i = 0; i < w->n_lines; i++) {
        const target t = {.kind = JOB_LINE, .name = w->lines[i].place, .line = w->lines[i]};
        CVR_TRY(worker_add_target(w, &t, err));
    }
    if (w->n_targets > 1) qsort(w->targets, w->n_targets, sizeof *w->targets, by_order);
    return CVR_OK;
}

static int32_t add_plugins(worker *w, cvr_error *err) {
    for (size_t i = 0; i < cvr_plugins_count(w->plugins); i++) {
        const cvr_plugin_info *info = cvr_plugins_info(w->plugins, i);
        if (is_ours(w, info->id)) CVR_TRY(add_plugin(w, info, err));
    }
    return CVR_OK;
}

int32_t worker_find_targets(worker *w, cvr_error *err) {
    CVR_TRY(add_plugins(w, err));
    w->emitters = worker_wants_emitters(w);
    if (w->emitters) CVR_TRY(add_plugins(w, err));
    for (size_t i = 0; i < w->o->n_cases; i++) CVR_TRY(case_lines_read(w->o->cases[i], &w->lines, &w->n_lines, err));
    return worker_add_lines(w, err);
}

/* ---- ops that only gradients emit, whose cases are the programs of those ---- */

bool worker_wants_emitters(const worker *w) {
    bool wants = false;
    for (size_t i = 0; w->o->op && i < w->n_targets; i++)
        wants = wants || (w->targets[i].kind == JOB_OP && !w->targets[i].op->grad);
    return wants;
}

bool worker_is_emitted(const worker *w, const cvr_op_desc *op) {
    return !op->grad && w->gradients;
}

/* Whether the op's kernels have had cases: programs have launched it. */
static bool is_reached(const worker *w, const cvr_op_desc *op) {
    bool reached = false;
    for (uint32_t i = 0; i < w->board->n_ops; i++)
        reached = reached || (strcmp(w->board->ops[i].name, op->name) == 0 && w->board->ops[i].planned);
    for (size_t i = 0; i < w->check.n; i++)
        reached = reached || (w->check.kernels[i].op == op && w->check.kernels[i].row->cases);
    return reached;
}

/* Whether cases of the op were drawn already. */
static bool drawn_before(const worker *w, const char *name) {
    const conform_board *b = w->board;
    for (uint32_t i = 0; i < b->n_rows; i++)
        if (b->rows[i].drawn && strcmp(b->rows[i].name, name) == 0 && strcmp(b->rows[i].what, "op") == 0) return true;
    return false;
}

bool worker_has_programs(const worker *w, const cvr_op_desc *op) {
    return worker_is_emitted(w, op) && is_reached(w, op) && !drawn_before(w, op->name);
}

bool worker_awaits(worker *w) {
    for (size_t i = 0; i < w->n_targets && !w->looked; i++) {
        const target *t = &w->targets[i];
        w->awaits =
            w->awaits || (t->kind == JOB_OP && !t->emits && worker_is_emitted(w, t->op) && !is_reached(w, t->op));
    }
    w->looked = true;
    return w->awaits;
}

bool worker_is_for_programs(const worker *w, const target *t) {
    bool emitted = false;
    for (size_t i = 0; i < w->check.n && !t->own; i++) emitted = emitted || !w->check.kernels[i].op->grad;
    return t->own || (t->op->grad && emitted);
}

int32_t worker_launches_asked(const worker *w, const layer_case *c, bool *asked, cvr_error *err) {
    case_run *run;
    *asked = false;
    CVR_TRY(case_open(&run, &w->watched, c, err));
    const cvr_program *p = case_program(run);
    for (size_t i = 0; i < cvr_program_nodes(p) && !*asked; i++) {
        cvr_node_info node;
        cvr_program_node(p, i, &node);
        *asked = placement_wants(w->o->op, node.op);
    }
    case_close(&run);
    return CVR_OK;
}
