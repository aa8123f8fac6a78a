/*
 * The confusion matrix of the validation as a table and as a picture. `counts` is n by n, rows the truth, columns the
 * prediction: classes->n, and one more where `extra` is the name of what is of no class.
 */
#ifndef CVR_REPORTS_CONFUSION_H
#define CVR_REPORTS_CONFUSION_H

#include "report_file.h"

typedef struct confusion {
    const cvr_host *host;
    const char *folder;
    const report_classes *classes;
    const uint64_t *counts;
    int64_t epoch;
    const char *extra; /* "background": a last column for what was missed, a last row for what is not there; NULL */
} confusion;

/* confusion_matrix.csv: the header has the predictions' names, the first column the truth's. */
int32_t confusion_write_csv(const confusion *m, cvr_error *err);
/* confusion_matrix.png: each row is shaded by its shares. */
int32_t confusion_write_png(const confusion *m, cvr_error *err);

#endif
