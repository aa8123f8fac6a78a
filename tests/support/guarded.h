/*
 * Random cases run between guard pages (guard_backend.c): reads and writes out of bounds, writes to inputs, and results
 * that come from memory nobody wrote. The results must agree with the reference.
 */
#ifndef CVR_TEST_GUARDED_H
#define CVR_TEST_GUARDED_H

#include "agree.h"

/* The backend is guard_reference or guard_cpu, whose manifest CVR_PLUGIN_PATH must have. Returns how many draws there
 * was something to complain about; what is out of bounds ends the process with a line that names the case. */
size_t guarded_all(const agree_what *what);

#endif
