/* Every draw of every line of tests/layers/cases (draw.h says how a line is written). */
#ifndef CVR_TEST_EACH_DRAW_H
#define CVR_TEST_EACH_DRAW_H

#include "draw.h"

/* All lines of all files of a family, which is what their names begin with ("": every file); the process ends where a
 * file cannot be read or a line is too long. Free with free. */
case_line *case_lines(const char *folder, const char *family, size_t *n_files, size_t *n);
/* Calls `fn` for every draw of every line, complete with parameters and gradients (`m` builds it once to know them). It
 * says what is wrong in `why`, or leaves it empty. Complaints are logged with file, line and draw; returns their
 * number. */
typedef void (*draw_fn)(void *ctx, layer_case *c, char *why, size_t why_size);
size_t for_each_draw(const char *folder, const char *family, const case_machine *m, draw_fn fn, void *ctx);
/* Draws a line: CVR_TEST_DRAWS, or 6. */
uint64_t draws_wanted(void);

#endif
