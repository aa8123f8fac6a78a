/*
 * The names that a pickle may mention, and what each becomes here. The list is closed: a name that is not on it is
 * refused, wherever it stands. Most names stand for values that no tensor depends on (settings, dates, numbers of
 * numpy); those become one opaque value, and their contents are dropped.
 */
#include "pth.h"

#define ROLE_OPAQUE 0u
#define ROLE_DICT 1u      /* OrderedDict(), OrderedDict([[key, value], ...]) */
#define ROLE_SAME 2u      /* Size(tuple): its argument */
#define ROLE_PARAMETER 3u /* Parameter(tensor, ...): the tensor */
#define ROLE_TENSOR 4u /* _rebuild_tensor(storage, offset, size, stride), v2(..., requires_grad, hooks[, metadata]) */
#define ROLE_TENSOR_V3 5u /* (storage, offset, size, stride, requires_grad, hooks, dtype[, metadata]) */
#define ROLE_STORAGE 6u
#define ROLE_DTYPE 7u

static const pth_global globals[] = {
    {"collections", "OrderedDict", ROLE_DICT, 0, NULL},
    {"torch", "Size", ROLE_SAME, 0, NULL},
    {"torch._utils", "_rebuild_parameter", ROLE_PARAMETER, 0, NULL},
    {"torch.nn.parameter", "Parameter", ROLE_PARAMETER, 0, NULL},
    {"torch._utils", "_rebuild_tensor", ROLE_TENSOR, 0, NULL},
    {"torch._utils", "_rebuild_tensor_v2", ROLE_TENSOR, 0, NULL},
    {"torch._utils", "_rebuild_tensor_v3", ROLE_TENSOR_V3, 0, NULL},
    {"torch.storage", "UntypedStorage", ROLE_STORAGE, 0, NULL},
    {"_codecs", "encode", ROLE_OPAQUE, 0, NULL},
    {"argparse", "Namespace", ROLE_OPAQUE, 0, NULL},
    {"collections", "Counter", ROLE_OPAQUE, 0, NULL},
    {"collections", "defaultdict", ROLE_OPAQUE, 0, NULL},
    {"collections", "deque", ROLE_OPAQUE, 0, NULL},
    {"datetime", "date", ROLE_OPAQUE, 0, NULL},
    {"datetime", "datetime", ROLE_OPAQUE, 0, NULL},
    {"datetime", "time", ROLE_OPAQUE, 0, NULL},
    {"datetime", "timedelta", ROLE_OPAQUE, 0, NULL},
    {"datetime", "timezone", ROLE_OPAQUE, 0, NULL},
    {"numpy", "dtype", ROLE_OPAQUE, 0, NULL},
    {"numpy", "ndarray", ROLE_OPAQUE, 0, NULL},
    {"numpy._core.multiarray", "_reconstruct", ROLE_OPAQUE, 0, NULL},
    {"numpy._core.multiarray", "scalar", ROLE_OPAQUE, 0, NULL},
    {"numpy.core.multiarray", "_reconstruct", ROLE_OPAQUE, 0, NULL},
    {"numpy.core.multiarray", "scalar", ROLE_OPAQUE, 0, NULL},
    {"pathlib", "Path", ROLE_OPAQUE, 0, NULL},
    {"pathlib", "PosixPath", ROLE_OPAQUE, 0, NULL},
    {"pathlib", "PurePosixPath", ROLE_OPAQUE, 0, NULL},
    {"pathlib", "PureWindowsPath", ROLE_OPAQUE, 0, NULL},
    {"pathlib", "WindowsPath", ROLE_OPAQUE, 0, NULL},
    {"torch", "device", ROLE_OPAQUE, 0, NULL},
};

