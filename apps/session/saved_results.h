/*
 * val.save: what the network said of every picture of a split, for other programs, written while it is evaluated. Files
 * are made in FOLDER.new, and move into FOLDER once they are all there.
 */
#ifndef CVR_SAVED_RESULTS_H
#define CVR_SAVED_RESULTS_H

#include "run_settings.h"
#include <cvr/used_names.h>
#include <cvr/writer.h>

typedef struct saved_results {
    const cvr_task_desc *task;
    char *folder, *fresh;
    cvr_writer list;
    bool listing;
    size_t listed; /* elements of the list */
    cvr_used_names files;
    char file[256];          /* the last of them */
    const cvr_origin *about; /* the picture whose turn it is */
    int32_t status;          /* of the list */
    cvr_error why;
} saved_results;

/* Exactly one of commit and abandon ends it. */
int32_t saved_open(saved_results *r, const cvr_task_desc *task, const char *folder, cvr_error *err);
int32_t saved_batch(saved_results *r, const cvr_task_info *info, const cvr_task_batch *batch, cvr_error *err);
int32_t saved_commit(saved_results *r, cvr_error *err);
void saved_abandon(saved_results *r);

#endif
