/* Copies of a launch's tensors between guard bytes or guard pages: where they lie, and how bytes get there and back. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "check_launch.h"
#include <sys/mman.h>

uint64_t check_tensor_bytes(const cvr_tensor *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
}

bool check_is_pattern(const void *element, uint64_t size) {
    const uint64_t pattern = CHECK_PATTERN >> (64 - 8 * size); /* the upper half of it for bf16: also a NaN */
    return memcmp(element, &pattern, size) == 0;
}

static void fill_pattern(uint8_t *to, uint64_t bytes, uint32_t dtype) {
    const uint64_t size = dtype ? cvr_dtype_size(dtype) : 4, pattern = CHECK_PATTERN >> (64 - 8 * size);
    for (uint64_t i = 0; i < bytes; i += size) memcpy(to + i, &pattern, bytes - i < size ? bytes - i : size);
}

/* ---- where they lie ---- */

static void place(check_bench *b, check_block *k, uint64_t bytes) {
    const uint64_t room = (bytes + b->unit - 1) / b->unit * b->unit;
    k->used = true;
    k->bytes = bytes;
    k->from = b->used_bytes + b->unit;
    k->to = k->from + room;
    /* A workspace is 64-byte aligned, so its end may be short of the page. */
    const uint64_t aligned = k->dtype ? bytes : (bytes + 63) / 64 * 64;
    k->at = b->placement == CHECK_PAGE_BEHIND ? k->to - aligned : k->from;
    b->used_bytes = k->to;
}

static void share(check_bench *b, uint32_t k, uint32_t with) {
    const check_block *other = &b->blocks[with];
    check_block *own = &b->blocks[k];
    const uint64_t bytes = own->bytes;
    const uint32_t dtype = own->dtype;
    *own = *other;
    own->bytes = bytes;
    own->dtype = dtype;
    own->shares = with;
}

static void lay_tensor(check_bench *b, uint32_t k, const cvr_tensor *t, int64_t with) {
    b->blocks[k].dtype = t->dtype;
    b->blocks[k].bytes = check_tensor_bytes(t);
    if (with >= 0 && b->blocks[with].bytes == b->blocks[k].bytes)
        share(b, k, (uint32_t)with);
    else
        place(b, &b->blocks[k], b->blocks[k].bytes);
}

/* An input that is there before, at the same address: the same value twice, or a view of it. */
static int64_t same_input(const cvr_kernel_args *a, uint32_t i) {
    for (uint32_t k = 0; k < i; k++)
        if (a->inputs[k] && a->inputs[k]->data == a->inputs[i]->data) return k;
    return -1;
}

static int32_t make_room(check_bench *b, cvr_error *err) {
    const bool mapped = !b->remote;
    if (b->scratch && b->scratch_mapped == mapped && b->scratch_bytes >= b->used_bytes) return CVR_OK;
    check_bench_close(b);
    b->scratch_bytes = b->used_bytes;
    b->scratch_mapped = mapped;
    b->before = cvr_alloc_aligned(b->used_bytes, 64);
    b->after = cvr_alloc_aligned(b->used_bytes, 64);
    if (!b->before || !b->after) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for backend.check");
    if (!mapped) {
        void *address;
        if (b->used_bytes > b->backend->info(b->self)->max_allocation)
            return cvr_fail(err, CVR_ERR_NOMEM, "backend.check needs a block of %llu bytes, more than the device gives",
                            (unsigned long long)b->used_bytes);
        CVR_TRY(b->backend->alloc(b->self, b->used_bytes, &address, err));
        b->scratch = address;
        return CVR_OK;
    }
    /* One page more, which nobody may touch: what goes far past its tensor ends there. */
    void *map = mmap(NULL, b->used_bytes + CHECK_GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for backend.check");
    b->scratch = map;
    return CVR_OK;
}

void check_bench_close(check_bench *b) {
    if (b->scratch && b->scratch_mapped) munmap(b->scratch, b->scratch_bytes + CHECK_GUARD);
    if (b->scratch && !b->scratch_mapped) b->backend->free(b->self, b->scratch);
    cvr_free(b->before);
    cvr_free(b->after);
    b->scratch = b->before = b->after = NULL;
    b->scratch_bytes = 0;
}

int32_t check_lay_out(check_bench *b, const check_run *r, uint64_t mutates, cvr_error *err) {
    const cvr_kernel_args *a = r->launch->args;
    memset(b->blocks, 0, sizeof b->blocks);
    b->used_bytes = 0;
    b->n_inputs = a->n_inputs;
    b->n_blocks = a->n_inputs + a->n_outputs + 2;
    b->placement = r->placement;
    b->unit = CHECK_GUARD;
    if (b->remote && b->backend->info(b->self)->alignment > b->unit) b->unit = b->backend->info(b->self)->alignment;
    for (uint32_t i = 0; i < b->n_blocks; i++) b->blocks[i].shares = -1;
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        if (!a->inputs[i]) continue;
        lay_tensor(b, i, a->inputs[i], same_input(a, i));
        if (i >= 64 || !(mutates >> i & 1)) continue;
        b->blocks[i].written = true;
        if (b->blocks[i].shares >= 0) b->blocks[b->blocks[i].shares].written = true;
    }
    for (uint32_t i = 0; i < a->n_outputs; i++) {
        if (!a->outputs[i]) continue;
        lay_tensor(b, a->n_inputs + i, a->outputs[i], i == 0 ? r->in_place : -1);
        b->blocks[a->n_inputs + i].written = true;
    }
    if (r->in_place >= 0) b->blocks[r->in_place].written = true;
    check_block *last = &b->blocks[b->n_blocks - 2];
    place(b, &last[0], a->workspace_size);
    last[0].written = true;
    if (a->prepared) place(b, &last[1], a->prepared_size);
    last[1].written = r->prepares;
    b->used_bytes += b->unit;
    return make_room(b, err);
}

