/* What `cvrun conform` found, as tables and as JSON. */
#ifndef CVRUN_CONFORM_TABLES_H
#define CVRUN_CONFORM_TABLES_H

#include "conform.h"

/* Of a plugin. */
void conform_print_rows(const conform_board *b, const conform_options *o);
/* Of a backend: what is wrong, and how many ops run where; `verbose`: all ops and kernels. */
void conform_print_ops(const conform_board *b, const conform_options *o, bool verbose);
/* What is wrong, line by line, and the last line. */
void conform_print_findings(const conform_board *b);
void conform_print_json(const conform_board *b, const conform_options *o);

#endif
