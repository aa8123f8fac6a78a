/* What `cvrun train` shows on the terminal. */
#ifndef CVRUN_SCREEN_H
#define CVRUN_SCREEN_H

#include <cvr/session.h>

/* Shows a run of this session, one at a time. */
const cvr_reporter_desc *screen_reporter(cvr_session *s);
void screen_validating(void *ctx, int64_t done, int64_t total);
/* Before anything else is printed. */
void screen_clear(void);

/* What stands in a table for a metric that is NaN: "-", or "nan". */
const char *screen_no_number(const char *metric);

#endif