/* ---- bytes there and back ---- */

static int32_t protect(const check_bench *b, uint64_t from, uint64_t to, int how, cvr_error *err) {
    if (b->scratch_mapped && to > from && mprotect(b->scratch + from, to - from, how) != 0)
        return cvr_fail(err, CVR_ERR_NOMEM, "cannot protect memory for guard pages");
    return CVR_OK;
}

/* Guards shut, inputs for reading only. */
static int32_t shut(const check_bench *b, cvr_error *err) {
    if (b->placement == CHECK_GUARD_BYTES) return CVR_OK;
    CVR_TRY(protect(b, 0, b->used_bytes, PROT_NONE, err));
    for (uint32_t i = 0; i < b->n_blocks; i++)
        if (b->blocks[i].used) CVR_TRY(protect(b, b->blocks[i].from, b->blocks[i].to, PROT_READ, err));
    for (uint32_t i = 0; i < b->n_blocks; i++)
        if (b->blocks[i].used && b->blocks[i].written)
            CVR_TRY(protect(b, b->blocks[i].from, b->blocks[i].to, PROT_READ | PROT_WRITE, err));
    return CVR_OK;
}

/* In step: a copy is done when this returns. */
static int32_t transfer(const check_bench *b, bool up, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    const cvr_transfer t = {sizeof t, to, from, bytes, 0};
    uint64_t ticket;
    CVR_TRY((up ? b->backend->upload : b->backend->download)(b->self, &t, &ticket, err));
    return ticket ? b->backend->wait(b->self, ticket, err) : CVR_OK;
}

int32_t check_copy_out(const check_bench *b, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    if (bytes && b->remote) return transfer(b, false, to, from, bytes, err);
    if (bytes) memcpy(to, from, bytes);
    return CVR_OK;
}

static int32_t fill_block(check_bench *b, const check_block *k, const void *from, cvr_error *err) {
    uint8_t *to = b->before + k->at;
    if (from && !b->host_args) return check_copy_out(b, to, from, k->bytes, err);
    if (from)
        memcpy(to, from, k->bytes);
    else
        fill_pattern(to, k->bytes, k->dtype);
    return CVR_OK;
}

/* A guard's bytes tell where it is: what is copied from behind one tensor is no guard behind another. */
static void fill_guards(check_bench *b) {
    for (uint64_t at = 0; at < b->used_bytes; at += CHECK_GUARD) {
        const uint64_t rest = b->used_bytes - at;
        memset(b->before + at, CHECK_GUARD_BYTE + (int)(at / CHECK_GUARD % CHECK_GUARD_KINDS),
               rest < CHECK_GUARD ? rest : CHECK_GUARD);
    }
}

int32_t check_fill(check_bench *b, const check_run *r, cvr_error *err) {
    const cvr_kernel_args *a = r->launch->args;
    fill_guards(b);
    for (uint32_t i = 0; i < b->n_blocks; i++) {
        const check_block *k = &b->blocks[i];
        const void *from = i < a->n_inputs ? (k->used ? a->inputs[i]->data : NULL) : NULL;
        if (i == b->n_blocks - 1 && !r->prepares) from = a->prepared;
        if (k->used && k->shares < 0) CVR_TRY(fill_block(b, k, from, err));
    }
    CVR_TRY(protect(b, 0, b->used_bytes, PROT_READ | PROT_WRITE, err));
    if (b->remote)
        CVR_TRY(transfer(b, true, b->scratch, b->before, b->used_bytes, err));
    else
        memcpy(b->scratch, b->before, b->used_bytes);
    return shut(b, err);
}

int32_t check_collect(check_bench *b, cvr_error *err) {
    CVR_TRY(protect(b, 0, b->used_bytes, PROT_READ | PROT_WRITE, err));
    return check_copy_out(b, b->after, b->scratch, b->used_bytes, err);
}

int32_t check_take_results(check_bench *b, const check_run *r, cvr_error *err) {
    const cvr_kernel_args *a = r->launch->args;
    for (uint32_t i = 0; i < b->n_blocks; i++) {
        const check_block *k = &b->blocks[i];
        const uint32_t output = i - a->n_inputs;
        void *to = a->prepared;
        if (i < a->n_inputs)
            to = k->used ? a->inputs[i]->data : NULL;
        else if (output < a->n_outputs)
            to = k->used && !r->prepares ? a->outputs[output]->data : NULL;
        else if (output == a->n_outputs)
            continue; /* the workspace */
        if (!k->used || !k->written || !k->bytes || !to) continue;
        if (b->remote && !b->host_args)
            CVR_TRY(transfer(b, true, to, b->after + k->at, k->bytes, err));
        else
            memcpy(to, b->after + k->at, k->bytes);
    }
    return CVR_OK;
}
