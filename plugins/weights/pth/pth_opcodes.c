/*
 * The opcodes of pickle's protocol 2 that a state dict is made of. All others are known only by name.
 */
#include "pth.h"

static int32_t op_proto(pth_pickle *p) {
    uint64_t version = 0;
    CVR_TRY(pth_take_number(p, 1, &version));
    if (version == 2) return CVR_OK;
    return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED,
                           "pickle protocol %u, where PyTorch writes 2; save it anew with torch.save and its defaults",
                           (unsigned)version);
}

static int32_t op_mark(pth_pickle *p) {
    if (p->n_marks == PTH_MAX_MARKS)
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED, "containers nested more than %u deep", PTH_MAX_MARKS);
    p->marks[p->n_marks++] = p->n_stack;
    return CVR_OK;
}

static int32_t op_none(pth_pickle *p) {
    return pth_push(p, (pth_value){.kind = PTH_NONE});
}

static int32_t op_bool(pth_pickle *p) {
    return pth_push(p, (pth_value){.kind = PTH_BOOL, .i = *p->op == 0x88});
}

/* BININT (4 bytes, with sign), BININT1, BININT2 */
static int32_t op_int(pth_pickle *p) {
    uint64_t u = 0;
    CVR_TRY(pth_take_number(p, *p->op == 'J' ? 4 : *p->op == 'K' ? 1 : 2, &u));
    return pth_push(p, (pth_value){.kind = PTH_INT, .i = *p->op == 'J' ? (int32_t)(uint32_t)u : (int64_t)u});
}

/* Two's complement of 0 to 255 bytes. What 64 bits do not hold can be no size, so it is only carried along. */
static int32_t op_long(pth_pickle *p) {
    uint64_t n = 0, u = 0;
    const uint8_t *b = NULL;
    CVR_TRY(pth_take_number(p, 1, &n));
    CVR_TRY(pth_take(p, n, &b));
    if (n > 8) return pth_push(p, (pth_value){.kind = PTH_OPAQUE});
    if (n > 0 && b[n - 1] & 0x80) u = UINT64_MAX;
    for (uint64_t i = n; i-- > 0;) u = u << 8 | b[i];
    return pth_push(p, (pth_value){.kind = PTH_INT, .i = (int64_t)u});
}

/* Big-endian, the only such number in a pickle. */
static int32_t op_float(pth_pickle *p) {
    const uint8_t *b = NULL;
    uint64_t u = 0;
    pth_value v = {.kind = PTH_FLOAT};
    CVR_TRY(pth_take(p, 8, &b));
    for (int i = 0; i < 8; i++) u = u << 8 | b[i];
    memcpy(&v.f, &u, sizeof u);
    return pth_push(p, v);
}

/* BINUNICODE (a length of 4 bytes) and SHORT_BINSTRING (of 1, from Python 2) */
static int32_t op_string(pth_pickle *p) {
    uint64_t n = 0;
    pth_value v = {.kind = PTH_STRING};
    CVR_TRY(pth_take_number(p, *p->op == 'X' ? 4 : 1, &n));
    CVR_TRY(pth_take(p, n, &v.bytes));
    v.n = (uint32_t)n;
    return pth_push(p, v);
}

static int32_t op_empty(pth_pickle *p) {
    const pth_kind kind = *p->op == ')' ? PTH_TUPLE : *p->op == ']' ? PTH_LIST : PTH_DICT;
    pth_value v;
    CVR_TRY(pth_items_make(p, kind, NULL, 0, &v));
    return pth_push(p, v);
}

static int32_t op_empty_set(pth_pickle *p) {
    return pth_push(p, (pth_value){.kind = PTH_OPAQUE});
}

static int32_t op_tuple(pth_pickle *p) {
    const pth_value *items = NULL;
    uint64_t n = 0;
    pth_value v;
    CVR_TRY(pth_pop_mark(p, &items, &n));
    CVR_TRY(pth_items_make(p, PTH_TUPLE, items, n, &v));
    return pth_push(p, v);
}

/* TUPLE1, TUPLE2, TUPLE3 */
static int32_t op_short_tuple(pth_pickle *p) {
    const uint64_t n = (uint64_t)*p->op - 0x84;
    pth_value v;
    if (p->n_stack - pth_stack_floor(p) < n)
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "the stack has too few values; the file is damaged");
    CVR_TRY(pth_items_make(p, PTH_TUPLE, pth_stack(p) + p->n_stack - n, n, &v));
    p->n_stack -= n;
    return pth_push(p, v);
}

