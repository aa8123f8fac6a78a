/*
 * The pickle machine: its stack, its memo, and the loop over opcodes (which are in pth_opcodes.c). It has no
 * instruction that calls anything; what looks like a call (REDUCE) is looked up by name in pth_globals.c.
 *
 * Every opcode takes a constant amount of work and memory for each of its bytes, nothing recurses, and values that
 * contain each other are never followed here.
 */
#include "pth.h"

pth_value *pth_stack(const pth_pickle *p) {
    return p->stack;
}

void pth_pickle_init(pth_pickle *p, pth_arena *arena, const uint8_t *file, cvr_error *err) {
    memset(p, 0, sizeof *p);
    p->arena = arena;
    p->file = file;
    p->err = err;
    p->last_storage = &p->storages;
}

int32_t pth_pickle_fail(const pth_pickle *p, int32_t code, const char *format, ...) {
    char what[512], number[16];
    const char *name = pth_opcode_name(*p->op);
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    (void)snprintf(number, sizeof number, "0x%02x", *p->op);
    return cvr_fail(p->err, code, "pickle, byte %llu, opcode %s: %s", (unsigned long long)(p->op - p->file),
                    name ? name : number, what);
}

int32_t pth_take(pth_pickle *p, uint64_t n, const uint8_t **out) {
    if (n > (uint64_t)(p->end - p->at))
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "the file ends within it; it was cut short, copy it again");
    *out = p->at;
    p->at += n;
    return CVR_OK;
}

int32_t pth_take_number(pth_pickle *p, uint64_t n, uint64_t *out) {
    const uint8_t *b = NULL;
    CVR_TRY(pth_take(p, n, &b));
    *out = 0;
    for (uint64_t i = n; i-- > 0;) *out = *out << 8 | b[i];
    return CVR_OK;
}

int32_t pth_push(pth_pickle *p, pth_value v) {
    if (p->n_stack == PTH_MAX_STACK)
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED, "more than %u values on the stack", PTH_MAX_STACK);
    CVR_TRY(pth_arena_grow(p->arena, &p->stack, p->n_stack + 1, &p->room_stack, sizeof v, p->err));
    pth_stack(p)[p->n_stack++] = v;
    return CVR_OK;
}

uint64_t pth_stack_floor(const pth_pickle *p) {
    return p->n_marks ? p->marks[p->n_marks - 1] : 0;
}

int32_t pth_pop(pth_pickle *p, pth_value *out) {
    if (p->n_stack <= pth_stack_floor(p))
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "the stack is empty; the file is damaged");
    *out = pth_stack(p)[--p->n_stack];
    return CVR_OK;
}

int32_t pth_pop_mark(pth_pickle *p, const pth_value **v, uint64_t *n) {
    if (p->n_marks == 0) return pth_pickle_fail(p, CVR_ERR_FORMAT, "there is no mark; the file is damaged");
    const uint64_t begin = p->marks[--p->n_marks];
    *n = p->n_stack - begin;
    *v = pth_stack(p) ? pth_stack(p) + begin : NULL;
    p->n_stack = begin;
    return CVR_OK;
}

int32_t pth_top(pth_pickle *p, pth_value **out) {
    if (p->n_stack <= pth_stack_floor(p))
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "the stack is empty; the file is damaged");
    *out = &pth_stack(p)[p->n_stack - 1];
    return CVR_OK;
}

int32_t pth_items_add(pth_pickle *p, pth_items *to, const pth_value *v, uint64_t n) {
    void *array = to->v;
    if (n == 0) return CVR_OK;
    CVR_TRY(pth_arena_grow(p->arena, &array, to->n + n, &to->room, sizeof *v, p->err));
    to->v = array;
    memcpy(to->v + to->n, v, n * sizeof *v);
    to->n += n;
    for (uint64_t i = 0; i < n; i++) to->n_tensors += v[i].kind == PTH_TENSOR;
    return CVR_OK;
}

int32_t pth_items_make(pth_pickle *p, pth_kind kind, const pth_value *v, uint64_t n, pth_value *out) {
    void *items = NULL;
    CVR_TRY(pth_arena_take(p->arena, sizeof(pth_items), &items, p->err));
    CVR_TRY(pth_items_add(p, items, v, n));
    *out = (pth_value){.kind = kind, .items = items};
    return CVR_OK;
}

int32_t pth_pickle_read(pth_pickle *p, const uint8_t *at, const uint8_t *end, pth_value *out) {
    p->at = at;
    p->end = end;
    p->n_stack = p->n_marks = p->n_memo = p->n_opcodes = 0;
    if (p->memo) memset(p->memo, 0, p->room_memo * sizeof(pth_value));
    while (p->at < end) {
        p->op = p->at++;
        if (++p->n_opcodes > PTH_MAX_OPCODES)
            return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED, "more than %llu opcodes", PTH_MAX_OPCODES);
        if (*p->op == '.') {
            if (p->n_marks) return pth_pickle_fail(p, CVR_ERR_FORMAT, "a container is still open; the file is damaged");
            return pth_pop(p, out);
        }
        if (!pth_opcode_name(*p->op))
            return pth_pickle_fail(p, CVR_ERR_FORMAT, "pickles have no such opcode; the file is damaged");
        CVR_TRY(pth_opcode_run(p));
    }
    return cvr_fail(p->err, CVR_ERR_FORMAT, "pickle, byte %llu: it has no end; the file was cut short, copy it again",
                    (unsigned long long)(end - p->file));
}
