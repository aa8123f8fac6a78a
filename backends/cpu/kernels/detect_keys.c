/* Radix sort and radix select (see detect_keys.h). */
#include "detect_keys.h"

#define DIGIT_BITS 8
#define DIGITS 4 /* of the upper word */
#define BUCKETS (1 << DIGIT_BITS)
#define FEW 32 /* keys that insertion sorts faster */

static uint32_t digit_of(uint64_t key, int digit) {
    return (uint32_t)(key >> (32 + digit * DIGIT_BITS)) & (BUCKETS - 1);
}

static void insertion_sort(uint64_t *keys, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        const uint64_t key = keys[i];
        int64_t k = i;
        for (; k > 0 && keys[k - 1] >> 32 > key >> 32; k--) keys[k] = keys[k - 1];
        keys[k] = key;
    }
}

/* One pass: `from` into `to`, by one digit of which `count` says how often each value occurs. */
static void scatter(const uint64_t *from, uint64_t *to, int64_t n, int digit, const uint32_t *count) {
    uint32_t at[BUCKETS], sum = 0;
    for (int b = 0; b < BUCKETS; b++) {
        at[b] = sum;
        sum += count[b];
    }
    for (int64_t i = 0; i < n; i++) to[at[digit_of(from[i], digit)]++] = from[i];
}

/* Least digit first. A digit that is the same in all keys costs no pass. */
void cpu_keys_sort(uint64_t *keys, uint64_t *other, int64_t n) {
    uint32_t count[DIGITS][BUCKETS] = {{0}};
    uint64_t *from = keys, *to = other;
    if (n <= FEW) {
        insertion_sort(keys, n);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < DIGITS; d++) count[d][digit_of(keys[i], d)]++;
    for (int d = 0; d < DIGITS; d++) {
        if (count[d][digit_of(keys[0], d)] == n) continue;
        scatter(from, to, n, d, count[d]);
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys) memcpy(keys, from, (size_t)n * sizeof *keys);
}

/* Keys whose masked part is at most `prefix`, in their order, to the front. */
static int64_t drop_larger(uint64_t *keys, int64_t n, uint64_t mask, uint64_t prefix) {
    int64_t left = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t key = keys[i];
        keys[left] = key;
        left += (key & mask) <= prefix;
    }
    return left;
}

/*
 * Digit by digit from the greatest, the keys that may be the k-th smallest are counted by their next digit. That leaves
 * one value of it, and what is larger is dropped, so that few keys are left after the first digit. In the end `prefix`
 * is the k-th smallest upper word, and `below` how many keys are smaller.
 */
int64_t cpu_keys_select(uint64_t *keys, int64_t n, int64_t k) {
    uint64_t prefix = 0, mask = 0;
    int64_t below = 0, taken = 0;
    if (n <= k) return n;
    for (int d = DIGITS - 1; d >= 0; d--) {
        uint32_t count[BUCKETS] = {0}, b = 0;
        for (int64_t i = 0; i < n; i++) count[digit_of(keys[i], d)] += (keys[i] & mask) == prefix;
        while (b < BUCKETS - 1 && below + count[b] < k) below += count[b++];
        prefix |= (uint64_t)b << (32 + d * DIGIT_BITS);
        mask |= (uint64_t)(BUCKETS - 1) << (32 + d * DIGIT_BITS);
        n = drop_larger(keys, n, mask, prefix);
    }
    for (int64_t i = 0, equal = k - below; i < n && taken < k; i++) {
        const int same = (keys[i] & mask) == prefix;
        if (!same || equal > 0) keys[taken++] = keys[i];
        equal -= same;
    }
    return taken;
}
