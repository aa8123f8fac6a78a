/* See kernel_check.h. */
#include "kernel_check.h"
#include "kernel_ask.h"
#include <dirent.h>
#include <math.h>
#include <unistd.h>

/* ---- what a process must not be left with ---- */

static size_t count_threads(void) {
    DIR *d = opendir("/proc/self/task");
    size_t n = 0;
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

void kernel_check_look(kernel_check *k) {
    (void)fflush(stdout);
    k->printed = lseek(k->output, 0, SEEK_END);
    k->threads = count_threads();
}

/* Since the last look. */
static int32_t check_traces(const verification *v, cvr_error *err) {
    kernel_check *k = v->k;
    char text[80] = "";
    const off_t was = k->printed;
    const size_t threads = k->threads;
    kernel_check_look(k);
    if (k->printed > was) {
        const ssize_t n = pread(k->output, text, sizeof text - 1, was);
        text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
        return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err,
                           "prints `%s`: a plugin logs, by the host's table, and never prints", text);
    }
    /* a device's driver may start threads of its own whenever something is submitted */
    if (k->threads <= threads || !cvr_kernel_is_host(v->t->desc)) return CVR_OK;
    return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err,
                       "leaves a thread running; kernels use the pool that they are given");
}

/* ---- running ---- */

static int32_t judge_status(const verification *v, int32_t status, cvr_error *err) {
    if (status >= CVR_OK && status <= CVR_ERR_DEVICE && err->message[0]) return status;
    return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err,
                       status < CVR_OK || status > CVR_ERR_DEVICE ? "returns %d, which is no status that abi.h has"
                                                                  : "fails with status %d and does not say why",
                       status);
}

static int32_t run(const verification *v, check_placement placement, int64_t in_place, kernel_results *out,
                   cvr_error *err) {
    const check_run r = {.launch = &v->launch, .placement = placement, .in_place = in_place, .on_host = !v->k->device};
    board_doing(v->k->board, v->t->row, "while it computed%s%s, with %u thread%s",
                placement ? " between guard pages (a read or a write out of bounds, or a write to an input)" : "",
                in_place >= 0 ? " in place" : "", v->args.pool->n_workers, v->args.pool->n_workers == 1 ? "" : "s");
    cvr_error_init(err);
    const int32_t status = check_once(v->bench, &r, err);
    if (status != CVR_OK) return judge_status(v, status, err);
    CVR_TRY(check_traces(v, err));
    return out ? kernel_results_take(out, v->bench, v->t->op->mutates, err) : CVR_OK;
}

int32_t verification_run(const verification *v, cvr_error *err) {
    return run(v, CHECK_GUARD_BYTES, -1, NULL, err);
}

/* Once more in another way: the same bits. */
static int32_t same_bits(const verification *v, check_placement placement, int64_t in_place, const kernel_results *want,
                         const char *what, cvr_error *err) {
    kernel_results have = {.n = 0};
    char text[160];
    int32_t status;
    CVR_TRY_OUT(run(v, placement, in_place, &have, err));
    const int64_t where = kernel_results_differ(want, &have);
    if (where < 0) goto out;
    check_tensor_text(&v->args, (uint32_t)where, text, sizeof text);
    status = check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err, "gives other bits %s, in %s", what, text);
out:
    kernel_results_clear(&have);
    return status;
}

static uint64_t bytes_of(const cvr_tensor *t) {
    return t ? check_tensor_bytes(t) : UINT64_MAX;
}

static int32_t check_in_place_bits(const verification *v, const kernel_results *want, cvr_error *err) {
    const cvr_kernel_args *a = &v->args;
    for (uint32_t i = 0; i < a->n_inputs && i < 64 && a->n_outputs; i++) {
        if (!(v->t->desc->inplace >> i & 1) || !a->inputs[i] || bytes_of(a->inputs[i]) != bytes_of(a->outputs[0]))
            continue;
        char what[80];
        (void)snprintf(what, sizeof what, "where output 0 takes the place of input %u (its `inplace`)", i);
        CVR_TRY(same_bits(v, CHECK_GUARD_BYTES, i, want, what, err));
    }
    return CVR_OK;
}

