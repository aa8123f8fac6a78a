/* See hlo.h: the writer, constants, elements. */
#include "hlo.h"
#include <math.h>

#define FIRST_NAME 1000u /* below: inputs */

void hlo_begin(hlo *h, const cvr_kernel_args *a, const cvr_text_sink *sink, cvr_error *err) {
    memset(h, 0, sizeof *h);
    h->a = a;
    h->sink = sink;
    h->err = err;
    h->next = FIRST_NAME;
}

void hlo_fail(hlo *h, const char *format, ...) {
    char text[400];
    va_list ap;
    if (h->status != CVR_OK) return;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    h->status = cvr_fail(h->err, CVR_ERR_UNSUPPORTED, "%s", text);
}

static void put_bytes(hlo *h, const char *text, uint64_t n) {
    if (h->status == CVR_OK) h->status = h->sink->write(h->sink, text, n, h->err);
}

void hlo_put(hlo *h, const char *format, ...) {
    char text[4096];
    va_list ap;
    va_start(ap, format);
    const int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text)
        hlo_fail(h, "a statement is too long");
    else
        put_bytes(h, text, (uint64_t)n);
}

/* ---- names and types ---- */

const char *hlo_name(hlo_value v, char *text) {
    if (v.id < FIRST_NAME)
        (void)snprintf(text, HLO_TEXT, "%%i%u", v.id);
    else if (v.part)
        (void)snprintf(text, HLO_TEXT, "%%%u#%u", v.id, v.part - 1);
    else
        (void)snprintf(text, HLO_TEXT, "%%%u", v.id);
    return text;
}

static const char *element(uint32_t dtype) {
    switch (dtype) {
    case CVR_U8: return "ui8";
    case HLO_BOOL: return "i1";
    case HLO_U32: return "ui32";
    case HLO_U64: return "ui64";
    case HLO_F64: return "f64";
    default: return cvr_dtype_name(dtype);
    }
}

const char *hlo_type(hlo_value v, char *text) {
    size_t n = (size_t)snprintf(text, HLO_TEXT, "tensor<");
    for (uint32_t i = 0; i < v.rank; i++) n += (size_t)snprintf(text + n, HLO_TEXT - n, "%lldx", (long long)v.shape[i]);
    (void)snprintf(text + n, HLO_TEXT - n, "%s>", element(v.dtype));
    return text;
}

hlo_value hlo_new(hlo *h, hlo_value type) {
    type.id = h->next++;
    type.part = 0;
    return type;
}

static hlo_value shaped(uint32_t dtype, uint32_t rank, const int64_t *shape) {
    hlo_value v = {.dtype = dtype, .rank = rank};
    for (uint32_t i = 0; i < rank; i++) v.shape[i] = shape[i];
    return v;
}

int64_t hlo_count(hlo_value v) {
    int64_t n = 1;
    for (uint32_t i = 0; i < v.rank; i++) n *= v.shape[i];
    return n;
}

uint32_t hlo_axis(uint32_t rank, int64_t axis) {
    static const uint32_t memory[4] = {0, 3, 1, 2};
    return rank == 4 ? memory[axis & 3] : (uint32_t)axis;
}

hlo_value hlo_like(const cvr_tensor *t) {
    hlo_value v = {.dtype = t->dtype, .rank = t->rank};
    for (uint32_t i = 0; i < t->rank; i++) v.shape[hlo_axis(t->rank, i)] = t->shape[i];
    return v;
}

static int is_float(uint32_t dtype) {
    return dtype == CVR_F32 || dtype == CVR_F16 || dtype == CVR_BF16 || dtype == HLO_F64;
}

/* ---- inputs and results ---- */

int hlo_has(const hlo *h, uint32_t i) {
    return i < h->a->n_inputs && h->a->inputs[i] != NULL;
}

hlo_value hlo_input_raw(hlo *h, uint32_t i) {
    if (!hlo_has(h, i)) {
        hlo_fail(h, "input %u is not there", i);
        return (hlo_value){.dtype = CVR_F32};
    }
    hlo_value v = hlo_like(h->a->inputs[i]);
    v.id = i;
    return v;
}

hlo_value hlo_input(hlo *h, uint32_t i) {
    const hlo_value v = hlo_input_raw(h, i);
    return v.dtype == CVR_BF16 || v.dtype == CVR_F16 ? hlo_convert(h, v, CVR_F32) : v;
}

void hlo_result(hlo *h, hlo_value v) {
    if (h->n_results == CVR_MAX_IO) {
        hlo_fail(h, "it has more than %u results", CVR_MAX_IO);
        return;
    }
    h->results[h->n_results++] = v;
}

