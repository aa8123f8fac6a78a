/*
 * A run in progress is told what to do by files in its folder: `control.ask` has the orders, `control.said` what came
 * of them. A run looks between its steps. Who reads a file removes it, and a run that begins removes what is left of
 * the one before.
 */
#ifndef CVR_CONTROL_H
#define CVR_CONTROL_H

#include <cvr/base.h>

#pragma GCC visibility push(default)

#define CVR_CONTROL_MOST 16 /* orders at a time */

/* An order is "backend=NAME" or "backend=NAME/DEVICE", "lr=NUMBER", "checkpoint" or "stop"; CVR_ERR_USAGE says what
 * else is wrong with it. */
int32_t cvr_control_check(const char *order, cvr_error *err);
/* Leaves orders for the run that trains in `folder`, all at once; *id is for asking what came of them. CVR_ERR_USAGE
 * where those of somebody else are still waiting. */
int32_t cvr_control_ask(const char *folder, const char *const *orders, size_t n, uint64_t *id, cvr_error *err);
/* What came of them: a line an order in `said`, each with "+ " or "- " in front, which is that it was not obeyed. Adds
 * nothing while there is no answer. */
int32_t cvr_control_answer(const char *folder, uint64_t id, cvr_text *said, cvr_error *err);
/* Takes orders back that nobody has seen. */
void cvr_control_withdraw(const char *folder);

#pragma GCC visibility pop
#endif
