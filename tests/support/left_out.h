/* Instruction sets that a test leaves out where the machine lacks them: never in silence. */
#ifndef CVR_TEST_LEFT_OUT_H
#define CVR_TEST_LEFT_OUT_H

#include <stdbool.h>

/*
 * Whether this machine cannot run the kernel pack. If so it says so on stderr and, for the last lines of tests/run.sh,
 * in the file that the environment's CVR_TEST_LEFT_OUT names.
 */
bool left_out(const char *pack);
/* The same of anything else: `what` was left out, since the machine lacks `missing`. */
void leave_out(const char *what, const char *missing);

#endif
