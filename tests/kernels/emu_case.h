/* The cases of emu_race_test and emu_detect_race_test: an op on tensors of random numbers, and the kernels whose
 * barriers are left out. */
#ifndef CVR_TEST_EMU_CASE_H
#define CVR_TEST_EMU_CASE_H

#include <cvr/plugin/abi.h>

#define EMU_CASE_TENSORS 8u

/* What a tensor has: numbers from `low` to before `high` (floats of 0 and 0: from -1 to 1), or boxes with corners from
 * 0 to `high`. */
#define EMU_CASE_FLOATS 0u
#define EMU_CASE_I32 1u
#define EMU_CASE_I64 2u
#define EMU_CASE_U8 3u
#define EMU_CASE_BOXES 4u
#define EMU_CASE_FAR_BOXES 5u /* those of the second half are ten times as far and as large */

/* A rank of 0 ends a list, but where `scalar` is set. */
typedef struct emu_tensor {
    uint32_t rank;
    int64_t shape[4];
    uint32_t kind;
    float low, high;
    int scalar;
} emu_tensor;

typedef struct emu_case {
    const char *op;
    const void *attrs;
    emu_tensor inputs[EMU_CASE_TENSORS], outputs[5]; /* one more than there can be */
    const char *const kernels[4];                    /* whose barriers are left out */
} emu_case;

#define NUMBERS(...)                                                                                                   \
    {                                                                                                                  \
        .rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .shape = { __VA_ARGS__ }                           \
    }
#define OF_KIND(kind_, low_, high_, ...)                                                                               \
    {                                                                                                                  \
        .rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .shape = {__VA_ARGS__}, .kind = kind_,             \
        .low = low_, .high = high_                                                                                     \
    }
#define FAR_BOXES(side_, ...) OF_KIND(EMU_CASE_FAR_BOXES, 0, side_, __VA_ARGS__)
#define BOXES(side_, ...) OF_KIND(EMU_CASE_BOXES, 0, side_, __VA_ARGS__)
#define I32(low_, high_, ...) OF_KIND(EMU_CASE_I32, low_, high_, __VA_ARGS__)
#define I64(low_, high_, ...) OF_KIND(EMU_CASE_I64, low_, high_, __VA_ARGS__)
#define SCALAR                                                                                                         \
    { .scalar = 1 }
#define SCALAR_I64                                                                                                     \
    { .scalar = 1, .kind = EMU_CASE_I64, .high = 9 }

extern const emu_case emu_cases[];
extern const uint64_t n_emu_cases;

#endif
