/*
 * For programs: a plugin that ends the process, or does not return, is named.
 */
#ifndef CVR_GUARD_H
#define CVR_GUARD_H

#include <cvr/plugins.h>

#pragma GCC visibility push(default)

/*
 * From here on a fault (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) or an exit() within a call into a plugin writes one
 * line to standard error, "PROGRAM: error: plugin ...: callback ... at NODE: what happened". Then what would have
 * happened does; only that an exit within a callback is never a success. `program` outlives the process.
 */
void cvr_guard_open(const char *program);
/*
 * A callback that has not returned after CVR_WATCHDOG_S seconds (60; 0: never) is named once, and left running. This
 * starts a thread: a program that forks does without it, since the thread may hold a lock that the child then waits
 * for.
 */
void cvr_guard_watch(void);
/* The program ends by itself from here on. */
void cvr_guard_close(void);

#pragma GCC visibility pop

#endif