static int32_t check_threads(verification *v, const kernel_results *want, cvr_error *err) {
    bool does;
    CVR_TRY(verification_ask(v, v->k->many, false, &does, err));
    if (!does)
        return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err, "supports a case with one thread and not with %u",
                           v->k->many->n_workers);
    if (v->t->desc->flags & CVR_KERNEL_DETERMINISTIC)
        return same_bits(v, CHECK_GUARD_BYTES, -1, want, "with three threads than with one", err);
    return run(v, CHECK_GUARD_BYTES, -1, NULL, err);
}

/* Guard pages are the host's. */
static bool has_pages(const verification *v) {
    return !v->k->device || (v->bench->backend->flags & CVR_BACKEND_HOST_VISIBLE);
}

/* With what it prepares: the same to rounding. */
static int32_t check_prepared(verification *v, const kernel_results *want, cvr_error *err) {
    const cvr_kernel_desc *k = v->t->desc;
    kernel_results have = {.n = 0};
    bool does;
    int64_t bad;
    int32_t status;
    if (!k->prepares) return CVR_OK;
    CVR_TRY(verification_ask(v, v->k->one, true, &does, err));
    if (!does) return CVR_OK;
    CVR_TRY(verification_ask_size(v, k->prepared_size, "prepared_size", &v->args.prepared_size, err));
    if (!v->args.prepared_size) return CVR_OK;
    cvr_kernel_desc preparing = *k;
    preparing.payload = k->prepare;
    v->args.prepared = cvr_alloc_aligned(v->args.prepared_size, 64);
    if (!v->args.prepared) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    v->launch.kernel = &preparing;
    v->launch.flags = CVR_LAUNCH_PREPARES;
    const check_run r = {.launch = &v->launch, .in_place = -1, .on_host = !v->k->device, .prepares = true};
    board_doing(v->k->board, v->t->row, "in its `prepare`");
    CVR_TRY_OUT(check_once(v->bench, &r, err));
    CVR_TRY_OUT(check_take_results(v->bench, &r, err));
    v->launch.kernel = k;
    v->launch.flags = 0;
    CVR_TRY_OUT(run(v, has_pages(v) ? CHECK_PAGE_BEHIND : CHECK_GUARD_BYTES, -1, &have, err));
    const kernel_tolerance allowed = kernel_tolerance_of(&v->args, v->k->low);
    (void)kernel_results_distance(&have, want, &allowed, &bad);
    if (bad >= 0)
        status = check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err, "differs with what its `prepare` made");
out:
    kernel_results_clear(&have);
    v->launch.kernel = k;
    v->launch.flags = 0;
    cvr_free(v->args.prepared);
    v->args.prepared = NULL;
    v->args.prepared_size = 0;
    return status;
}

/* Against what the op means. */
static int32_t check_meaning(const verification *v, const kernel_results *have, const kernel_results *meaning,
                             const char *of, cvr_error *err) {
    char text[160];
    int64_t bad;
    if (!meaning) return CVR_OK;
    const kernel_tolerance allowed = kernel_tolerance_of(&v->args, v->k->low);
    const double worst = kernel_results_distance(have, meaning, &allowed, &bad);
    conform_row *row = v->t->row;
    row->compared = true;
    if (worst > row->worst) row->worst = worst;
    if (bad < 0) return CVR_OK;
    check_tensor_text(&v->args, (uint32_t)bad, text, sizeof text);
    return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err, "differs from %s in %s: relative error %.3g", of,
                       text, worst);
}

static int32_t verify_all(verification *v, const kernel_results *meaning, const char *of, bool *does, cvr_error *err) {
    kernel_results have = {.n = 0};
    int32_t status;
    CVR_TRY_OUT(verification_ask(v, v->k->one, false, does, err));
    if (!*does) goto out;
    CVR_TRY_OUT(run(v, CHECK_GUARD_BYTES, -1, &have, err));
    CVR_TRY_OUT(check_meaning(v, &have, meaning, of, err));
    if (has_pages(v)) CVR_TRY_OUT(run(v, CHECK_PAGE_BEHIND, -1, NULL, err));
    if (has_pages(v)) CVR_TRY_OUT(run(v, CHECK_PAGE_IN_FRONT, -1, NULL, err));
    if (v->t->desc->flags & CVR_KERNEL_DETERMINISTIC)
        CVR_TRY_OUT(same_bits(v, CHECK_GUARD_BYTES, -1, &have,
                              "the second time, though it is flagged CVR_KERNEL_DETERMINISTIC", err));
    if (v->t->desc->flags & CVR_KERNEL_DETERMINISTIC) CVR_TRY_OUT(check_in_place_bits(v, &have, err));
    CVR_TRY_OUT(verification_idle(v, err));
    if (cvr_kernel_is_host(v->t->desc)) CVR_TRY_OUT(check_threads(v, &have, err));
    CVR_TRY_OUT(check_prepared(v, &have, err));
out:
    kernel_results_clear(&have);
    return status;
}

