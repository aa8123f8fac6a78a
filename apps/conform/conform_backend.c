/*
 * `cvrun conform --backend`: the worker's part. Cases run as programs on the device under test, so that its own kernels
 * are chosen, its decompositions taken and its fused ops made; each launch is looked at (kernel_check.h), and so is
 * where each op goes (placement.h).
 */
#include "conform_backend.h"
#include "backend_memory.h"
#include "presets.h"
#include <dirent.h>
#include <stdlib.h>

#define FLOPS_OF_TEST_BACKENDS 5e6

/* ---- what there is to do ---- */

/* Those of the op that the device may launch. */
static int32_t add_kernels(worker *w, const cvr_op_desc *op, cvr_error *err) {
    const cvr_backend_desc *b = cvr_device_backend(w->watched.device);
    for (uint32_t i = 0; i < b->n_runs; i++) {
        const cvr_kernel_desc *const *kernels;
        size_t n;
        char why[200];
        CVR_TRY(cvr_plugins_kernels(w->plugins, op, b->runs[i], &kernels, &n, err));
        for (size_t k = 0; k < n; k++)
            if (cvr_device_takes(w->watched.device, kernels[k], why, sizeof why))
                CVR_TRY(worker_add_kernel(w, op, kernels[k], err));
    }
    return CVR_OK;
}

/* Whether only ops with a prefix are wanted, "acme.*": no case that comes with cvrun has one. */
static bool are_foreign(const char *patterns) {
    for (const char *p = patterns; p && *p;) {
        const size_t n = strcspn(p, ",");
        if (!memchr(p, '.', n)) return false;
        p += n + (p[n] == ',');
    }
    return patterns != NULL;
}

static int32_t add_op(worker *w, const cvr_op_desc *op, cvr_error *err) {
    const target t = {.kind = JOB_OP, .name = op->name, .op = op, .own = true, .emits = w->emitters};
    const bool leads_nowhere = are_foreign(w->o->op) && !strchr(op->name, '.');
    if (w->emitters) return leads_nowhere || !op->grad ? CVR_OK : worker_add_target(w, &t, err);
    if (!placement_wants(w->o->op, op->name)) return CVR_OK;
    (void)placement_op(w->board, op);
    CVR_TRY(add_kernels(w, op, err));
    return worker_add_target(w, &t, err);
}

/* Whether a line of a file leads to the layer: then nothing needs to be drawn of what its schema says. */
static bool has_line(const worker *w, const char *layer) {
    const size_t n = strlen(layer);
    for (size_t i = 0; i < w->n_lines; i++)
        if (strncmp(w->lines[i].text, layer, n) == 0 && strchr(" |", w->lines[i].text[n])) return true;
    return false;
}

static int32_t add_layer(worker *w, const cvr_layer_desc *layer, cvr_error *err) {
    const target t = {.kind = JOB_LAYER, .name = layer->name, .layer = layer, .own = true};
    const bool leads_nowhere = are_foreign(w->o->op) && !strchr(layer->name, '.');
    return leads_nowhere || has_line(w, layer->name) ? CVR_OK : worker_add_target(w, &t, err);
}

/* All of a kind that loads; what is loaded may add names to the list. */
static int32_t add_all(worker *w, const char *kind, cvr_error *err) {
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(w->plugins, kind, i)); i++) {
        const void *found;
        cvr_error why = CVR_ERROR_INIT;
        char own[160];
        (void)snprintf(own, sizeof own, "%s", name);
        board_doing(w->board, NULL, "while %s was loaded", own);
        const int32_t status = cvr_plugins_find(w->plugins, kind, own, &found, &why);
        if (status == CVR_ERR_NOMEM) return cvr_fail(err, status, "out of memory");
        if (status != CVR_OK) continue; /* its plugin does not load: `cvrun plugins -v` says why */
        CVR_TRY(strcmp(kind, CVR_KIND_OP) == 0 ? add_op(w, found, err) : add_layer(w, found, err));
    }
    return CVR_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The cases that come with cvrun, share/cvrun/cases. */
