/*
 * Elementwise programs: what an op that computes every element of its output from those in the same place of its inputs
 * says about itself (the trait below), so that a pass can make one op of several, and so that one kernel for programs
 * (ops/elementwise.h) runs every activation there is and every one that is still to come.
 *
 * A program is a list of steps of a closed machine. A step takes f32 operands and gives one f32 result; its value is
 * defined to the bit by the C reference cvr_step_value (ops/elementwise_math.h), which every backend reproduces: each
 * step is rounded to f32 by itself, nothing is contracted or reordered. So fused and unfused results are equal.
 */
#ifndef CVR_PLUGIN_ELEMENTWISE_STEPS_H
#define CVR_PLUGIN_ELEMENTWISE_STEPS_H

#include "op.h"
#include "trait.h"

#ifdef __cplusplus
extern "C" {
#endif

/* clang-format off */
/*
 * The steps. The numbers are part of the ABI: none is ever given another meaning, new ones go to the end. Ops of IEEE 754
 * round to nearest, ties to even. A NaN operand gives NaN unless a line says otherwise; which NaN is left open.
 */
#define CVR_STEP_ADD 1u        /* a + b */
#define CVR_STEP_SUB 2u        /* a - b */
#define CVR_STEP_MUL 3u        /* a * b */
#define CVR_STEP_DIV 4u        /* a / b */
#define CVR_STEP_MAX 5u        /* b where a < b or b is NaN, else a: of -0 and 0 the first */
#define CVR_STEP_MIN 6u        /* b where a > b or b is NaN, else a */
#define CVR_STEP_NEG 7u        /* -a: the sign bit, also of 0 and NaN */
#define CVR_STEP_ABS 8u        /* |a|: the same */
#define CVR_STEP_SQRT 9u       /* the square root, correctly rounded */
#define CVR_STEP_RSQRT 10u     /* 1 / sqrt(a), each of the two rounded */
#define CVR_STEP_EXP 11u       /* within 2 ulp; 0 below -104, infinite above 88.73 */
#define CVR_STEP_LOG 12u       /* within 2 ulp; -infinity of 0, NaN below */
#define CVR_STEP_TANH 13u      /* within 4 ulp */
#define CVR_STEP_ERF 14u       /* the error function, within 4 ulp */
#define CVR_STEP_NORMAL_CDF 15u /* (1 + erf(a / sqrt(2))) / 2, within 6 + a^2 ulp, also where it is small */
#define CVR_STEP_ROUND 16u     /* to an integer, ties to even */
#define CVR_STEP_FLOOR 17u     /* to the integer below */
#define CVR_STEP_BF16 18u      /* to the nearest bf16, ties to even */
#define CVR_STEP_SELECT_GT 19u /* a > b ? c : d; d where a or b is NaN; c and d pass whatever they are */
#define CVR_STEP_SELECT_GE 20u /* a >= b ? c : d, likewise */
#define CVR_STEP_SELECT_EQ 21u /* a == b ? c : d, likewise */
#define CVR_STEP_COPY 22u      /* a */
#define CVR_STEP_LAST 22u
/* clang-format on */

/* Operands that a step has: 1 (a), 2 (a, b) or 4 (a, b, c, d); 0 where there is no such step. */
static inline uint32_t cvr_step_operands(uint64_t code) {
    if (code == 0 || code > CVR_STEP_LAST) return 0;
    if (code <= CVR_STEP_MIN) return 2;
    return code >= CVR_STEP_SELECT_GT && code <= CVR_STEP_SELECT_EQ ? 4 : 1;
}

/* An operand is the number of an input, or one of these plus the number of an earlier step or of a constant. */
#define CVR_STEP_RESULT 64u
#define CVR_STEP_CONSTANT 128u

/* Never grows. Operands that the step does not have are 0. */
typedef struct cvr_step {
    uint32_t code; /* CVR_STEP_* */
    uint32_t operands[4];
    uint32_t reserved;
} cvr_step;

/* Most steps, and most constants, of one program. */
#define CVR_MOST_STEPS 32u

/* The last step's result is output 0. */
typedef struct cvr_steps {
    uint64_t struct_size;
    uint32_t n_steps, n_constants;
    cvr_step steps[CVR_MOST_STEPS];
    float constants[CVR_MOST_STEPS];
} cvr_steps;

/* A value in place of one of the op's inputs. */
typedef struct cvr_operands_args {
    uint64_t struct_size;
    const void *attrs;
    const cvr_value *inputs;
    cvr_value *operands; /* CVR_MAX_IO; to be filled */
    uint32_t n_inputs;
    uint32_t n_operands; /* to be set */
} cvr_operands_args;

#define CVR_TRAIT_ELEMENTWISE "cvr.trait.elementwise/1"
typedef struct cvr_elementwise_trait {
    uint64_t struct_size;
    /* The op as a program, of its attributes alone: `out` comes empty. */
    void (*steps)(const void *attrs, cvr_steps *out);
    /* The values that the program's inputs are; NULL: the op's inputs, in order. Emits what it needs, from attributes,
     * types and inputs that are scalars, since the others may not be computed yet. */
    int32_t (*operands)(const cvr_builder *b, cvr_operands_args *a, cvr_error *err);
} cvr_elementwise_trait;

/* ---- writing a program: each gives the operand that later steps name ---- */

static inline uint32_t cvr_constant(cvr_steps *s, float value) {
    for (uint32_t i = 0; i < s->n_constants; i++)
        if (memcmp(&s->constants[i], &value, sizeof value) == 0) return CVR_STEP_CONSTANT + i;
    if (s->n_constants == CVR_MOST_STEPS) return CVR_STEP_CONSTANT + CVR_MOST_STEPS; /* refused with the program */
    s->constants[s->n_constants] = value;
    return CVR_STEP_CONSTANT + s->n_constants++;
}

/* x > y ? c : d and the like; the others are of fewer operands. A step too many is not written, and the count says so.
 */
static inline uint32_t cvr_step4(cvr_steps *s, uint32_t code, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    if (s->n_steps < CVR_MOST_STEPS) {
        cvr_step *to = &s->steps[s->n_steps];
        to->code = code;
        to->operands[0] = a;
        to->operands[1] = b;
        to->operands[2] = c;
        to->operands[3] = d;
        to->reserved = 0;
    }
    return CVR_STEP_RESULT + s->n_steps++;
}

static inline uint32_t cvr_step2(cvr_steps *s, uint32_t code, uint32_t a, uint32_t b) {
    return cvr_step4(s, code, a, b, 0, 0);
}

static inline uint32_t cvr_step1(cvr_steps *s, uint32_t code, uint32_t a) {
    return cvr_step4(s, code, a, 0, 0, 0);
}

/* ---- the op `elementwise` ---- */

#define CVR_ELEMENTWISE_INPUTS 8
#define CVR_ELEMENTWISE_STEPS CVR_MOST_STEPS

/* Attributes of the op that is such a program (cvr/plugin/ops/elementwise.h). */
typedef struct cvr_elementwise_attrs {
    int64_t n_steps;                          /* numbers: five a step */
    int64_t steps[5 * CVR_ELEMENTWISE_STEPS]; /* code and operands; 0 for an operand that the step does not have */
    int64_t n_constants;
    double constants[CVR_ELEMENTWISE_STEPS]; /* rounded to f32 */
} cvr_elementwise_attrs;

static inline void cvr_elementwise_attrs_of(const cvr_steps *s, cvr_elementwise_attrs *attrs) {
    memset(attrs, 0, sizeof *attrs);
    attrs->n_steps = 5 * (int64_t)s->n_steps;
    attrs->n_constants = s->n_constants;
    for (uint32_t k = 0; k < s->n_steps; k++) {
        attrs->steps[5 * k] = s->steps[k].code;
        for (uint32_t i = 0; i < 4; i++) attrs->steps[5 * k + 1 + i] = s->steps[k].operands[i];
    }
    for (uint32_t k = 0; k < s->n_constants; k++) attrs->constants[k] = (double)s->constants[k];
}

/* Whether every step exists and has operands that are there before it. */
static inline int cvr_steps_valid(const cvr_steps *s, uint32_t n_inputs) {
    if (s->n_steps == 0 || s->n_steps > CVR_MOST_STEPS || s->n_constants > CVR_MOST_STEPS) return 0;
    for (uint32_t k = 0; k < s->n_steps; k++) {
        const uint32_t n = cvr_step_operands(s->steps[k].code);
        if (n == 0) return 0;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t from = s->steps[k].operands[i];
            if (from >= CVR_STEP_CONSTANT ? from - CVR_STEP_CONSTANT >= s->n_constants
                : from >= CVR_STEP_RESULT ? from - CVR_STEP_RESULT >= k
                                          : from >= n_inputs)
                return 0;
        }
    }
    return 1;
}