/* Types of Python's own, under the module's name in Python 2 and in Python 3. */
static const pth_global builtins[] = {
    {"builtins", "bool", ROLE_OPAQUE, 0, NULL},    {"builtins", "bytearray", ROLE_OPAQUE, 0, NULL},
    {"builtins", "complex", ROLE_OPAQUE, 0, NULL}, {"builtins", "dict", ROLE_OPAQUE, 0, NULL},
    {"builtins", "float", ROLE_OPAQUE, 0, NULL},   {"builtins", "frozenset", ROLE_OPAQUE, 0, NULL},
    {"builtins", "int", ROLE_OPAQUE, 0, NULL},     {"builtins", "list", ROLE_OPAQUE, 0, NULL},
    {"builtins", "long", ROLE_OPAQUE, 0, NULL},    {"builtins", "range", ROLE_OPAQUE, 0, NULL},
    {"builtins", "set", ROLE_OPAQUE, 0, NULL},     {"builtins", "slice", ROLE_OPAQUE, 0, NULL},
    {"builtins", "str", ROLE_OPAQUE, 0, NULL},     {"builtins", "tuple", ROLE_OPAQUE, 0, NULL},
    {"builtins", "unicode", ROLE_OPAQUE, 0, NULL}, {"builtins", "xrange", ROLE_OPAQUE, 0, NULL},
};

static const pth_global *find(const pth_global *in, size_t n, const char *module, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(in[i].name, name) == 0 && strcmp(in[i].module, module) == 0) return &in[i];
    }
    return NULL;
}

/* torch.FloatStorage, torch.float32: the names of the table of element types. */
static int32_t find_dtype(pth_pickle *p, const char *name, pth_value *out) {
    const pth_dtype *const of_storage = pth_dtype_of_storage(name);
    const pth_dtype *const dtype = of_storage ? of_storage : pth_dtype_of_torch(name);
    void *g = NULL;
    out->global = NULL;
    if (!dtype) return CVR_OK;
    CVR_TRY(pth_arena_take(p->arena, sizeof(pth_global), &g, p->err));
    *(pth_global *)g = (pth_global){"torch", of_storage ? dtype->storage : dtype->torch,
                                    of_storage ? ROLE_STORAGE : ROLE_DTYPE, 0, dtype};
    out->global = g;
    return CVR_OK;
}

int32_t pth_global_find(pth_pickle *p, const char *module, const char *name, pth_value *out) {
    char shown[2][PTH_SHOWN];
    const int is_builtin = strcmp(module, "builtins") == 0 || strcmp(module, "__builtin__") == 0;
    *out = (pth_value){.kind = PTH_GLOBAL};
    out->global = is_builtin ? find(builtins, sizeof builtins / sizeof *builtins, "builtins", name)
                             : find(globals, sizeof globals / sizeof *globals, module, name);
    if (!out->global && strcmp(module, "torch") == 0) CVR_TRY(find_dtype(p, name, out));
    if (out->global) return CVR_OK;
    return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED,
                           "'%s.%s' is nothing that a state dict needs, and nothing of the file was run; save it anew "
                           "with torch.save(model.state_dict(), ...)",
                           pth_show((const uint8_t *)module, strlen(module), shown[0]),
                           pth_show((const uint8_t *)name, strlen(name), shown[1]));
}

static int32_t wrong_arguments(const pth_pickle *p, const pth_global *g) {
    return pth_pickle_fail(p, CVR_ERR_FORMAT, "'%s.%s' with arguments that it does not take; the file is damaged",
                           g->module, g->name);
}

/* Python 2 gives an OrderedDict its items as a list of pairs, Python 3 sets them one by one. */
static int32_t make_dict(pth_pickle *p, const pth_global *g, const pth_items *args, pth_value *out) {
    pth_value dict;
    CVR_TRY(pth_items_make(p, PTH_DICT, NULL, 0, &dict));
    if (args->n > 1 || (args->n == 1 && args->v[0].kind != PTH_LIST)) return wrong_arguments(p, g);
    for (uint64_t i = 0; args->n == 1 && i < args->v[0].items->n; i++) {
        const pth_value *const pair = &args->v[0].items->v[i];
        if ((pair->kind != PTH_LIST && pair->kind != PTH_TUPLE) || pair->items->n != 2) return wrong_arguments(p, g);
        CVR_TRY(pth_items_add(p, dict.items, pair->items->v, 2));
    }
    *out = dict;
    return CVR_OK;
}

/* The element type is that of the storage, or, from v3 on, an argument beside an untyped storage. */
static int32_t make_tensor(pth_pickle *p, const pth_global *g, const pth_items *args, pth_value *out) {
    const int v3 = g->role == ROLE_TENSOR_V3;
    if (args->n < (v3 ? 7u : 4u) || args->n > (v3 ? 8u : 7u) || args->v[0].kind != PTH_STORAGE)
        return wrong_arguments(p, g);
    const pth_storage *const s = args->v[0].storage;
    if (!v3 && s->dtype) return pth_tensor_make(p, s, s->dtype, args->v, out);
    if (!v3 || s->dtype || args->v[6].kind != PTH_GLOBAL || args->v[6].global->role != ROLE_DTYPE)
        return wrong_arguments(p, g);
    return pth_tensor_make(p, s, args->v[6].global->dtype, args->v, out);
}

