/*
 * Element types, and tensors as views of a storage: element (i, j, ...) lies at offset + i * stride[0] + j * stride[1]
 * + ... of it.
 */
#include "pth.h"

/* The names that PyTorch gave a storage of each type; those without one came later, with _rebuild_tensor_v3. */
static const pth_dtype dtypes[] = {
    {"FloatStorage", "float32", "F32", 4, CVR_F32},
    {"HalfStorage", "float16", "F16", 2, CVR_F16},
    {"BFloat16Storage", "bfloat16", "BF16", 2, CVR_BF16},
    {"DoubleStorage", "float64", "F64", 8, CVR_FILE_F64},
    {"LongStorage", "int64", "I64", 8, CVR_I64},
    {"IntStorage", "int32", "I32", 4, CVR_I32},
    {"ShortStorage", "int16", "I16", 2, CVR_FILE_I16},
    {"CharStorage", "int8", "I8", 1, CVR_I8},
    {"ByteStorage", "uint8", "U8", 1, CVR_U8},
    {"BoolStorage", "bool", "BOOL", 1, CVR_FILE_BOOL},
    {NULL, "uint16", "U16", 2, CVR_FILE_U16},
    {NULL, "uint32", "U32", 4, CVR_FILE_U32},
    {NULL, "uint64", "U64", 8, CVR_FILE_U64},
    {NULL, "float8_e4m3fn", "F8_E4M3", 1, 0},
    {NULL, "float8_e5m2", "F8_E5M2", 1, 0},
};

const pth_dtype *pth_dtype_of_storage(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (dtypes[i].storage && strcmp(dtypes[i].storage, name) == 0) return &dtypes[i];
    }
    return NULL;
}

const pth_dtype *pth_dtype_of_torch(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].torch, name) == 0) return &dtypes[i];
    }
    return NULL;
}

static int32_t read_sizes(pth_pickle *p, const pth_value *v, const char *what, int64_t *to, uint32_t *n) {
    if (v->kind != PTH_TUPLE) return pth_pickle_fail(p, CVR_ERR_FORMAT, "a tensor whose %s is no tuple", what);
    if (v->items->n > PTH_MAX_RANK)
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED, "a tensor of more than %u dimensions", PTH_MAX_RANK);
    *n = (uint32_t)v->items->n;
    for (uint32_t i = 0; i < *n; i++) {
        const pth_value *const k = &v->items->v[i];
        if (k->kind != PTH_INT || k->i < 0)
            return pth_pickle_fail(p, CVR_ERR_FORMAT, "a tensor whose %s is not made of whole numbers, 0 or more",
                                   what);
        to[i] = k->i;
    }
    return CVR_OK;
}

/* Counts the elements and finds the last one's place; both must be numbers, and the place in the storage. */
static int32_t check_extent(pth_pickle *p, pth_tensor *t) {
    const uint64_t room = t->storage->dtype ? t->storage->numel : t->storage->numel / t->dtype->size;
    uint64_t last = t->offset;
    t->numel = 1;
    for (uint32_t i = 0; i < t->rank; i++) {
        if (t->shape[i] == 0) t->numel = 0;
    }
    for (uint32_t i = 0; i < t->rank && t->numel; i++) {
        const uint64_t n = (uint64_t)t->shape[i], reach = n - 1;
        if (n > (uint64_t)INT64_MAX / t->dtype->size / t->numel)
            return pth_pickle_fail(p, CVR_ERR_FORMAT, "a tensor of more elements than can be counted");
        t->numel *= n;
        if (reach && (uint64_t)t->stride[i] > ((uint64_t)INT64_MAX - last) / reach)
            return pth_pickle_fail(p, CVR_ERR_FORMAT, "a tensor whose strides cannot be counted");
        last += reach * (uint64_t)t->stride[i];
    }
    if (t->numel && last >= room)
        return pth_pickle_fail(p, CVR_ERR_FORMAT,
                               "a tensor that reaches element %llu of a storage of %llu; the file is damaged",
                               (unsigned long long)last, (unsigned long long)room);
    return CVR_OK;
}

/* args: storage, offset, size, stride, ... */
int32_t pth_tensor_make(pth_pickle *p, const pth_storage *s, const pth_dtype *dtype, const pth_value *args,
                        pth_value *out) {
    uint32_t n_strides = 0;
    void *made = NULL;
    if (args[1].kind != PTH_INT || args[1].i < 0)
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "a tensor whose offset is no whole number, 0 or more");
    if (++p->n_tensors > PTH_MAX_TENSORS)
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED, "more than %llu tensors", PTH_MAX_TENSORS);
    CVR_TRY(pth_arena_take(p->arena, sizeof(pth_tensor), &made, p->err));
    pth_tensor *const t = made;
    t->storage = s;
    t->dtype = dtype;
    t->offset = (uint64_t)args[1].i;
    CVR_TRY(read_sizes(p, &args[2], "size", t->shape, &t->rank));
    CVR_TRY(read_sizes(p, &args[3], "stride", t->stride, &n_strides));
    if (n_strides != t->rank)
        return pth_pickle_fail(p, CVR_ERR_FORMAT, "a tensor of %u dimensions with %u strides", t->rank, n_strides);
    CVR_TRY(check_extent(p, t));
    *out = (pth_value){.kind = PTH_TENSOR, .tensor = t};
    return CVR_OK;
}

/* Whether the elements lie one after the other. Strides along dimensions of size 1 say nothing. */
int32_t pth_tensor_is_contiguous(const pth_tensor *t) {
    int64_t want = 1;
    if (t->numel == 0) return 1;
    for (uint32_t i = t->rank; i-- > 0;) {
        if (t->shape[i] != 1 && t->stride[i] != want) return 0;
        want *= t->shape[i];
    }
    return 1;
}

/* The last dimension by a plain loop, the others by an odometer. */
void pth_tensor_copy(const pth_tensor *t, uint8_t *to) {
    int64_t index[PTH_MAX_RANK] = {0};
    const uint64_t size = t->dtype->size;
    const uint32_t last = t->rank ? t->rank - 1 : 0;
    const uint64_t row = t->rank ? (uint64_t)t->shape[last] : 1, step = t->rank ? (uint64_t)t->stride[last] * size : 0;
    uint64_t at = t->offset; /* elements */
    for (uint64_t done = 0; done < t->numel; done += row) {
        const uint8_t *from = t->storage->data + at * size;
        for (uint64_t i = 0; i < row; i++, to += size) memcpy(to, from + i * step, size);
        for (uint32_t d = last; d-- > 0;) {
            at += (uint64_t)t->stride[d];
            if (++index[d] < t->shape[d]) break;
            at -= (uint64_t)t->stride[d] * (uint64_t)t->shape[d];
            index[d] = 0;
        }
    }
}