int32_t hlo_end(hlo *h) {
    char text[HLO_TEXT];
    for (uint32_t i = 0; i < h->n_results && i < h->a->n_outputs; i++) {
        if (!h->a->outputs[i]) continue;
        const hlo_value want = hlo_like(h->a->outputs[i]);
        h->results[i] = hlo_reshape_like(h, hlo_convert(h, h->results[i], want.dtype), want);
    }
    hlo_put(h, "    return");
    for (uint32_t i = 0; i < h->n_results; i++) hlo_put(h, "%s %s", i ? "," : "", hlo_name(h->results[i], text));
    if (h->n_results) hlo_put(h, " :");
    for (uint32_t i = 0; i < h->n_results; i++) hlo_put(h, "%s %s", i ? "," : "", hlo_type(h->results[i], text));
    hlo_put(h, "\n");
    return h->status;
}

/* ---- constants ---- */

static void put_number(hlo *h, uint32_t dtype, double value) {
    const float single = (float)value;
    uint32_t bits;
    uint64_t wide;
    memcpy(&bits, &single, sizeof bits);
    memcpy(&wide, &value, sizeof wide);
    if (dtype == CVR_F32)
        hlo_put(h, "0x%08X", bits);
    else if (dtype == HLO_F64)
        hlo_put(h, "0x%016llX", (unsigned long long)wide);
    else if (dtype == CVR_F16 || dtype == CVR_BF16)
        hlo_put(h, "%.9e", value);
    else if (dtype == HLO_BOOL)
        hlo_put(h, value != 0 ? "true" : "false");
    else
        hlo_put(h, "%lld", (long long)value);
}

hlo_value hlo_fill(hlo *h, hlo_value like, double value) {
    char name[HLO_TEXT], type[HLO_TEXT];
    const hlo_value v = hlo_new(h, like);
    hlo_put(h, "    %s = stablehlo.constant dense<", hlo_name(v, name));
    put_number(h, v.dtype, value);
    hlo_put(h, "> : %s\n", hlo_type(v, type));
    return v;
}

hlo_value hlo_scalar(hlo *h, uint32_t dtype, double value) {
    return hlo_fill(h, (hlo_value){.dtype = dtype}, value);
}

hlo_value hlo_integer(hlo *h, uint32_t dtype, int64_t value) {
    char name[HLO_TEXT], type[HLO_TEXT];
    const hlo_value v = hlo_new(h, (hlo_value){.dtype = dtype});
    hlo_put(h, "    %s = stablehlo.constant dense<", hlo_name(v, name));
    if (dtype == HLO_U64)
        hlo_put(h, "%llu", (unsigned long long)value);
    else
        hlo_put(h, "%lld", (long long)value);
    hlo_put(h, "> : %s\n", hlo_type(v, type));
    return v;
}

hlo_value hlo_f32(hlo *h, double value) {
    return hlo_scalar(h, CVR_F32, value);
}

hlo_value hlo_iota(hlo *h, uint32_t dtype, hlo_value shape, uint32_t axis) {
    char name[HLO_TEXT], type[HLO_TEXT];
    hlo_value v = hlo_new(h, shape);
    v.dtype = dtype;
    hlo_put(h, "    %s = stablehlo.iota dim = %u : %s\n", hlo_name(v, name), axis, hlo_type(v, type));
    return v;
}

/* Nested as MLIR wants it: [[1, 2], [3, 4]]. */
static void put_table(hlo *h, hlo_value v, const float *f, const int32_t *n) {
    const int64_t count = hlo_count(v);
    for (int64_t i = 0; i < count; i++) {
        int64_t block = 1;
        if (i) hlo_put(h, ", ");
        for (uint32_t k = v.rank; k-- > 0;)
            if (i % (block *= v.shape[k]) == 0) hlo_put(h, "[");
        if (f)
            put_number(h, CVR_F32, (double)f[i]);
        else
            hlo_put(h, "%d", n[i]);
        block = 1;
        for (uint32_t k = v.rank; k-- > 0;)
            if ((i + 1) % (block *= v.shape[k]) == 0) hlo_put(h, "]");
    }
}

static hlo_value table(hlo *h, uint32_t dtype, const float *f, const int32_t *n, uint32_t rank, const int64_t *shape) {
    char name[HLO_TEXT], type[HLO_TEXT];
    const hlo_value v = hlo_new(h, shaped(dtype, rank, shape));
    hlo_put(h, "    %s = stablehlo.constant dense<", hlo_name(v, name));
    put_table(h, v, f, n);
    hlo_put(h, "> : %s\n", hlo_type(v, type));
    return v;
}

