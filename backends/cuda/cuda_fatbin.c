/*
 * The header of a fatbin: four bytes 0xBA55ED50, a version, its own size, and the size of all that follows. Source:
 * what `fatbinary` of the CUDA toolkit writes (fatbinary_section.h names the magic number of what surrounds it).
 */
#include "cuda_device.h"

#define MAGIC UINT32_C(0xBA55ED50)

const char *cuda_fatbin_bad(const void *bytes, uint64_t n) {
    uint32_t magic;
    uint16_t header;
    uint64_t rest;
    if (n < 16) return "shorter than a fatbin's header";
    memcpy(&magic, bytes, sizeof magic);
    memcpy(&header, (const uint8_t *)bytes + 6, sizeof header);
    memcpy(&rest, (const uint8_t *)bytes + 8, sizeof rest);
    if (magic != MAGIC) return "no fatbin: it does not begin with 50 ed 55 ba";
    if (header < 16 || header > n) return "a fatbin whose header is cut off";
    if (rest > n - header) return "a fatbin that is cut off";
    return NULL;
}
