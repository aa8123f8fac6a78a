/* Random words, the bits of the CPU's (emit_mask.c). */
#ifndef PJRT_EMIT_WORDS_H
#define PJRT_EMIT_WORDS_H

#include "../hlo.h"

/* (n) u32: the first words of the stream (seed, key, step). Input `seed` and the one after it are seed and step. */
hlo_value mask_words(hlo *h, uint32_t seed, uint64_t key, int64_t n);

#endif
