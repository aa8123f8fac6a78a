/* Lists of words with spaces between, as features of devices and CPUs, `provides` and `requires` are written. */
#ifndef CVR_PLUGIN_WORDS_H
#define CVR_PLUGIN_WORDS_H

#include "abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the list has the word of the `n` bytes at `word`, which need no NUL behind them. An empty word is in no list,
 * and no word is in NULL. */
static inline int32_t cvr_has_word(const char *words, const char *word, uint64_t n) {
    for (const char *t = words; n && t && *t;) {
        const uint64_t length = (uint64_t)strcspn(t, " ");
        if (length == n && memcmp(t, word, (size_t)n) == 0) return 1;
        t += length + strspn(t + length, " ");
    }
    return 0;
}

#ifdef __cplusplus
}
#endif

#endif