static int32_t append(pth_pickle *p, const pth_value *v, uint64_t n) {
    pth_value *list = NULL;
    CVR_TRY(pth_top(p, &list));
    if (list->kind == PTH_OPAQUE) return CVR_OK;
    if (list->kind != PTH_LIST) return pth_pickle_fail(p, CVR_ERR_FORMAT, "what is appended to is no list");
    return pth_items_add(p, list->items, v, n);
}

static int32_t op_append(pth_pickle *p) {
    pth_value v;
    CVR_TRY(pth_pop(p, &v));
    return append(p, &v, 1);
}

static int32_t op_appends(pth_pickle *p) {
    const pth_value *v = NULL;
    uint64_t n = 0;
    CVR_TRY(pth_pop_mark(p, &v, &n));
    return append(p, v, n);
}

static int32_t set_items(pth_pickle *p, const pth_value *v, uint64_t n) {
    pth_value *dict = NULL;
    CVR_TRY(pth_top(p, &dict));
    if (n % 2) return pth_pickle_fail(p, CVR_ERR_FORMAT, "a key without a value; the file is damaged");
    if (dict->kind == PTH_OPAQUE) return CVR_OK;
    if (dict->kind != PTH_DICT) return pth_pickle_fail(p, CVR_ERR_FORMAT, "what items are set in is no dictionary");
    return pth_items_add(p, dict->items, v, n);
}

static int32_t op_set_item(pth_pickle *p) {
    pth_value v[2];
    CVR_TRY(pth_pop(p, &v[1]));
    CVR_TRY(pth_pop(p, &v[0]));
    return set_items(p, v, 2);
}

static int32_t op_set_items(pth_pickle *p) {
    const pth_value *v = NULL;
    uint64_t n = 0;
    CVR_TRY(pth_pop_mark(p, &v, &n));
    return set_items(p, v, n);
}

/* BINPUT, LONG_BINPUT. Python numbers its objects from 0, and each has an opcode of its own. */
static int32_t op_put(pth_pickle *p) {
    uint64_t i = 0;
    pth_value *v = NULL;
    CVR_TRY(pth_take_number(p, *p->op == 'q' ? 1 : 4, &i));
    CVR_TRY(pth_top(p, &v));
    if (i >= p->n_opcodes)
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "place %llu of the memo after only %llu opcodes; the file is damaged",
                               (unsigned long long)i, (unsigned long long)p->n_opcodes);
    CVR_TRY(pth_arena_grow(p->arena, &p->memo, i + 1, &p->room_memo, sizeof *v, p->err));
    ((pth_value *)p->memo)[i] = *v;
    if (i >= p->n_memo) p->n_memo = i + 1;
    return CVR_OK;
}

static int32_t op_get(pth_pickle *p) {
    uint64_t i = 0;
    const pth_value *const memo = p->memo;
    CVR_TRY(pth_take_number(p, *p->op == 'h' ? 1 : 4, &i));
    if (i >= p->n_memo || memo[i].kind == PTH_UNSET)
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "nothing was put into place %llu of the memo; the file is damaged",
                               (unsigned long long)i);
    return pth_push(p, memo[i]);
}

/* A line of text, without its newline and with a NUL. */
static int32_t take_line(pth_pickle *p, char buf[256]) {
    const uint8_t *const from = p->at;
    const uint64_t left = (uint64_t)(p->end - p->at), most = left < 256 ? left : 256;
    const uint8_t *const newline = most ? memchr(from, '\n', most) : NULL;
    if (!newline)
        return pth_pickle_fail(p, CVR_ERR_FORMAT,
                               "a name without an end, or of more than 255 bytes; the file is damaged");
    const uint64_t n = (uint64_t)(newline - from);
    memcpy(buf, from, n);
    buf[n] = '\0';
    p->at = newline + 1;
    return CVR_OK;
}

static int32_t op_global(pth_pickle *p) {
    char module[256], name[256];
    pth_value v;
    CVR_TRY(take_line(p, module));
    CVR_TRY(take_line(p, name));
    CVR_TRY(pth_global_find(p, module, name, &v));
    return pth_push(p, v);
}

static int32_t op_reduce(pth_pickle *p) {
    pth_value callable, args;
    CVR_TRY(pth_pop(p, &args));
    CVR_TRY(pth_pop(p, &callable));
    CVR_TRY(pth_global_call(p, &callable, &args, &args));
    return pth_push(p, args);
}

static int32_t op_new(pth_pickle *p) {
    pth_value type, args;
    CVR_TRY(pth_pop(p, &args));
    CVR_TRY(pth_pop(p, &type));
    CVR_TRY(pth_global_new(p, &type, &args));
    return pth_push(p, args);
}