static int32_t read_own_cases(worker *w, cvr_error *err) {
    char *folder = preset_data_file("cases"), *names[128];
    size_t n = 0;
    int32_t status = CVR_OK;
    DIR *d = folder ? opendir(folder) : NULL;
    const struct dirent *e;
    while (d && n < sizeof names / sizeof *names && (e = readdir(d)))
        if (strstr(e->d_name, ".cases")) names[n++] = cvr_fs_join(folder, e->d_name);
    if (d) closedir(d);
    if (!n) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOTFOUND, "%s: no cases are there; is cvrun installed whole?", folder));
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++)
        CVR_TRY_OUT(names[i] ? case_lines_read(names[i], &w->lines, &w->n_lines, err)
                             : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
out:
    for (size_t i = 0; i < n; i++) cvr_free(names[i]);
    cvr_free(folder);
    return status;
}

int32_t backend_find_targets(worker *w, cvr_error *err) {
    if (!are_foreign(w->o->op)) CVR_TRY(read_own_cases(w, err));
    for (size_t i = 0; i < w->o->n_cases; i++) CVR_TRY(case_lines_read(w->o->cases[i], &w->lines, &w->n_lines, err));
    CVR_TRY(add_all(w, CVR_KIND_OP, err));
    w->emitters = worker_wants_emitters(w);
    if (w->emitters) CVR_TRY(add_all(w, CVR_KIND_OP, err));
    CVR_TRY(add_all(w, CVR_KIND_LAYER, err));
    return worker_add_lines(w, err);
}

/* ---- the device ---- */

static int32_t open_device(worker *w, const cvr_threadpool *pool, cvr_error *err) {
    const conform_options *o = w->o;
    const void *found;
    void *attrs = NULL;
    const int32_t known = cvr_plugins_find(w->plugins, CVR_KIND_BACKEND, o->backend, &found, err);
    if (known != CVR_OK) return known == CVR_ERR_NOTFOUND ? cvr_fail_as(err, CVR_ERR_USAGE) : known;
    const cvr_backend_desc *b = found;
    const cvr_schema schema = {b->attrs, b->n_attrs};
    CVR_TRY(cvr_attrs_parse(&schema, o->settings, NULL, "the backend", &attrs, err));
    const cvr_device_choice which = {.backend = o->backend, .device = o->device, .attrs = attrs};
    board_doing(w->board, NULL, "while backend %s was opened", o->backend);
    const int32_t status = cvr_device_open(&w->watched.device, w->plugins, &which, pool, err);
    cvr_free(attrs);
    return status;
}

int32_t backend_open(worker *w, cvr_threadpool *pool, cvr_error *err) {
    case_machine *m = &w->watched;
    m->plugins = w->plugins;
    m->pool = pool;
    m->fallback = CVR_FALLBACK_ALLOW;
    (void)snprintf(m->label, sizeof m->label, "%.60s", w->o->backend);
    CVR_TRY(open_device(w, pool, err));
    const bool slow = (cvr_device_backend(m->device)->flags & CVR_BACKEND_TEST) != 0;
    w->board->flops = w->o->flops > 0 ? w->o->flops : slow ? FLOPS_OF_TEST_BACKENDS : 0;
    cvr_device_describe(m->device, w->board->device, sizeof w->board->device);
    w->probe = (placement_probe){
        .board = w->board, .plugins = w->plugins, .device = m->device, .pool = pool, .wanted = w->o->op};
    m->built = placement_look;
    m->built_ctx = &w->probe;
    w->check.device = m->device;
    w->check.bench = (check_bench){.plugins = w->plugins,
                                   .backend = cvr_device_backend(m->device),
                                   .self = cvr_device_self(m->device),
                                   .host_args = true};
    const check_bench bench = {.plugins = w->plugins}; /* kernels are checked by us */
    return check_device_observed(m->device, &bench, kernel_check_on_device, &w->check, err);
}

void backend_memory_job(worker *w) {
    cvr_error err = CVR_ERROR_INIT;
    if (w->o->op) return; /* of ops alone */
    conform_row *row = board_row(w->board, w->o->backend, "memory");
    board_doing(w->board, row, "while its memory was tried");
    row->cases++;
    if (backend_memory(w->watched.device, w->plugins, w->watched.pool, &err) == CVR_OK)
        row->passed++;
    else
        board_fail(w->board, row, "%s", err.message);
}

/* ---- one case ---- */

static bool is_tested(const worker *w, const char *op) {
    for (size_t k = 0; k < w->check.n; k++)
        if (strcmp(w->check.kernels[k].op->name, op) == 0) return true;
    return false;
}

