/*
 * Random cases from templates, tests/layers/cases/FAMILY.cases, one a line:
 *
 *   LAYER settings... | input0 ; input1
 *
 * ` > LAYER settings` goes on from the first output of what stands before it; `op:NAME settings` is an op without
 * layer. {a-b} draws an integer, {n=a-b} draws and names it, {x|y|z} picks a word, {n=x|y} picks and names it, {n} uses
 * it again. An input is a shape "2,3,4" (f32, normal), u01:SHAPE (f32, uniform in 0..1) or i64<K>:SHAPE (integers in
 * [0, K)). One that ends in `!` has no gradient, and stays f32 in a program of low precision, as a weight does; one
 * that ends in `~` has no gradient, but becomes bf16 there. # starts a comment.
 */
#ifndef CVR_TEST_DRAW_H
#define CVR_TEST_DRAW_H

#include "layer_case.h"
#include <cvr/plugin/rng.h>

typedef struct case_line {
    char place[96]; /* "conv.cases:7" */
    char text[512];
} case_line;

/* All lines of all files of a family, which is what their names begin with ("": every file); the process ends where a
 * file cannot be read or a line is too long. Free with free. */
case_line *case_lines(const char *folder, const char *family, size_t *n_files, size_t *n);
/* Fills `c` with one draw, inputs included. False: `why` says what is wrong with the line. */
bool draw_case(const case_line *line, uint64_t draw, layer_case *c, char *why, size_t why_size);
/* Fills the parameters, buffers and output gradients of a case whose shapes are known once it is built. */
void draw_rest(layer_case *c, const case_run *run, uint64_t seed);
/* Calls `fn` for every draw of every line, complete with parameters and gradients (`m` builds it once to know them). It
 * says what is wrong in `why`, or leaves it empty. Complaints are logged with file, line and draw; returns their
 * number. */
typedef void (*draw_fn)(void *ctx, layer_case *c, char *why, size_t why_size);
size_t for_each_draw(const char *folder, const char *family, const case_machine *m, draw_fn fn, void *ctx);
/* Draws a line: CVR_TEST_DRAWS, or 6. */
uint64_t draws_wanted(void);

#endif
