/* Curves of a validation: copies that outlive the event, and a picture for all curves of a name. */
#ifndef CVR_REPORTS_CURVE_SET_H
#define CVR_REPORTS_CURVE_SET_H

#include "report_file.h"
#include <cvr/plugin/reporter.h>

typedef struct kept_curve {
    char name[48], x_name[48], y_name[48];
    int64_t klass; /* -1: the mean */
    int64_t n;
    double *x, *y; /* one block: x, then y */
    double value;
} kept_curve;

typedef struct curve_set {
    const cvr_host *host;
    kept_curve *each;
    int64_t n;
    int64_t epoch;
} curve_set;

/* The event's curves take the place of those that were there; an event without any changes nothing. */
int32_t curve_set_take(curve_set *t, const cvr_epoch_event *e, cvr_error *err);
void curve_set_close(curve_set *t);
/* NAME_curve.png for each name: the classes' curves thin, the mean thick, values in a legend. */
int32_t curve_set_draw(const curve_set *t, const char *folder, const report_classes *classes, cvr_error *err);

#endif