hlo_value hlo_table_f32(hlo *h, const float *values, uint32_t rank, const int64_t *shape) {
    return table(h, CVR_F32, values, NULL, rank, shape);
}
hlo_value hlo_table_i32(hlo *h, const int32_t *values, uint32_t rank, const int64_t *shape) {
    return table(h, CVR_I32, NULL, values, rank, shape);
}

/* ---- elements ---- */

hlo_value hlo_unary(hlo *h, const char *op, hlo_value a) {
    char x[HLO_TEXT], y[HLO_TEXT], type[HLO_TEXT];
    const hlo_value v = hlo_new(h, a);
    hlo_put(h, "    %s = stablehlo.%s %s : %s\n", hlo_name(v, y), op, hlo_name(a, x), hlo_type(a, type));
    return v;
}

/* A scalar takes the other's shape. */
static void even_out(hlo *h, hlo_value *a, hlo_value *b) {
    if (a->rank == 0 && b->rank) *a = hlo_broadcast(h, *a, *b, NULL);
    if (b->rank == 0 && a->rank) *b = hlo_broadcast(h, *b, *a, NULL);
}

hlo_value hlo_binary(hlo *h, const char *op, hlo_value a, hlo_value b) {
    char x[HLO_TEXT], y[HLO_TEXT], z[HLO_TEXT], type[HLO_TEXT];
    even_out(h, &a, &b);
    const hlo_value v = hlo_new(h, a);
    hlo_put(h, "    %s = stablehlo.%s %s, %s : %s\n", hlo_name(v, z), op, hlo_name(a, x), hlo_name(b, y),
            hlo_type(a, type));
    return v;
}

hlo_value hlo_add(hlo *h, hlo_value a, hlo_value b) {
    return hlo_binary(h, "add", a, b);
}
hlo_value hlo_sub(hlo *h, hlo_value a, hlo_value b) {
    return hlo_binary(h, "subtract", a, b);
}
hlo_value hlo_mul(hlo *h, hlo_value a, hlo_value b) {
    return hlo_binary(h, "multiply", a, b);
}
hlo_value hlo_div(hlo *h, hlo_value a, hlo_value b) {
    return hlo_binary(h, "divide", a, b);
}
hlo_value hlo_scale(hlo *h, hlo_value a, double factor) {
    return hlo_mul(h, a, hlo_scalar(h, a.dtype, factor));
}

hlo_value hlo_compare(hlo *h, const char *how, hlo_value a, hlo_value b) {
    char x[HLO_TEXT], y[HLO_TEXT], z[HLO_TEXT], type[HLO_TEXT], result[HLO_TEXT];
    even_out(h, &a, &b);
    hlo_value v = hlo_new(h, a);
    v.dtype = HLO_BOOL;
    const int is_unsigned = a.dtype == CVR_U8 || a.dtype >= HLO_BOOL;
    const char *kind = is_float(a.dtype) ? "FLOAT" : is_unsigned ? "UNSIGNED" : "SIGNED";
    hlo_put(h, "    %s = stablehlo.compare %s, %s, %s, %s : (%s, %s) -> %s\n", hlo_name(v, z), how, hlo_name(a, x),
            hlo_name(b, y), kind, hlo_type(a, type), type, hlo_type(v, result));
    return v;
}

hlo_value hlo_select(hlo *h, hlo_value which, hlo_value yes, hlo_value no) {
    char p[HLO_TEXT], x[HLO_TEXT], y[HLO_TEXT], z[HLO_TEXT], type[HLO_TEXT], choice[HLO_TEXT];
    even_out(h, &yes, &no);
    even_out(h, &which, &yes);
    even_out(h, &which, &no);
    const hlo_value v = hlo_new(h, yes);
    hlo_put(h, "    %s = stablehlo.select %s, %s, %s : %s, %s\n", hlo_name(v, z), hlo_name(which, p), hlo_name(yes, x),
            hlo_name(no, y), hlo_type(which, choice), hlo_type(yes, type));
    return v;
}

static hlo_value retyped(hlo *h, const char *op, hlo_value a, uint32_t dtype) {
    char x[HLO_TEXT], y[HLO_TEXT], from[HLO_TEXT], to[HLO_TEXT];
    hlo_value v;
    if (a.dtype == dtype) return a;
    v = hlo_new(h, a);
    v.dtype = dtype;
    hlo_put(h, "    %s = stablehlo.%s %s : (%s) -> %s\n", hlo_name(v, y), op, hlo_name(a, x), hlo_type(a, from),
            hlo_type(v, to));
    return v;
}

hlo_value hlo_convert(hlo *h, hlo_value a, uint32_t dtype) {
    return retyped(h, "convert", a, dtype);
}
hlo_value hlo_bits(hlo *h, hlo_value a, uint32_t dtype) {
    return retyped(h, "bitcast_convert", a, dtype);
}
