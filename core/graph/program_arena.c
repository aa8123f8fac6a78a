/*
 * The memory that programs share: blocks, and on a device whose memory the host does not see two landing zones. The
 * inputs of a run land in one zone, while the run before may still read what it took from the other; the run then
 * begins with a copy within the device, since an input's place in the arena is used again within the step.
 */
#include "bound.h"

/* The bytes that a program has in block i, or wants to land for input i; 0 past the last. */
static uint64_t block_need(const cvr_program *p, size_t i) {
    return i < p->plan.n_arenas ? p->plan.arenas[i] : 0;
}

static uint64_t input_need(const cvr_program *p, size_t i) {
    return i < p->n_inputs ? type_bytes(&p->graph->values[p->inputs[i]]->type) : 0;
}

/* The one that lands the scalars stands before the inputs. */
static uint64_t landing_need(const cvr_program *p, size_t i) {
    return i == 0 ? p->plan.n_scalars * p->plan.align : input_need(p, i - 1);
}

static bool has_landings(const cvr_device *d) {
    return !device_is_host(d);
}

static uint64_t most(cvr_program *const *programs, size_t n, size_t i,
                     uint64_t (*need)(const cvr_program *p, size_t i)) {
    uint64_t bytes = 0;
    for (size_t k = 0; k < n; k++) bytes = need(programs[k], i) > bytes ? need(programs[k], i) : bytes;
    return bytes;
}

/* ---- blocks ---- */

/* At least this large: with new memory, unless it is so already. */
static int32_t block_grow(cvr_arena *a, arena_block *b, uint64_t bytes, cvr_error *err) {
    void *address;
    if (bytes <= b->bytes) return CVR_OK;
    cvr_device_free(a->device, b->address);
    *b = (arena_block){NULL, 0};
    CVR_TRY(cvr_device_alloc(a->device, bytes + 2 * a->margin, &address, err));
    *b = (arena_block){address, bytes};
    return CVR_OK;
}

static int32_t blocks_grow(cvr_arena *a, arena_blocks *to, cvr_program *const *programs, size_t n,
                           uint64_t (*need)(const cvr_program *p, size_t i), size_t count, cvr_error *err) {
    if (count > to->n) {
        arena_block *more = cvr_calloc(count, sizeof *more);
        if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        if (to->n) memcpy(more, to->all, to->n * sizeof *more);
        cvr_free(to->all);
        to->all = more;
        to->n = count;
    }
    for (size_t i = 0; i < to->n; i++) CVR_TRY(block_grow(a, &to->all[i], most(programs, n, i, need), err));
    return CVR_OK;
}

static void blocks_free(cvr_arena *a, arena_blocks *b) {
    for (size_t i = 0; b->all && i < b->n; i++) cvr_device_free(a->device, b->all[i].address);
    cvr_free(b->all);
}

/* Refused now, in one line, and not by the third of five allocations. The host's own memory is the host's to judge. */
static int32_t check_memory(cvr_device *d, cvr_program *const *programs, size_t n, cvr_error *err) {
    uint64_t need = 0, used, available;
    char wants[32], has[32];
    if (device_is_host(d)) return CVR_OK;
    for (size_t i = 0; i < n; i++)
        need = cvr_program_arena_bytes(programs[i]) > need ? cvr_program_arena_bytes(programs[i]) : need;
    CVR_TRY(CVR_CALL(d->backend, memory, NULL, err, d->self, &used, &available));
    if (need <= available) return CVR_OK;
    return cvr_fail(err, CVR_ERR_NOMEM,
                    "the programs need %s, and %s has %s of memory left; lower train.batch or data.img_size",
                    cvr_bytes_text(need, wants), d->backend->name, cvr_bytes_text(available, has));
}

int32_t cvr_arena_grow(cvr_arena *a, cvr_program *const *programs, size_t n, cvr_error *err) {
    size_t blocks = 0, landings = 0;
    CVR_TRY(check_memory(a->device, programs, n, err));
    for (size_t i = 0; i < n; i++) {
        blocks = programs[i]->plan.n_arenas > blocks ? programs[i]->plan.n_arenas : blocks;
        landings = programs[i]->n_inputs + 1 > landings ? programs[i]->n_inputs + 1 : landings;
    }
    CVR_TRY(blocks_grow(a, &a->blocks, programs, n, block_need, blocks, err));
    for (size_t i = 0; i < LANDINGS && has_landings(a->device); i++)
        CVR_TRY(blocks_grow(a, &a->landings[i].blocks, programs, n, landing_need, landings, err));
    return CVR_OK;
}

