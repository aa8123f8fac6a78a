/* Shapes, and the two orders of elements: in memory (channels last) and logical (as PyTorch numbers axes). */
#include "ir.h"

uint64_t type_bytes(const cvr_type *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
}

bool same_shape(const cvr_type *a, const cvr_type *b) {
    return a->dtype == b->dtype && a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

bool same_order(const cvr_type *a, const cvr_type *b) {
    return memcmp(a->order, b->order, sizeof a->order) == 0;
}

bool has_order(const cvr_type *t) {
    return t->order[0] != 0;
}

void print_shape(const cvr_type *t, char *buf, size_t size) {
    size_t n = (size_t)snprintf(buf, size, "(");
    for (uint32_t i = 0; i < t->rank && n < size; i++) {
        n += (size_t)snprintf(buf + n, size - n, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    }
    if (n < size) (void)snprintf(buf + n, size - n, ")");
}

int32_t check_type(const cvr_type *t, const char *what, cvr_error *err) {
    int64_t n = 1;
    if (!cvr_dtype_size(t->dtype) || t->rank > CVR_MAX_RANK) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: a value without element type or with rank %u", what, t->rank);
    }
    for (uint32_t i = 0; i < t->rank; i++) {
        if (t->shape[i] < 0 || __builtin_mul_overflow(n, t->shape[i], &n) || n > INT64_MAX / 64) {
            char shape[160];
            print_shape(t, shape, sizeof shape);
            return cvr_fail(err, CVR_ERR_INVALID, "%s: a value of shape %s is too large or negative", what, shape);
        }
    }
    if (has_order(t) && (t->rank < 2 || t->order[0] * t->order[1] * t->order[2] != t->shape[1])) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: an element order that does not fit the shape", what);
    }
    return CVR_OK;
}

cvr_tensor tensor_of(const cvr_type *t) {
    cvr_tensor x = {.struct_size = sizeof x, .dtype = t->dtype, .rank = t->rank};
    memcpy(x.shape, t->shape, sizeof x.shape);
    memcpy(x.order, t->order, sizeof x.order);
    x.pixel_stride = t->rank == 4 ? t->shape[1] : 0;
    return x;
}

#define TRANSPOSE_COLS 16 /* of a strip: as many lines that are written at once */

/* One matrix of elements of a size that is a constant where this is inlined; strip by strip, which keeps to few lines.
 */
static inline void transpose_one(uint8_t *to, const uint8_t *from, int64_t rows, int64_t cols, size_t element) {
    for (int64_t c0 = 0; c0 < cols; c0 += TRANSPOSE_COLS) {
        const int64_t end = c0 + TRANSPOSE_COLS < cols ? c0 + TRANSPOSE_COLS : cols;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = c0; c < end; c++)
                memcpy(to + (size_t)(c * rows + r) * element, from + (size_t)(r * cols + c) * element, element);
    }
}

/* Copies a block of `outer` matrices, each (rows, cols), transposed. */
static void transpose(uint8_t *to, const uint8_t *from, int64_t outer, int64_t rows, int64_t cols, size_t element) {
    const size_t plane = (size_t)(rows * cols) * element;
    for (int64_t o = 0; o < outer; o++, to += plane, from += plane) {
        if (element == sizeof(uint32_t))
            transpose_one(to, from, rows, cols, sizeof(uint32_t));
        else
            transpose_one(to, from, rows, cols, element);
    }
}

/* Splits a type into (outer, channels, pixels, inner): memory has channels after pixels, logical order before. */
static bool planes(const cvr_type *t, int64_t *outer, int64_t *channels, int64_t *pixels, size_t *element) {
    *element = cvr_dtype_size(t->dtype);
    *outer = t->shape[0];
    if (has_order(t)) {
        *channels = t->order[0];
        *pixels = t->order[1] * t->order[2];
        for (uint32_t i = 2; i < t->rank; i++) *element *= (size_t)t->shape[i];
        return true;
    }
    *channels = t->shape[1];
    *pixels = t->shape[2] * t->shape[3];
    return t->rank == 4 && *channels > 1 && *pixels > 1;
}

void cvr_to_logical(const cvr_type *t, const void *memory, void *logical) {
    int64_t outer, channels, pixels;
    size_t element;
    if (planes(t, &outer, &channels, &pixels, &element))
        transpose(logical, memory, outer, pixels, channels, element);
    else
        memcpy(logical, memory, type_bytes(t));
}

void cvr_from_logical(const cvr_type *t, const void *logical, void *memory) {
    int64_t outer, channels, pixels;
    size_t element;
    if (planes(t, &outer, &channels, &pixels, &element))
        transpose(memory, logical, outer, channels, pixels, element);
    else
        memcpy(memory, logical, type_bytes(t));
}
