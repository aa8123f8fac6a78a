/* See kernel_check.h. */
#include "kernel_check.h"
#include <dirent.h>
#include <math.h>
#include <unistd.h>

#define LARGEST_WORKSPACE (UINT64_C(1) << 36) /* bytes; cases are small */
#define TOLERANCE 1e-5                        /* of |b| + max |b| */
#define TOLERANCE_LOW 0x1.8p-6                /* the same where values are bf16: six units in the last place */

/* One kernel on one launch. */
typedef struct verification {
    kernel_check *k;
    const tested_kernel *t;
    cvr_kernel_args args;
    cvr_launch launch;
    cvr_signature sig;
    cvr_tensor shapes[2 * CVR_MAX_IO];
    const cvr_tensor *in[CVR_MAX_IO], *out[CVR_MAX_IO];
} verification;

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
        return check_blame(&k->bench, &v->launch, CVR_ERR_PLUGIN, err,
                           "prints `%s`: a plugin logs, by the host's table, and never prints", text);
    }
    if (k->threads <= threads) return CVR_OK;
    return check_blame(&k->bench, &v->launch, CVR_ERR_PLUGIN, err,
                       "leaves a thread running; kernels use the pool that they are given");
}

/* ---- asking ---- */

static void make_signature(verification *v, uint32_t workers, bool prepared) {
    const cvr_kernel_args *a = &v->args;
    for (uint32_t i = 0; i < a->n_inputs + a->n_outputs; i++) {
        const cvr_tensor *t = i < a->n_inputs ? a->inputs[i] : a->outputs[i - a->n_inputs];
        const cvr_tensor **to = i < a->n_inputs ? &v->in[i] : &v->out[i - a->n_inputs];
        *to = t ? &v->shapes[i] : NULL;
        if (!t) continue;
        v->shapes[i] = *t;
        v->shapes[i].data = NULL;
    }
    v->sig = (cvr_signature){.struct_size = sizeof v->sig,
                             .attrs = a->attrs,
                             .inputs = v->in,
                             .outputs = v->out,
                             .n_inputs = a->n_inputs,
                             .n_outputs = a->n_outputs,
                             .n_workers = workers,
                             .math = CVR_MATH_F32,
                             .prepared = prepared};
}

/* Asked twice: the same answer. *does: whether the kernel takes these tensors. */
static int32_t ask_support(const verification *v, bool *does, cvr_error *err) {
    const cvr_kernel_desc *k = v->t->desc;
    cvr_error first = CVR_ERROR_INIT, second = CVR_ERROR_INIT;
    *does = true;
    for (uint32_t i = 0; i < v->sig.n_inputs + v->sig.n_outputs; i++) {
        const cvr_tensor *t = i < v->sig.n_inputs ? v->in[i] : v->out[i - v->sig.n_inputs];
        if (t && t->dtype == CVR_BF16 && !(k->flags & CVR_KERNEL_BF16)) *does = false;
        if (t && t->dtype == CVR_F16 && !(k->flags & CVR_KERNEL_F16)) *does = false;
    }
    if (!k->supports || !*does) return CVR_OK;
    board_doing(v->k->board, v->t->row, "in its callback `supports`");
    const int32_t one = k->supports(&v->sig, &first), two = k->supports(&v->sig, &second);
    *does = one == CVR_OK;
    if (one == two && strcmp(first.message, second.message) == 0) return CVR_OK;
    return check_blame(&v->k->bench, &v->launch, CVR_ERR_PLUGIN, err,
                       "gives two answers by `supports` to the same question: %d (%.100s), then %d (%.100s)", one,
                       first.message, two, second.message);
}

static int32_t ask_size(const verification *v, uint64_t (*ask)(const cvr_signature *), const char *what, uint64_t *size,
                        cvr_error *err) {
    *size = 0;
    if (!ask) return CVR_OK;
    board_doing(v->k->board, v->t->row, "in its callback `%s`", what);
    *size = ask(&v->sig);
    const uint64_t again = ask(&v->sig);
    if (again != *size)
        return check_blame(&v->k->bench, &v->launch, CVR_ERR_PLUGIN, err,
                           "gives two answers by `%s` to the same question: %llu, then %llu", what,
                           (unsigned long long)*size, (unsigned long long)again);
    if (*size <= LARGEST_WORKSPACE) return CVR_OK;
    return check_blame(&v->k->bench, &v->launch, CVR_ERR_PLUGIN, err, "wants %llu bytes by `%s` for a small case",
                       (unsigned long long)*size, what);
}

