/* What cvrun check says of good data: sizes, the balance of classes, and pictures that are there twice. */
#ifndef CVRUN_CHECK_REPORT_H
#define CVRUN_CHECK_REPORT_H

#include "cvrun.h"

/* How many samples of a split a run looks at, and the index of the i-th: data.limit takes some, evenly spread. */
int64_t check_samples(const cvr_batches_options *o);
int64_t check_sample(const cvr_batches_options *o, int64_t i);

/* Prints it for the session's splits. */
int32_t check_report(cvr_session *s, cvr_error *err);

#endif
