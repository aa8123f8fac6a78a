/*
 * A packed split: `cvrun pack` writes it, the data set "pack" maps it into memory. All numbers are little-endian.
 *
 *   16 bytes       PACK_MAGIC, zeros
 *   records        each at a multiple of 64: a picture's pixels (H,W,C) u8, or its file's bytes, and then, where a
 *                  picture has several classes, a share for each of them, f32
 *   names          of the classes, each NUL-terminated
 *   index          a pack_entry a sample, at a multiple of 8
 *   pack_footer    the file's last bytes
 */
#ifndef CVR_PLUGIN_FORMATS_PACK_H
#define CVR_PLUGIN_FORMATS_PACK_H

#include <stdint.h>
#include <string.h>

#define PACK_MAGIC "CVRPACK"
#define PACK_HEADER 16u
#define PACK_ALIGN 64u
#define PACK_VERSION 1u

#define PACK_PIXELS 0u
#define PACK_FILES 1u

#define PACK_MOST_CLASSES 65536u
#define PACK_MOST_SIDE 65500u

typedef struct pack_entry {
    uint64_t offset, bytes; /* of its record */
    uint64_t sum;           /* pack_sum of the record */
    uint32_t height, width; /* of the picture, upright */
    int64_t label;          /* -1 where the record has shares */
} pack_entry;

typedef struct pack_footer {
    char magic[8];
    uint32_t version;
    uint32_t stored; /* PACK_PIXELS, PACK_FILES */
    uint64_t n_samples, n_classes;
    uint64_t channels; /* of pixels */
    uint64_t shares;   /* 1: records have shares */
    uint64_t names_at, index_at;
    uint64_t sum; /* of everything from names_at up to here */
} pack_footer;

/* Four chains of xor and multiply over words of 8 bytes (as FNV-1a does with bytes), each turned, so that what comes
 * late reaches all bits; about as fast as memory is read. */
static inline uint64_t pack_sum(const void *data, uint64_t n) {
    static const uint64_t prime = 0x9e3779b97f4a7c15u;
    const unsigned char *const bytes = data;
    uint64_t lanes[4] = {1, 2, 3, 4}, sum = n * prime, at = 0;
    for (; n - at >= 32; at += 32) {
        for (int k = 0; k < 4; k++) {
            uint64_t word;
            memcpy(&word, bytes + at + 8 * k, 8);
            lanes[k] = (lanes[k] ^ word) * prime;
            lanes[k] ^= lanes[k] >> 32;
        }
    }
    for (; at < n; at++) lanes[at % 4] = (lanes[at % 4] ^ bytes[at]) * prime;
    for (int k = 0; k < 4; k++) sum = (sum ^ lanes[k] ^ lanes[k] >> 29) * prime;
    return sum ^ sum >> 32;
}

_Static_assert(sizeof(pack_entry) == 40, "pack_entry is laid out as in the file");
_Static_assert(sizeof(pack_footer) == 72, "pack_footer is laid out as in the file");

#endif