int32_t cvr_arena_create(cvr_arena **out, cvr_device *d, cvr_program *const *programs, size_t n, uint64_t margin,
                         cvr_error *err) {
    cvr_arena *a = *out = cvr_calloc(1, sizeof *a);
    if (!a) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    a->device = d;
    a->margin = margin;
    const int32_t status = cvr_arena_grow(a, programs, n, err);
    if (status != CVR_OK) cvr_arena_destroy(out);
    return status;
}

void cvr_arena_destroy(cvr_arena **arena) {
    cvr_arena *a = *arena;
    if (!a) return;
    blocks_free(a, &a->blocks);
    for (size_t i = 0; i < LANDINGS; i++) blocks_free(a, &a->landings[i].blocks);
    cvr_free(a);
    *arena = NULL;
}

static bool holds(const arena_blocks *b, const cvr_program *p, uint64_t (*need)(const cvr_program *p, size_t i),
                  size_t count) {
    bool all = count <= b->n;
    for (size_t i = 0; i < count && all; i++) all = need(p, i) <= b->all[i].bytes;
    return all;
}

bool cvr_arena_fits(const cvr_arena *a, const cvr_program *p) {
    return holds(&a->blocks, p, block_need, p->plan.n_arenas) &&
           (!has_landings(a->device) || holds(&a->landings[0].blocks, p, landing_need, p->n_inputs + 1));
}

static uint64_t blocks_bytes(const arena_blocks *b) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < b->n; i++) bytes += b->all[i].bytes;
    return bytes;
}

uint64_t cvr_arena_bytes(const cvr_arena *a) {
    uint64_t bytes = blocks_bytes(&a->blocks);
    for (size_t i = 0; i < LANDINGS; i++) bytes += blocks_bytes(&a->landings[i].blocks);
    return bytes;
}

void *cvr_arena_block(const cvr_arena *a, size_t i, uint64_t *bytes) {
    if (i >= a->blocks.n) return NULL;
    *bytes = a->blocks.all[i].bytes;
    return a->blocks.all[i].address + a->margin;
}

uint64_t cvr_program_arena_bytes(const cvr_program *p) {
    uint64_t bytes = p->plan.bytes;
    for (size_t i = 0; i < p->n_inputs + 1 && has_landings(p->device); i++) bytes += LANDINGS * landing_need(p, i);
    return bytes;
}

/* ---- landing ---- */

/* What another program had landed there is gone. */
int32_t landing_write(cvr_program *p, size_t i, const void *bytes, uint64_t n, cvr_error *err) {
    if (p->arena->lander != p->id) memset(p->landed, 0, (p->n_inputs + 1) * sizeof *p->landed);
    p->arena->lander = p->id;
    const landing *l = &p->arena->landings[p->arena->landing];
    const device_bytes b = {l->blocks.all[i].address, bytes, n};
    p->landed[i] = true;
    return device_start_upload(p->device, &b, l->taken, err);
}

bool cvr_program_landed(const cvr_program *p) {
    bool all = p->arena && p->arena->lander == p->id;
    for (size_t i = 0; i < p->n_inputs; i++) all = all && p->landed[i + 1];
    return all;
}

int32_t landing_take(cvr_program *p, cvr_error *err) {
    landing *l = &p->arena->landings[p->arena->landing];
    for (size_t i = 0; i < p->n_inputs + 1; i++) {
        void *to = i                   ? root_address(p, p->inputs[i - 1])
                   : p->plan.n_scalars ? plan_block_address(p, p->plan.scalars)
                                       : NULL;
        const device_bytes b = {to, l->blocks.all[i].address, landing_need(p, i)};
        if (!p->landed[i] || p->arena->lander != p->id) continue;
        p->landed[i] = false;
        CVR_TRY(device_copy(p->device, &b, err));
        l->taken = p->device->last;
    }
    p->arena->landing = (p->arena->landing + 1) % LANDINGS;
    return CVR_OK;
}
