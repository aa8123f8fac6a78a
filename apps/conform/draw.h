/*
 * Random cases from templates, one a line of a file of cases (tests/layers/cases/NAME.cases, `cvrun conform --cases`):
 *
 *   LAYER settings... | input0 ; input1
 *
 * ` > LAYER settings` goes on from the first output of what stands before it; `op:NAME settings` is an op without
 * layer, of which `op:NAME@1` gives output 1 in place of 0, `op:NAME@*` all. {a-b} draws an integer, {n=a-b} draws and
 * names it, {x|y|z} picks a word, {n=x|y} picks and names it, {n} uses it again. An input is one of
 *     SHAPE "2,3,4" (f32, normal), u01:SHAPE (f32, uniform in 0..1)
 *     i64<K>:SHAPE, i32<K>:SHAPE, u8<K>:SHAPE (integers in [0, K)), i32<LEAST:K>:SHAPE (in [LEAST, K))
 *     box<SIDE>:SHAPE (f32, boxes with corners in [0, SIDE)), box<LEAST:SIDE>:SHAPE (whose sides are LEAST or longer)
 *     - (absent)
 * One that ends in `!` has no gradient, and stays f32 in a program of low precision, as a weight does; one that ends in
 * `~` has no gradient, but becomes bf16 there. # starts a comment.
 */
#ifndef CVR_CASE_DRAW_H
#define CVR_CASE_DRAW_H

#include "layer_case.h"
#include <cvr/plugin/rng.h>

typedef struct case_line {
    char place[96]; /* "conv.cases:7" */
    char text[512];
} case_line;

/* Adds the lines of a file to a list, which is to be freed with free. */
int32_t case_lines_read(const char *path, case_line **lines, size_t *n, cvr_error *err);
/* Fills `c` with one draw, inputs included. False: `why` says what is wrong with the line. */
bool draw_case(const case_line *line, uint64_t draw, layer_case *c, char *why, size_t why_size);
/* Fills the parameters, buffers and output gradients of a case whose shapes are known once it is built. */
void draw_rest(layer_case *c, const case_run *run, uint64_t seed);
/* The same, and builds it for that. */
bool draw_complete(const case_machine *m, layer_case *c, uint64_t seed, cvr_error *err);

#endif
