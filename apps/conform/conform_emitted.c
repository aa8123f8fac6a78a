/* Ops that only gradients emit, such as softmax_backward: their cases are the programs of the ops that emit them. */
#include "conform_worker.h"

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