/* The kernels of the ops that compute what is asked for on this device are tried with it. */
static int32_t add_parts(worker *w, cvr_error *err) {
    char name[72];
    for (uint32_t i = 0; i < w->board->n_ops; i++) {
        for (const char *p = w->board->ops[i].parts; *p;) {
            const void *op;
            const size_t n = strcspn(p, ",");
            (void)snprintf(name, sizeof name, "%.*s", (int)n, p);
            CVR_TRY(cvr_plugins_find(w->plugins, CVR_KIND_OP, name, &op, err));
            CVR_TRY(add_kernels(w, op, err));
            p += n + (p[n] ? strlen(", ") : 0);
        }
    }
    return CVR_OK;
}

/* Whether an op that is asked for is in the program, or in its graph; and it is not too large. */
static bool is_to_run(const worker *w, const case_run *run) {
    const cvr_program *p = case_program(run);
    bool wanted = w->probe.met;
    double flops = 0;
    for (size_t i = 0; i < cvr_program_nodes(p); i++) {
        cvr_node_info node;
        cvr_program_node(p, i, &node);
        flops += node.flops;
        wanted = wanted || (placement_wants(w->o->op, node.op) && is_tested(w, node.op));
    }
    if (wanted && w->board->flops > 0 && flops > w->board->flops) {
        w->board->n_large++;
        return false;
    }
    return wanted;
}

/* The case as it is now. `draw`: parameters and gradients are still to be drawn. */
static int32_t run_once(worker *w, layer_case *c, const uint64_t *draw, conform_row *row, const char *how,
                        cvr_error *err) {
    case_run *run;
    case_result r;
    w->probe.met = false;
    board_doing(w->board, row, "while it was built %s", how);
    CVR_TRY(case_open(&run, &w->watched, c, err));
    if (draw) draw_rest(c, run, *draw);
    board_doing(w->board, row, "while it ran %s", how);
    w->check.low = c->low;
    const bool runs = is_to_run(w, run);
    int32_t status = runs && w->o->op ? add_parts(w, err) : CVR_OK;
    if (status == CVR_OK) status = runs ? case_execute(run, c, &r, err) : CVR_OK;
    if (status == CVR_OK && runs) case_result_clear(&r);
    w->check.low = 0;
    case_close(&run);
    return status == CVR_OK && w->check.failed ? cvr_fail(err, CVR_ERR_INTERRUPTED, "a kernel of it failed") : status;
}

int32_t backend_run(worker *w, layer_case *c, uint64_t seed, conform_row *row, cvr_error *err) {
    const bool backward = c->backward;
    w->check.failed = false;
    CVR_TRY(run_once(w, c, &seed, row, "in training", err));
    c->training = c->backward = false;
    CVR_TRY(run_once(w, c, NULL, row, "in evaluation", err));
    c->training = true;
    c->backward = backward;
    for (int i = 0; i < 2; i++) {
        c->low = i ? CVR_F16 : CVR_BF16;
        if (w->lows[i]) CVR_TRY(run_once(w, c, NULL, row, i ? "in f16" : "in bf16", err));
    }
    c->low = 0;
    if (!strstr(c->settings, " > ")) return CVR_OK;
    c->passes = "auto";
    return run_once(w, c, NULL, row, "with passes", err);
}

/* ---- what is missing ---- */

static void judge_op(conform_board *b, const conform_op *o) {
    const conform_place place = conform_place_of(o);
    if (place == PLACE_VIEW || place == PLACE_OF_HOST) return;
    conform_row *row = board_row(b, o->name, "place");
    *b->line = '\0';
    if (place == PLACE_MISS)
        board_fail(b, row, "it is left to the host: %s", o->reason);
    else if (place == PLACE_UNSEEN && *o->trouble)
        board_fail(b, row, "it cannot be planned: %s", o->trouble);
    else if (place == PLACE_UNSEEN)
        board_fail(b, row, "no case reached it; write one into a file and give it by --cases FILE (docs/conform.md)%s",
                   b->stopped ? ", or more time by --seconds" : "");
}

void backend_judge(conform_board *b) {
    for (uint32_t i = 0; i < b->n_ops; i++) judge_op(b, &b->ops[i]);
}