int32_t pth_global_call(pth_pickle *p, const pth_value *callable, const pth_value *args, pth_value *out) {
    if (callable->kind != PTH_GLOBAL || args->kind != PTH_TUPLE)
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "what is called is no name, or its arguments are no tuple");
    const pth_global *const g = callable->global;
    const pth_items *const a = args->items;
    switch (g->role) {
    case ROLE_OPAQUE: *out = (pth_value){.kind = PTH_OPAQUE}; return CVR_OK;
    case ROLE_DICT: return make_dict(p, g, a, out);
    case ROLE_SAME:
        if (a->n != 1 || a->v[0].kind != PTH_TUPLE) return wrong_arguments(p, g);
        *out = a->v[0];
        return CVR_OK;
    case ROLE_PARAMETER:
        if (a->n < 1 || a->n > 3 || a->v[0].kind != PTH_TENSOR) return wrong_arguments(p, g);
        *out = a->v[0];
        return CVR_OK;
    case ROLE_TENSOR:
    case ROLE_TENSOR_V3: return make_tensor(p, g, a, out);
    default:
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED, "'%s.%s' is a type, which no state dict calls", g->module,
                               g->name);
    }
}

/* type.__new__(type, ...) of something opaque, such as argparse.Namespace. */
int32_t pth_global_new(pth_pickle *p, const pth_value *type, pth_value *out) {
    if (type->kind != PTH_GLOBAL || type->global->role != ROLE_OPAQUE)
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED, "a new object of what no state dict makes objects of");
    *out = (pth_value){.kind = PTH_OPAQUE};
    return CVR_OK;
}

/* object.__setstate__(state): PyTorch hangs `_metadata` onto a state dict so, which is of no use here. */
int32_t pth_global_build(pth_pickle *p, const pth_value *object, const pth_value *state) {
    if (object->kind == PTH_OPAQUE || (object->kind == PTH_DICT && state->kind == PTH_DICT)) return CVR_OK;
    return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED, "a state for what has none in a state dict");
}

/* ('storage', type, key, location, number of elements) and, in the legacy format, None or a view of another storage. */
int32_t pth_global_persistent(pth_pickle *p, const pth_value *id, pth_value *out) {
    const pth_items *const a = id->kind == PTH_TUPLE ? id->items : NULL;
    char shown[PTH_SHOWN];
    void *made = NULL;
    if (!a || a->n == 0 || a->v[0].kind != PTH_STRING)
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED,
                               "a persistent id that is no storage; torch.save writes no other");
    if (!pth_string_is(&a->v[0], "storage"))
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED,
                               "a persistent id '%s', where only 'storage' can be read; save it anew with "
                               "torch.save(model.state_dict(), ...)",
                               pth_show(a->v[0].bytes, a->v[0].n, shown));
    if (a->n < 5 || a->n > 6 || a->v[1].kind != PTH_GLOBAL || a->v[1].global->role != ROLE_STORAGE ||
        a->v[2].kind != PTH_STRING || a->v[3].kind != PTH_STRING || a->v[4].kind != PTH_INT || a->v[4].i < 0)
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "a storage that is not described as torch.save does it");
    if (a->n == 6 && a->v[5].kind != PTH_NONE)
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED,
                               "a storage that is a view of another; save it anew with torch.save of PyTorch 0.4 or "
                               "later");
    CVR_TRY(pth_arena_take(p->arena, sizeof(pth_storage), &made, p->err));
    pth_storage *const s = made;
    *s = (pth_storage){.key = a->v[2],
                       .dtype = a->v[1].global->dtype,
                       .numel = (uint64_t)a->v[4].i,
                       .at = (uint64_t)(p->op - p->file)};
    *p->last_storage = s;
    p->last_storage = &s->next;
    p->n_storages++;
    *out = (pth_value){.kind = PTH_STORAGE, .storage = s};
    return CVR_OK;
}
