/* Bytes that grow, and the wire format of Protocol Buffers: a key (field number and type), then the value. */
#include "onnx_bytes.h"

enum { WIRE_VARINT = 0, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };

void *onnx_grow(const cvr_host *host, void *array, uint64_t count, uint64_t *capacity, uint64_t size) {
    if (count < *capacity) return array;
    const uint64_t more = *capacity ? 2 * *capacity : 64;
    if (more > UINT64_MAX / 4 / size) return NULL;
    void *p = host->alloc(host, more * size, 64);
    if (!p) return NULL;
    if (array) memcpy(p, array, count * size);
    host->free(host, array);
    *capacity = more;
    return p;
}

void onnx_add(onnx_bytes *b, const void *bytes, uint64_t n) {
    uint64_t capacity = b->capacity ? b->capacity : 256;
    while (capacity - b->n < n) capacity *= 2;
    if (capacity != b->capacity && !b->failed) {
        uint8_t *p = b->host->alloc(b->host, capacity, 64);
        b->failed = p == NULL;
        if (p && b->n) memcpy(p, b->p, b->n);
        if (p) b->host->free(b->host, b->p);
        if (p) b->p = p;
        if (p) b->capacity = capacity;
    }
    if (b->failed) return;
    if (n) memcpy(b->p + b->n, bytes, n);
    b->n += n;
}

void onnx_clear(onnx_bytes *b) {
    b->host->free(b->host, b->p);
    b->p = NULL;
    b->n = b->capacity = 0;
    b->failed = 0;
}

/* Seven bits a byte, the lowest first. */
static void add_varint(onnx_bytes *b, uint64_t value) {
    uint8_t bytes[10];
    uint64_t n = 0;
    do {
        bytes[n++] = (uint8_t)(value & 127u) | (value > 127 ? 128u : 0u);
        value >>= 7;
    } while (value);
    onnx_add(b, bytes, n);
}

static void add_key(onnx_bytes *b, uint32_t field, uint32_t wire) {
    add_varint(b, field << 3 | wire);
}

void onnx_put_int(onnx_bytes *b, uint32_t field, int64_t value) {
    add_key(b, field, WIRE_VARINT);
    add_varint(b, (uint64_t)value);
}

void onnx_put_float(onnx_bytes *b, uint32_t field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint8_t bytes[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
    add_key(b, field, WIRE_FIXED32);
    onnx_add(b, bytes, 4);
}

void onnx_put_length(onnx_bytes *b, uint32_t field, uint64_t n) {
    add_key(b, field, WIRE_LENGTH);
    add_varint(b, n);
}

void onnx_put_text(onnx_bytes *b, uint32_t field, const char *text) {
    const uint64_t n = strlen(text);
    onnx_put_length(b, field, n);
    onnx_add(b, text, n);
}

void onnx_put_message(onnx_bytes *b, uint32_t field, const onnx_bytes *message) {
    onnx_put_length(b, field, message->n);
    onnx_add(b, message->p, message->n);
    if (message->failed) b->failed = 1;
}
