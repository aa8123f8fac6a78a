/* Runs one launch on copies of its tensors, and says what the kernel did wrong. */
#include "check_launch.h"
#include <cvr/plugin/f16.h>
#include <math.h>
#include <stdarg.h>

/* ---- words ---- */

int32_t check_blame(const check_bench *b, const cvr_launch *l, int32_t status, cvr_error *err, const char *format,
                    ...) {
    const cvr_kernel_desc *k = l->kernel;
    const char *owner = cvr_plugins_owner(b->plugins, k), *isa = k->isa ? k->isa : "";
    char what[600];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    return cvr_fail(err, status, "%s: kernel %s/%s%s%s%s of plugin %s %s", l->name, k->backend, k->op, *isa ? " (" : "",
                    isa, *isa ? ")" : "", owner ? owner : "?", what);
}

static const cvr_tensor *tensor_at(const cvr_kernel_args *a, uint32_t block) {
    if (block < a->n_inputs) return a->inputs[block];
    return block - a->n_inputs < a->n_outputs ? a->outputs[block - a->n_inputs] : NULL;
}

void check_tensor_text(const cvr_kernel_args *a, uint32_t block, char *buf, size_t size) {
    const cvr_tensor *t = tensor_at(a, block);
    if (!t) {
        const bool workspace = block == a->n_inputs + a->n_outputs;
        (void)snprintf(buf, size, "its %s of %llu bytes", workspace ? "workspace" : "prepared memory",
                       (unsigned long long)(workspace ? a->workspace_size : a->prepared_size));
        return;
    }
    const bool input = block < a->n_inputs;
    size_t n = (size_t)snprintf(buf, size, "%s %u, %s (", input ? "input" : "output",
                                input ? block : block - a->n_inputs, cvr_dtype_name(t->dtype));
    for (uint32_t i = 0; i < t->rank && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    if (n < size) (void)snprintf(buf + n, size - n, ")");
}

float check_real(const uint8_t *at, uint32_t dtype) {
    uint32_t bits = 0;
    uint16_t half;
    float x;
    memcpy(&half, at, sizeof half);
    if (dtype == CVR_F16) return cvr_f32_of_f16(half);
    if (dtype == CVR_BF16)
        bits = (uint32_t)half << 16;
    else
        memcpy(&bits, at, sizeof bits);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* One element as text. */
static void element_text(const uint8_t *at, uint32_t dtype, char *buf, size_t size) {
    union {
        uint8_t bytes[8];
        int32_t whole;
        int64_t large;
    } v = {{0}};
    memcpy(v.bytes, at, cvr_dtype_size(dtype));
    if (dtype == CVR_F32 || dtype == CVR_BF16 || dtype == CVR_F16)
        (void)snprintf(buf, size, "%g", (double)check_real(at, dtype));
    else if (dtype == CVR_I64)
        (void)snprintf(buf, size, "%lld", (long long)v.large);
    else if (dtype == CVR_I32)
        (void)snprintf(buf, size, "%d", v.whole);
    else
        (void)snprintf(buf, size, "%u", v.bytes[0] | (unsigned)v.bytes[1] << 8);
}

/* ---- what a kernel may not do ---- */

static int32_t check_guards(const check_bench *b, const cvr_launch *l, uint32_t i, cvr_error *err) {
    const check_block *k = &b->blocks[i];
    const uint64_t end = k->at + k->bytes;
    char text[160];
    check_tensor_text(l->args, i, text, sizeof text);
    for (uint64_t p = end; p < k->to + CHECK_GUARD / 2; p++)
        if (b->after[p] != b->before[p])
            return check_blame(b, l, CVR_ERR_PLUGIN, err, "writes past the end of %s: byte %llu behind it is changed",
                               text, (unsigned long long)(p - end));
    for (uint64_t p = k->at; p-- > k->from - CHECK_GUARD / 2;)
        if (b->after[p] != b->before[p])
            return check_blame(b, l, CVR_ERR_PLUGIN, err,
                               "writes in front of %s: the byte %llu before its first is changed", text,
                               (unsigned long long)(k->at - p));
    return CVR_OK;
}

static int32_t check_input(const check_bench *b, const cvr_launch *l, uint32_t i, cvr_error *err) {
    const check_block *k = &b->blocks[i];
    const uint8_t *was = b->before + k->at, *is = b->after + k->at;
    const uint64_t size = k->dtype ? cvr_dtype_size(k->dtype) : 1;
    char text[160], old[32], new[32];
    if (memcmp(was, is, k->bytes) == 0) return CVR_OK;
    uint64_t at = 0;
    while (was[at] == is[at]) at++;
    at /= size;
    check_tensor_text(l->args, i, text, sizeof text);
    element_text(was + at * size, k->dtype, old, sizeof old);
    element_text(is + at * size, k->dtype, new, sizeof new);
    return check_blame(
        b, l, CVR_ERR_PLUGIN, err,
        "changes %s, which is only to be read: element %llu in memory was %s and is %s (neither the op's "
        "`mutates` nor output 0 in its place, by the kernel's `inplace`, allow it)",
        text, (unsigned long long)at, old, new);
}

/* Elements that still are what they were before the kernel ran. */
static uint64_t left_over(const check_bench *b, const check_block *k, uint64_t *first) {
    const uint64_t size = cvr_dtype_size(k->dtype);
    uint64_t n = 0;
    for (uint64_t i = k->bytes / size; i-- > 0;) {
        if (!check_is_pattern(b->after + k->at + i * size, size)) continue;
        *first = i;
        n++;
    }
    /* A byte has no value that kernels do not make; of many not all are that one. */
    return size > 1 || (n >= 16 && n == k->bytes) ? n : 0;
}

static int32_t check_output(const check_bench *b, const cvr_launch *l, uint32_t i, cvr_error *err) {
    const check_block *k = &b->blocks[i];
    uint64_t first = 0;
    const uint64_t n = left_over(b, k, &first), all = k->bytes / cvr_dtype_size(k->dtype);
    char text[160];
    if (!n) return CVR_OK;
    check_tensor_text(l->args, i, text, sizeof text);
    if (n == all) return check_blame(b, l, CVR_ERR_PLUGIN, err, "writes nothing to %s", text);
    return check_blame(b, l, CVR_ERR_PLUGIN, err,
                       "leaves %llu of %llu elements of %s unwritten, the first of them element %llu in memory",
                       (unsigned long long)n, (unsigned long long)all, text, (unsigned long long)first);
}

static int32_t check_memory(const check_bench *b, const check_run *r, cvr_error *err) {
    for (uint32_t i = 0; i < b->n_blocks; i++)
        if (b->blocks[i].used && b->blocks[i].shares < 0) CVR_TRY(check_guards(b, r->launch, i, err));
    for (uint32_t i = 0; i < b->n_blocks; i++) {
        const check_block *k = &b->blocks[i];
        const bool output = i >= b->n_inputs && i < b->n_blocks - 2;
        if (!k->used || k->shares >= 0) continue;
        if (!k->written) CVR_TRY(check_input(b, r->launch, i, err));
        if (output && !r->prepares) CVR_TRY(check_output(b, r->launch, i, err));
    }
    return CVR_OK;
}

/* ---- NaN ---- */

typedef struct odd_numbers {
    uint64_t nans, infinities, first; /* first: of the NaN */
} odd_numbers;

static odd_numbers count_odd(const uint8_t *bytes, const check_block *k) {
    odd_numbers odd = {0};
    const uint64_t size = cvr_dtype_size(k->dtype);
    if (k->dtype != CVR_F32 && k->dtype != CVR_BF16 && k->dtype != CVR_F16) return odd;
    for (uint64_t i = 0; i < k->bytes / size; i++) {
        const float x = check_real(bytes + k->at + i * size, k->dtype);
        if (isnan(x) && odd.nans++ == 0) odd.first = i;
        odd.infinities += isinf(x) != 0;
    }
    return odd;
}

static odd_numbers count_inputs(const check_bench *b) {
    odd_numbers all = {0};
    for (uint32_t i = 0; i < b->n_inputs; i++) {
        if (!b->blocks[i].used) continue;
        const odd_numbers one = count_odd(b->before, &b->blocks[i]);
        all.nans += one.nans;
        all.infinities += one.infinities;
    }
    return all;
}

static int32_t nan_made(const check_bench *b, const cvr_launch *l, uint32_t i, const odd_numbers *in,
                        const odd_numbers *out, cvr_error *err) {
    char text[160];
    check_tensor_text(l->args, i, text, sizeof text);
    return check_blame(b, l, CVR_ERR_NUMERIC, err,
                       "makes the first NaN: %llu of %s, element %llu in memory first; no input has one%s%s",
                       (unsigned long long)out->nans, text, (unsigned long long)out->first,
                       in->infinities ? ", but infinities, made by " : "",
                       in->infinities ? (*b->infinite_by ? b->infinite_by : "no node") : "");
}

static int32_t check_nan(check_bench *b, const check_run *r, cvr_error *err) {
    const odd_numbers in = count_inputs(b);
    if (r->prepares || in.nans) return CVR_OK;
    for (uint32_t i = 0; i < b->n_blocks - 2; i++) {
        if (!b->blocks[i].used || !b->blocks[i].written) continue;
        const odd_numbers out = count_odd(b->after, &b->blocks[i]);
        if (out.nans) return nan_made(b, r->launch, i, &in, &out, err);
        if (out.infinities && !in.infinities)
            (void)snprintf(b->infinite_by, sizeof b->infinite_by, "%s", r->launch->name);
    }
    return CVR_OK;
}

/* ---- running ---- */

typedef struct moved_args {
    cvr_kernel_args args;
    cvr_tensor tensors[2 * CVR_MAX_IO], expected[2 * CVR_MAX_IO];
    const cvr_tensor *inputs[CVR_MAX_IO];
    cvr_tensor *outputs[CVR_MAX_IO];
    cvr_range ranges[CHECK_MOST_BLOCKS];
    const cvr_range *touches[CHECK_MOST_BLOCKS];
} moved_args;

static void move_args(const check_bench *b, const cvr_kernel_args *a, moved_args *m) {
    for (uint32_t i = 0; i < a->n_inputs + a->n_outputs; i++) {
        const cvr_tensor *t = tensor_at(a, i);
        cvr_tensor *copy = NULL;
        if (t) {
            copy = &m->tensors[i];
            *copy = *t;
            copy->data = b->scratch + b->blocks[i].at;
            m->expected[i] = *copy;
        }
        if (i < a->n_inputs)
            m->inputs[i] = copy;
        else
            m->outputs[i - a->n_inputs] = copy;
    }
    const check_block *last = &b->blocks[b->n_blocks - 2];
    m->args = *a;
    m->args.inputs = m->inputs;
    m->args.outputs = m->outputs;
    m->args.workspace = b->scratch + last[0].at;
    if (a->prepared) m->args.prepared = b->scratch + last[1].at;
}

/* What the launch touches, as it lies now. */
static void move_ranges(const check_bench *b, const check_run *r, moved_args *m, cvr_launch *moved) {
    moved->touches = m->touches;
    moved->n_touches = 0;
    for (uint32_t i = 0; i < b->n_blocks; i++) {
        const check_block *k = &b->blocks[i];
        const bool workspace = i == b->n_blocks - 2, input = i < r->launch->args->n_inputs;
        const uint32_t read = input || workspace || i == b->n_blocks - 1 ? CVR_RANGE_READ : 0;
        if (!k->used || !k->bytes) continue;
        m->ranges[moved->n_touches] = (cvr_range){.struct_size = sizeof *m->ranges,
                                                  .address = b->scratch + k->at,
                                                  .bytes = k->bytes,
                                                  .flags = read | (k->written ? CVR_RANGE_WRITE : 0)};
        m->touches[moved->n_touches] = &m->ranges[moved->n_touches];
        moved->n_touches++;
    }
}

static int32_t check_descriptors(const check_bench *b, const cvr_launch *l, const moved_args *m, cvr_error *err) {
    char text[160];
    for (uint32_t i = 0; i < l->args->n_inputs + l->args->n_outputs; i++) {
        if (!tensor_at(l->args, i) || memcmp(&m->tensors[i], &m->expected[i], sizeof m->tensors[i]) == 0) continue;
        check_tensor_text(l->args, i, text, sizeof text);
        return check_blame(b, l, CVR_ERR_PLUGIN, err,
                           "changes the descriptor of %s: a kernel writes what `data` points to, never the cvr_tensor",
                           text);
    }
    return CVR_OK;
}

static int32_t run_by_backend(const check_bench *b, const cvr_launch *l, uint64_t id, cvr_error *err) {
    const cvr_launch *const one[] = {l};
    const cvr_record_request request = {.struct_size = sizeof request,
                                        .launches = one,
                                        .n_launches = 1,
                                        .id = id,
                                        .kept = l->touches,
                                        .n_kept = l->n_touches};
    uint64_t ticket;
    void *recording;
    CVR_TRY(b->backend->record(b->self, &request, &recording, err));
    /* A call of its own: what it says of the launch is read while that still stands. */
    int32_t status = CVR_CALL(b->backend, replay, NULL, err, b->self, recording, 0, &ticket);
    if (status == CVR_OK && ticket) status = b->backend->wait(b->self, ticket, err);
    b->backend->discard(b->self, recording);
    return status;
}

static int32_t run_moved(const check_bench *b, const check_run *r, moved_args *m, cvr_error *err) {
    cvr_launch moved = *r->launch;
    moved.args = &m->args;
    move_ranges(b, r, m, &moved);
    if (b->backend && !r->on_host) return run_by_backend(b, &moved, r->id, err);
    cvr_call_enter(moved.kernel, "run", moved.name, NULL); /* who is named should it fault */
    const int32_t status = ((const cvr_cpu_fn *)moved.kernel->payload)->run(&m->args, err);
    (void)cvr_call_leave(CVR_OK, NULL); /* what a status without words means is for the caller */
    return status;
}

int32_t check_once(check_bench *b, const check_run *r, cvr_error *err) {
    const uint64_t mutates = r->prepares ? 0 : r->launch->op->mutates;
    moved_args *m = cvr_calloc(1, sizeof *m);
    int32_t status;
    if (!m) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for backend.check");
    b->remote = b->backend && !r->on_host && !(b->backend->flags & CVR_BACKEND_HOST_VISIBLE);
    CVR_TRY_OUT(check_lay_out(b, r, mutates, err));
    CVR_TRY_OUT(check_fill(b, r, err));
    move_args(b, r->launch->args, m);
    CVR_TRY_OUT(run_moved(b, r, m, err));
    CVR_TRY_OUT(check_collect(b, err));
    CVR_TRY_OUT(check_descriptors(b, r->launch, m, err));
    if (b->what & CVR_CHECK_MEMORY) CVR_TRY_OUT(check_memory(b, r, err));
    if (b->what & CVR_CHECK_NAN) CVR_TRY_OUT(check_nan(b, r, err));
out:
    cvr_free(m);
    return status;
}

int64_t check_in_place(const cvr_kernel_args *a) {
    for (uint32_t i = 0; a->n_outputs && a->outputs[0] && i < a->n_inputs; i++)
        if (a->inputs[i] && a->inputs[i]->data == a->outputs[0]->data) return i;
    return -1;
}

/* Output 0 as it came when it had memory of its own. */
static int32_t same_in_place(const check_bench *b, const cvr_launch *l, const uint8_t *apart, cvr_error *err) {
    const check_block *k = &b->blocks[b->n_inputs];
    if (memcmp(apart, b->after + k->at, k->bytes) == 0) return CVR_OK;
    return check_blame(b, l, CVR_ERR_PLUGIN, err,
                       "gives other bits where output 0 takes the place of an input; take that input out of `inplace`, "
                       "or, if it gives other bits each time, `CVR_KERNEL_DETERMINISTIC` out of `flags`");
}

/* In place as the plan has it, after a run apart, in which nothing of the input can pass for a result. */
static int32_t check_placed(check_bench *b, check_run *r, cvr_error *err) {
    const int64_t in_place = r->in_place;
    uint8_t *apart = NULL;
    int32_t status;
    if (in_place < 0) return check_once(b, r, err);
    r->in_place = -1;
    CVR_TRY_OUT(check_once(b, r, err));
    r->in_place = in_place;
    const check_block *k = &b->blocks[b->n_inputs];
    apart = cvr_alloc_aligned(k->bytes + 1, 8);
    if (!apart) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory for backend.check"));
    memcpy(apart, b->after + k->at, k->bytes);
    CVR_TRY_OUT(check_once(b, r, err));
    CVR_TRY_OUT(same_in_place(b, r->launch, apart, err));
out:
    r->in_place = in_place;
    cvr_free(apart);
    return status;
}

int32_t check_launch(check_bench *b, const cvr_launch *l, uint64_t id, bool on_host, cvr_error *err) {
    check_run r = {.launch = l, .id = id, .on_host = on_host, .in_place = check_in_place(l->args)};
    r.prepares = (l->flags & CVR_LAUNCH_PREPARES) != 0;
    if (r.prepares) r.in_place = -1;
    if (b->what & CVR_CHECK_PAGES) {
        const bool host = on_host || !b->backend || (b->backend->flags & CVR_BACKEND_HOST_VISIBLE);
        for (r.placement = CHECK_PAGE_BEHIND; host && r.placement <= CHECK_PAGE_IN_FRONT; r.placement++)
            CVR_TRY(check_once(b, &r, err));
        r.placement = CHECK_GUARD_BYTES;
    }
    CVR_TRY(check_placed(b, &r, err));
    return check_take_results(b, &r, err);
}
