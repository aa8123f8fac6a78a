/* The run folder: a name of its own, a lock while it trains, and what a person needs to repeat the run. */
#ifndef CVRUN_RUN_FOLDER_H
#define CVRUN_RUN_FOLDER_H

#include <cvr/session.h>

/* Makes the first of PARENT/NAME, PARENT/NAME-2, PARENT/NAME-3, ... that is not there. */
int32_t run_folder_first_free(const char *parent, const char *name, char *path, size_t size, cvr_error *err);
/* The recipe's file name without its ending, or the run folder's own name. */
void run_folder_name_of(cvr_session *s, const char *path, char *name, size_t size);
/* A new one, PROJECT/TASK/NAME or with such a number. */
int32_t run_folder_make(cvr_session *s, char *path, size_t size, cvr_error *err);
/* Locks it until *fd is closed. */
int32_t run_folder_lock(const char *folder, int *fd, cvr_error *err);
/* Whether somebody else has it locked. */
int32_t run_folder_busy(const char *folder, bool *busy, cvr_error *err);
/* Removes the folder of a run that failed, where it holds what a run begins with and nothing was saved. */
void run_folder_discard(const char *folder);
/* Whether it has a checkpoint. */
bool run_folder_can_go_on(const char *folder);
/* Writes config.ini, classes.txt and env.txt when the run starts, and waits for the disk before its first checkpoint.
 * One run at a time. */
const cvr_reporter_desc *run_folder_reporter(cvr_session *s);

/* Writes config.ini, with other values for up to MOST_INSTEAD settings, classes.txt and env.txt; and a copy of the file
 * that the network is built from, whose name `network` gets: "" where there is none. */
#define MOST_INSTEAD 32
int32_t run_folder_begin(cvr_session *s, const char *folder, const cvr_setting *instead, size_t n, char network[64],
                         cvr_error *err);
/* Waits until these files are on the disk. */
int32_t run_folder_sync(const char *folder, const char *network, cvr_error *err);

#endif
