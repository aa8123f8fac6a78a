/* Bytes that grow, and the wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding). */
#ifndef CVR_ONNX_BYTES_H
#define CVR_ONNX_BYTES_H

#include <cvr/plugin/plugin.h>

typedef struct onnx_bytes {
    const cvr_host *host;
    uint8_t *p;
    uint64_t n, capacity;
    int32_t failed; /* memory ran out; what was added since is not there */
} onnx_bytes;

/* Room for `count` elements of `size` bytes or more in an array that doubles; NULL leaves the old one. */
void *onnx_grow(const cvr_host *host, void *array, uint64_t count, uint64_t *capacity, uint64_t size);

void onnx_add(onnx_bytes *b, const void *bytes, uint64_t n);
void onnx_clear(onnx_bytes *b);

/* Fields. A message within a message is made in a buffer of its own and added as bytes. */
void onnx_put_int(onnx_bytes *b, uint32_t field, int64_t value);
void onnx_put_float(onnx_bytes *b, uint32_t field, float value);
void onnx_put_text(onnx_bytes *b, uint32_t field, const char *text);
void onnx_put_message(onnx_bytes *b, uint32_t field, const onnx_bytes *message);
/* The beginning of a field of `n` bytes, which follow. */
void onnx_put_length(onnx_bytes *b, uint32_t field, uint64_t n);

#endif