static void verify(kernel_check *k, const tested_kernel *t, const cvr_launch *l, const kernel_results *meaning,
                   const char *of) {
    static verification v;
    cvr_error err = CVR_ERROR_INIT;
    bool does = true;
    verification_begin(&v, k, t, l);
    v.bench->what = CVR_CHECK_MEMORY | (k->positive && !meaning && !k->refused ? CVR_CHECK_NAN : 0);
    const int32_t status = verify_all(&v, meaning, of, &does, &err);
    if (status == CVR_OK && !does) return;
    if (k->refused && status != CVR_OK && status != CVR_ERR_PLUGIN) return; /* it fails as the reference kernel does */
    t->row->cases++;
    t->row->passed += status == CVR_OK;
    k->failed = k->failed || status != CVR_OK;
    if (status != CVR_OK) board_fail(k->board, t->row, "%s", err.message);
    if (!meaning && !*t->row->note && !k->refused)
        (void)snprintf(t->row->note, sizeof t->row->note,
                       "compared with nothing: the op has neither another reference kernel nor a decomposition");
}

bool kernel_check_has(const kernel_check *k, const cvr_op_desc *op) {
    for (size_t i = 0; i < k->n; i++)
        if (k->kernels[i].op == op) return true;
    return false;
}

static void verify_kernels(kernel_check *k, const cvr_op_desc *op, const cvr_launch *l, const cvr_kernel_desc *which,
                           const kernel_results *reference, const kernel_results *parts) {
    for (size_t i = 0; i < k->n; i++) {
        const tested_kernel *t = &k->kernels[i];
        if (t->op != op || t->row->left) continue;
        const bool itself = which == t->desc || !which;
        const kernel_results *meaning = itself ? parts : reference;
        verify(k, t, l, meaning, itself ? "the op's decomposition" : "the reference kernel");
    }
}

/* The op is left alone once it has hung, or has died again and again. */
static bool is_left(const kernel_check *k, const cvr_op_desc *op) {
    bool left = false;
    for (size_t i = 0; i < k->n; i++)
        left = left || (k->kernels[i].op == op && k->kernels[i].row->left &&
                        strcmp(k->kernels[i].desc->backend, "reference") == 0);
    return left;
}

int32_t kernel_check_launch(void *ctx, const cvr_launch *l, cvr_error *err) {
    kernel_check *k = ctx;
    kernel_results reference = {.n = 0}, parts = {.n = 0};
    const cvr_kernel_desc *which = NULL;
    cvr_error why = CVR_ERROR_INIT;
    const cvr_op_desc *op = l->op;
    if (!kernel_check_has(k, op) || (l->flags & CVR_LAUNCH_PREPARES)) return CVR_OK;
    if (is_left(k, op)) return cvr_fail(err, CVR_ERR_INTERRUPTED, "%s is left alone", op->name);
    const int32_t status = kernel_reference(k, l, &reference, &which, &why);
    k->refused = k->device && status != CVR_OK;
    board_doing(k->board, NULL, "in the decomposition of %s", op->name);
    const int32_t has_parts = kernel_decomposed(k, op, l->args, &parts, &why);
    if (has_parts != CVR_OK && has_parts != CVR_ERR_UNSUPPORTED) {
        conform_row *row = board_row(k->board, op->name, "decomposition");
        row->cases++;
        board_fail(k->board, row, "%s", why.message);
    }
    if (status != CVR_OK) which = NULL; /* it is blamed where it is under test itself */
    verify_kernels(k, op, l, which, which && reference.n ? &reference : NULL, has_parts == CVR_OK ? &parts : NULL);
    kernel_results_clear(&reference);
    kernel_results_clear(&parts);
    board_doing(k->board, NULL, "after the kernels of %s", op->name);
    return k->failed ? cvr_fail(err, CVR_ERR_INTERRUPTED, "a kernel of %s failed", op->name) : CVR_OK;
}