/*
 * How x repeats in the memory of a result of this shape: result element i is made of x's element i / inner % size. 0
 * where it is not repeated evenly.
 */
static inline int cvr_elementwise_repeat(uint32_t rank, const int64_t *shape, uint32_t x_rank, const int64_t *x_shape,
                                         int64_t *inner, int64_t *size) {
    static const uint32_t pixels[4] = {0, 2, 3, 1};
    int axes = 0, ended = 0;
    *inner = *size = 1;
    if (x_rank > rank) return 0;
    for (uint32_t k = rank; k-- > 0;) {
        const uint32_t axis = rank == 4 ? pixels[k] : k;
        const int64_t n = shape[axis], m = axis < rank - x_rank ? 1 : x_shape[axis - (rank - x_rank)];
        if (m != n && m != 1) return 0;
        if (n == 1) continue;
        if (m == n) {
            if (ended) return 0;
            *size *= n;
            axes++;
        } else if (axes == 0) {
            *inner *= n;
        } else {
            ended = 1;
        }
    }
    return axes < 2 || (x_rank == 4) == (rank == 4);
}

/* The meaning, in the op `elementwise`, of an op that has the trait: for its `decompose`. Its inputs are of one shape.
 */
static inline int32_t cvr_elementwise_decompose(const cvr_builder *b, cvr_decompose_args *a,
                                                const cvr_elementwise_trait *trait, cvr_error *err) {
    cvr_elementwise_attrs attrs;
    cvr_value operands[CVR_MAX_IO];
    cvr_steps s;
    cvr_operands_args args = {sizeof args, a->attrs, a->inputs, operands, a->n_inputs, a->n_inputs};
    memset(&s, 0, sizeof s);
    s.struct_size = sizeof s;
    for (uint32_t i = 0; i < a->n_inputs; i++) operands[i] = a->inputs[i];
    if (trait->operands) CVR_TRY(trait->operands(b, &args, err));
    trait->steps(a->attrs, &s);
    if (!cvr_steps_valid(&s, args.n_operands))
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "an elementwise program names an operand that is not there, or has more "
                        "than %u steps",
                        CVR_MOST_STEPS);
    cvr_elementwise_attrs_of(&s, &attrs);
    return cvr_emit(b, "elementwise", &attrs, sizeof attrs, operands, args.n_operands, &a->outputs[0], err);
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_elementwise_attrs) == 8 + 8 * 160 + 8 + 256, "cvr_elementwise_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_step) == 24, "cvr_step has padding");
CVR_STATIC_ASSERT(sizeof(cvr_steps) == 16 + 24 * 32 + 4 * 32, "cvr_steps has padding");
CVR_STATIC_ASSERT(sizeof(cvr_operands_args) == 40, "cvr_operands_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_elementwise_trait) == 24, "cvr_elementwise_trait has padding");

#endif
