/* What cvrun check says of good data: sizes, the balance of classes, and pictures that are there twice. */
#ifndef CVRUN_CHECK_REPORT_H
#define CVRUN_CHECK_REPORT_H

#include "cvrun.h"

/* Prints it for the session's splits. */
int32_t check_report(cvr_session *s, cvr_error *err);

#endif
