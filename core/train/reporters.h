/* All reporters of a run; see cvr/plugin/reporter.h. */
#ifndef CVR_REPORTERS_H
#define CVR_REPORTERS_H

#include "session.h"

typedef struct reporters {
    const cvr_reporter_desc *desc[16];
    void *self[16];
    size_t n;
} reporters;

int32_t reporters_open(reporters *r, cvr_session *s, const cvr_run_info *info, cvr_error *err);
int32_t reporters_step(reporters *r, const cvr_step_event *e, cvr_error *err);
int32_t reporters_epoch(reporters *r, const cvr_epoch_event *e, cvr_error *err);
int32_t reporters_batch(reporters *r, const cvr_batch_event *e, cvr_error *err);
int32_t reporters_flush(reporters *r, cvr_error *err);
int32_t reporters_end(reporters *r, const cvr_end_event *e, cvr_error *err);
void reporters_close(reporters *r);

#endif