static int32_t op_build(pth_pickle *p) {
    pth_value state, *object = NULL;
    CVR_TRY(pth_pop(p, &state));
    CVR_TRY(pth_top(p, &object));
    return pth_global_build(p, object, &state);
}

static int32_t op_persistent(pth_pickle *p) {
    pth_value id;
    CVR_TRY(pth_pop(p, &id));
    CVR_TRY(pth_global_persistent(p, &id, &id));
    return pth_push(p, id);
}

/* Those without a function are known only so that they can be refused by name. */
static const struct {
    const char *name;
    int32_t (*run)(pth_pickle *p);
} opcodes[256] = {
    [0x80] = {"PROTO", op_proto},
    ['('] = {"MARK", op_mark},
    ['.'] = {"STOP", NULL},
    ['N'] = {"NONE", op_none},
    [0x88] = {"NEWTRUE", op_bool},
    [0x89] = {"NEWFALSE", op_bool},
    ['J'] = {"BININT", op_int},
    ['K'] = {"BININT1", op_int},
    ['M'] = {"BININT2", op_int},
    [0x8a] = {"LONG1", op_long},
    ['G'] = {"BINFLOAT", op_float},
    ['X'] = {"BINUNICODE", op_string},
    ['U'] = {"SHORT_BINSTRING", op_string},
    [')'] = {"EMPTY_TUPLE", op_empty},
    [']'] = {"EMPTY_LIST", op_empty},
    ['}'] = {"EMPTY_DICT", op_empty},
    [0x8f] = {"EMPTY_SET", op_empty_set},
    ['t'] = {"TUPLE", op_tuple},
    [0x85] = {"TUPLE1", op_short_tuple},
    [0x86] = {"TUPLE2", op_short_tuple},
    [0x87] = {"TUPLE3", op_short_tuple},
    ['a'] = {"APPEND", op_append},
    ['e'] = {"APPENDS", op_appends},
    ['s'] = {"SETITEM", op_set_item},
    ['u'] = {"SETITEMS", op_set_items},
    ['q'] = {"BINPUT", op_put},
    ['r'] = {"LONG_BINPUT", op_put},
    ['h'] = {"BINGET", op_get},
    ['j'] = {"LONG_BINGET", op_get},
    ['c'] = {"GLOBAL", op_global},
    ['R'] = {"REDUCE", op_reduce},
    [0x81] = {"NEWOBJ", op_new},
    ['b'] = {"BUILD", op_build},
    ['Q'] = {"BINPERSID", op_persistent},
    ['0'] = {"POP", NULL},
    ['1'] = {"POP_MARK", NULL},
    ['2'] = {"DUP", NULL},
    ['B'] = {"BINBYTES", NULL},
    ['C'] = {"SHORT_BINBYTES", NULL},
    ['F'] = {"FLOAT", NULL},
    ['I'] = {"INT", NULL},
    ['L'] = {"LONG", NULL},
    ['P'] = {"PERSID", NULL},
    ['S'] = {"STRING", NULL},
    ['T'] = {"BINSTRING", NULL},
    ['V'] = {"UNICODE", NULL},
    ['d'] = {"DICT", NULL},
    ['g'] = {"GET", NULL},
    ['i'] = {"INST", NULL},
    ['l'] = {"LIST", NULL},
    ['o'] = {"OBJ", NULL},
    ['p'] = {"PUT", NULL},
    [0x82] = {"EXT1", NULL},
    [0x83] = {"EXT2", NULL},
    [0x84] = {"EXT4", NULL},
    [0x8b] = {"LONG4", NULL},
    [0x8c] = {"SHORT_BINUNICODE", NULL},
    [0x8d] = {"BINUNICODE8", NULL},
    [0x8e] = {"BINBYTES8", NULL},
    [0x90] = {"ADDITEMS", NULL},
    [0x91] = {"FROZENSET", NULL},
    [0x92] = {"NEWOBJ_EX", NULL},
    [0x93] = {"STACK_GLOBAL", NULL},
    [0x94] = {"MEMOIZE", NULL},
    [0x95] = {"FRAME", NULL},
    [0x96] = {"BYTEARRAY8", NULL},
    [0x97] = {"NEXT_BUFFER", NULL},
    [0x98] = {"READONLY_BUFFER", NULL},
};

const char *pth_opcode_name(uint8_t opcode) {
    return opcodes[opcode].name;
}

int32_t pth_opcode_run(pth_pickle *p) {
    if (opcodes[*p->op].run) return opcodes[*p->op].run(p);
    return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED,
                           "PyTorch writes none such into a state dict; save it anew with torch.save");
}