static int32_t ask(verification *v, const cvr_threadpool *pool, bool prepared, bool *does, cvr_error *err) {
    make_signature(v, pool->n_workers, prepared);
    v->args.pool = pool;
    CVR_TRY(ask_support(v, does, err));
    return *does ? ask_size(v, v->t->desc->workspace, "workspace", &v->args.workspace_size, err) : CVR_OK;
}

/* ---- running ---- */

static int32_t judge_status(const verification *v, int32_t status, cvr_error *err) {
    if (status >= CVR_OK && status <= CVR_ERR_DEVICE && err->message[0]) return status;
    return check_blame(&v->k->bench, &v->launch, CVR_ERR_PLUGIN, err,
                       status < CVR_OK || status > CVR_ERR_DEVICE ? "returns %d, which is no status that abi.h has"
                                                                  : "fails with status %d and does not say why",
                       status);
}

static int32_t run(const verification *v, check_placement placement, int64_t in_place, kernel_results *out,
                   cvr_error *err) {
    const check_run r = {.launch = &v->launch, .placement = placement, .in_place = in_place, .on_host = true};
    board_doing(v->k->board, v->t->row, "while it computed%s%s, with %u thread%s",
                placement ? " between guard pages (a read or a write out of bounds, or a write to an input)" : "",
                in_place >= 0 ? " in place" : "", v->args.pool->n_workers, v->args.pool->n_workers == 1 ? "" : "s");
    cvr_error_init(err);
    const int32_t status = check_once(&v->k->bench, &r, err);
    if (status != CVR_OK) return judge_status(v, status, err);
    CVR_TRY(check_traces(v, err));
    return out ? kernel_results_take(out, &v->k->bench, v->t->op->mutates, err) : CVR_OK;
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
    status = check_blame(&v->k->bench, &v->launch, CVR_ERR_PLUGIN, err, "gives other bits %s, in %s", what, text);
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
    CVR_TRY(ask(v, v->k->many, false, &does, err));
    if (!does)
        return check_blame(&v->k->bench, &v->launch, CVR_ERR_PLUGIN, err,
                           "supports a case with one thread and not with %u", v->k->many->n_workers);
    if (v->t->desc->flags & CVR_KERNEL_DETERMINISTIC)
        return same_bits(v, CHECK_GUARD_BYTES, -1, want, "with three threads than with one", err);
    return run(v, CHECK_GUARD_BYTES, -1, NULL, err);
}

/* With what it prepares: the same to rounding. */
static int32_t check_prepared(verification *v, const kernel_results *want, cvr_error *err) {
    const cvr_kernel_desc *k = v->t->desc;
    kernel_results have = {.n = 0};
    bool does, low;
    int64_t bad;
    int32_t status;
    if (!k->prepares) return CVR_OK;
    CVR_TRY(ask(v, v->k->one, true, &does, err));
    if (!does) return CVR_OK;
    CVR_TRY(ask_size(v, k->prepared_size, "prepared_size", &v->args.prepared_size, err));
    if (!v->args.prepared_size) return CVR_OK;
    cvr_kernel_desc preparing = *k;
    preparing.payload = k->prepare;
    v->args.prepared = cvr_alloc_aligned(v->args.prepared_size, 64);
    if (!v->args.prepared) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    v->launch.kernel = &preparing;
    const check_run r = {.launch = &v->launch, .in_place = -1, .on_host = true, .prepares = true};
    board_doing(v->k->board, v->t->row, "in its `prepare`");
    CVR_TRY_OUT(check_once(&v->k->bench, &r, err));
    CVR_TRY_OUT(check_take_results(&v->k->bench, &r, err));
    v->launch.kernel = k;
    CVR_TRY_OUT(run(v, CHECK_PAGE_BEHIND, -1, &have, err));
    const double absolute = kernel_rounding(&v->args, v->k->low, &low);
    (void)kernel_results_distance(&have, want, low ? TOLERANCE_LOW : TOLERANCE, absolute, &bad);
    if (bad >= 0)
        status = check_blame(&v->k->bench, &v->launch, CVR_ERR_PLUGIN, err, "differs with what its `prepare` made");
out:
    kernel_results_clear(&have);
    v->launch.kernel = k;
    cvr_free(v->args.prepared);
    v->args.prepared = NULL;
    v->args.prepared_size = 0;
    return status;
}

/* Against what the op means. */
static int32_t check_meaning(const verification *v, const kernel_results *have, const kernel_results *meaning,
                             const char *of, cvr_error *err) {
    char text[160];
    bool low;
    int64_t bad;
    if (!meaning) return CVR_OK;
    const double absolute = kernel_rounding(&v->args, v->k->low, &low);
    const double worst = kernel_results_distance(have, meaning, low ? TOLERANCE_LOW : TOLERANCE, absolute, &bad);
    conform_row *row = v->t->row;
    row->compared = true;
    if (worst > row->worst) row->worst = worst;
    if (bad < 0) return CVR_OK;
    check_tensor_text(&v->args, (uint32_t)bad, text, sizeof text);
    return check_blame(&v->k->bench, &v->launch, CVR_ERR_PLUGIN, err, "differs from %s in %s: relative error %.3g", of,
                       text, worst);
}

