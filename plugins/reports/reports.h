/* The reporters of this plugin. */
#ifndef CVR_REPORTS_REPORTS_H
#define CVR_REPORTS_REPORTS_H

#include <cvr/plugin/reporter.h>

extern const cvr_reporter_desc reports_tables;
extern const cvr_reporter_desc reports_curves;
extern const cvr_reporter_desc reports_pictures;
extern const cvr_reporter_desc reports_worst;
extern const cvr_reporter_desc reports_labels;

#endif
