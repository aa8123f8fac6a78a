/* A network before or after it was made smaller, or taught: what is measured of it, as a row of the table and as JSON.
 */
#ifndef CVRUN_MEASURED_SIDE_H
#define CVRUN_MEASURED_SIDE_H

#include <cvr/session.h>

#define MEASURED_MANY 32 /* pictures of the larger batch */

typedef struct measured_side {
    cvr_metrics metrics;
    cvr_session_cost one, many;
    int64_t params;
    uint64_t file_bytes;
    char metric[64]; /* the name of the one by which runs are compared */
} measured_side;

/* Evaluates the session's network, and times it; `folder`: the run whose weights it has. */
int32_t measure_side(cvr_session *s, const char *folder, measured_side *to, cvr_error *err);
/* The same of the run `origin` that `run` was made of, on the data and with the settings of `run`, so that the two can
 * be compared: by its config.ini, whose model.weights are those of `origin`. */
int32_t measure_origin(const char *run, const char *origin, measured_side *to, cvr_error *err);
void measured_side_clear(measured_side *m);
/* Adds `"NAME": {...}` to compress.json. */
void measured_side_json(cvr_text *t, const char *name, const measured_side *s);
/* Prints metrics, MACs, weights, memory and times side by side. */
void measured_sides_print(const measured_side *before, const measured_side *after);
/* Makes RUN_DIR-SUFFIX beside the run, with its folder `weights`. */
int32_t run_folder_beside(const char *run, const char *suffix, char *folder, size_t size, cvr_error *err);

#endif
