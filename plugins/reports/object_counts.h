/* What the objects of a data set are like, in counts that can be drawn. */
#ifndef CVR_REPORTS_OBJECT_COUNTS_H
#define CVR_REPORTS_OBJECT_COUNTS_H

#include "report_file.h"
#include <cvr/plugin/reporter.h>

#define OBJECT_PICTURES 5000 /* of a larger data set, so many evenly spread pictures are looked at */
#define OBJECT_SIDES 32      /* bins of sides: four to an octave, from 1/256 of the picture's to all of it */
#define OBJECT_RATIOS 24     /* of width / height: four to an octave, from 1/8 to 8 */
#define OBJECT_CELLS 24      /* of the picture's height and of its width */
#define OBJECT_ROWS 21       /* of objects in a picture: 0, 1, ... times `step` each */

typedef struct object_counts {
    int64_t n_classes;
    int64_t *of_class;                /* n_classes */
    int64_t pictures, samples;        /* looked at; that there are */
    int64_t objects, crowds, unknown; /* those that count; crowds; of a class that the network does not have */
    int64_t empty, most;              /* pictures without objects; objects of the picture that has most */
    int64_t no_size;                  /* objects whose picture's size is not known, or without extent */
    int64_t side[OBJECT_SIDES], ratio[OBJECT_RATIOS], centre[OBJECT_CELLS * OBJECT_CELLS];
    int64_t *of_picture; /* objects of each picture that was looked at */
} object_counts;

/* CVR_ERR_NOTFOUND where the data does not tell of objects. */
int32_t object_counts_open(object_counts *t, const cvr_run_info *info, cvr_error *err);
void object_counts_close(object_counts *t, const cvr_host *host);
/* How many pictures have 0 to step - 1, step to 2 * step - 1, ... objects. */
int64_t object_counts_rows(const object_counts *t, int64_t rows[OBJECT_ROWS]);

#endif
