/* SHA-256 (FIPS 180-4): the names of published weights hold its first digits. */
#ifndef CVR_SHA256_H
#define CVR_SHA256_H

#include <stdint.h>

/* `hex`: 64 digits and a zero. */
void sha256_hex(const uint8_t *bytes, uint64_t n, char hex[65]);

#endif
