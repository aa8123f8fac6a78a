/*
 * The plugin "reports": what a run leaves behind for people.
 */
#include "reports.h"
#include <cvr/plugin/plugin.h>

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_REPORTER, &reports_tables, err));
    CVR_TRY(r->add(r, CVR_KIND_REPORTER, &reports_curves, err));
    CVR_TRY(r->add(r, CVR_KIND_REPORTER, &reports_pictures, err));
    CVR_TRY(r->add(r, CVR_KIND_REPORTER, &reports_labels, err));
    return r->add(r, CVR_KIND_REPORTER, &reports_worst, err);
}

CVR_DEFINE_PLUGIN("reports", "0.1.0", "", load)
