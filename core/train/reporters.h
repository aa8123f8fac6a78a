/* All reporters of a run; see cvr/plugin/reporter.h. */
#ifndef CVR_REPORTERS_H
#define CVR_REPORTERS_H

#include <cvr/plugins.h>

typedef struct open_reporter {
    const cvr_reporter_desc *desc;
    void *self;
} open_reporter;

typedef struct reporters {
    open_reporter *all;
    size_t n, capacity;
} reporters;

int32_t reporters_open(reporters *r, cvr_plugins *p, const cvr_run_info *info, cvr_error *err);
int32_t reporters_step(const reporters *r, const cvr_step_event *e, cvr_error *err);
int32_t reporters_epoch(const reporters *r, const cvr_epoch_event *e, cvr_error *err);
int32_t reporters_batch(const reporters *r, const cvr_batch_event *e, cvr_error *err);
int32_t reporters_flush(const reporters *r, cvr_error *err);
int32_t reporters_end(const reporters *r, const cvr_end_event *e, cvr_error *err);
void reporters_close(reporters *r);

#endif
