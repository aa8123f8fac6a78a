/*
 * per_class.png: the metrics of each class as bars, a column of bars a metric. `values` has n_columns numbers for each
 * of classes->n classes; NaN: the class has none.
 */
#ifndef CVR_REPORTS_CLASS_BARS_H
#define CVR_REPORTS_CLASS_BARS_H

#include "report_file.h"

typedef struct class_bars {
    const cvr_host *host;
    const char *folder;
    const report_classes *classes;
    int64_t epoch;
    uint32_t n_columns;
    char *const *columns;
    const double *values;
} class_bars;

int32_t class_bars_write(const class_bars *b, cvr_error *err);

#endif