static int32_t verify_all(verification *v, const kernel_results *meaning, const char *of, bool *does, cvr_error *err) {
    kernel_results have = {.n = 0};
    int32_t status;
    CVR_TRY_OUT(ask(v, v->k->one, false, does, err));
    if (!*does) goto out;
    CVR_TRY_OUT(run(v, CHECK_GUARD_BYTES, -1, &have, err));
    CVR_TRY_OUT(check_meaning(v, &have, meaning, of, err));
    CVR_TRY_OUT(run(v, CHECK_PAGE_BEHIND, -1, NULL, err));
    CVR_TRY_OUT(run(v, CHECK_PAGE_IN_FRONT, -1, NULL, err));
    if (v->t->desc->flags & CVR_KERNEL_DETERMINISTIC)
        CVR_TRY_OUT(same_bits(v, CHECK_GUARD_BYTES, -1, &have,
                              "the second time, though it is flagged CVR_KERNEL_DETERMINISTIC", err));
    if (v->t->desc->flags & CVR_KERNEL_DETERMINISTIC) CVR_TRY_OUT(check_in_place_bits(v, &have, err));
    CVR_TRY_OUT(check_threads(v, &have, err));
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
    memset(&v, 0, sizeof v);
    v.k = k;
    v.t = t;
    v.args = *l->args;
    v.args.workspace_size = v.args.prepared_size = 0;
    v.args.prepared = NULL;
    v.launch = (cvr_launch){
        .struct_size = sizeof v.launch, .kernel = t->desc, .args = &v.args, .name = t->op->name, .op = t->op};
    k->bench.what = CVR_CHECK_MEMORY | (k->positive && !meaning ? CVR_CHECK_NAN : 0);
    const int32_t status = verify_all(&v, meaning, of, &does, &err);
    if (status == CVR_OK && !does) return;
    t->row->cases++;
    t->row->passed += status == CVR_OK;
    k->failed = k->failed || status != CVR_OK;
    if (status != CVR_OK) board_fail(k->board, t->row, "%s", err.message);
    if (!meaning && !*t->row->note)
        (void)snprintf(t->row->note, sizeof t->row->note,
                       "compared with nothing: the op has neither another reference kernel nor a decomposition");
}

/* ---- what the op means ---- */

static bool is_reference(const cvr_kernel_desc *k) {
    return strcmp(k->backend, "reference") == 0;
}

/* Where it is under test itself. */
static const conform_row *row_of(const kernel_check *k, const cvr_kernel_desc *desc) {
    for (size_t i = 0; i < k->n; i++)
        if (k->kernels[i].desc == desc) return k->kernels[i].row;
    return NULL;
}

/* The op's reference kernel, on the launch's inputs. */
static int32_t reference_results(kernel_check *k, const cvr_op_desc *op, const cvr_launch *l, kernel_results *out,
                                 const cvr_kernel_desc **which, cvr_error *err) {
    const cvr_kernel_desc *const *kernels;
    size_t n;
    *which = NULL;
    CVR_TRY(cvr_plugins_kernels(k->plugins, op, "reference", &kernels, &n, err));
    for (size_t i = 0; i < n && !*which; i++) {
        static verification v;
        const tested_kernel t = {kernels[i], op, NULL};
        bool does = cvr_kernel_is_host(kernels[i]);
        if (!does) continue;
        memset(&v, 0, sizeof v);
        v.k = k;
        v.t = &t;
        v.args = *l->args;
        v.args.workspace_size = v.args.prepared_size = 0;
        v.args.prepared = NULL;
        v.launch = (cvr_launch){
            .struct_size = sizeof v.launch, .kernel = kernels[i], .args = &v.args, .name = op->name, .op = op};
        CVR_TRY(ask(&v, k->one, false, &does, err));
        if (!does) continue;
        *which = kernels[i];
        k->bench.what = 0;
        board_doing(k->board, row_of(k, kernels[i]), "while it computed");
        const check_run r = {.launch = &v.launch, .in_place = -1, .on_host = true};
        CVR_TRY(check_once(&k->bench, &r, err));
        return kernel_results_take(out, &k->bench, op->mutates, err);
    }
    return CVR_OK;
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
        left = left || (k->kernels[i].op == op && k->kernels[i].row->left && is_reference(k->kernels[i].desc));
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
    int32_t status = reference_results(k, op, l, &reference, &which, &why);
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
