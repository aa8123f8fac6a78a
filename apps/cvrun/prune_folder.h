/*
 * Where `cvrun prune` works: RUN-pruned, and in it a folder `pruning` with what lets it go on after it was stopped:
 *   asked.txt    the run that is pruned and the words of the command, a line each
 *   stepN.txt    that step N has pruned, and its notes; written last of all
 *   stepN/       the run that step N of several leaves; the last one's is RUN-pruned itself
 */
#ifndef CVRUN_PRUNE_FOLDER_H
#define CVRUN_PRUNE_FOLDER_H

#include "compress_json.h"
#include "cvrun.h"

typedef struct prune_folder {
    char path[4096];
    int lock; /* -1: nobody has it */
} prune_folder;

/* What asked.txt has of these words. */
int32_t prune_folder_words(cvr_text *t, const char *origin, const arguments *a, cvr_error *err);
/* RUN-pruned, RUN-pruned-2, ...: the first that the same words have begun and not ended, or that is not there. Locks it
 * until prune_folder_leave. */
int32_t prune_folder_claim(prune_folder *f, const char *origin, const char *words, cvr_error *err);
/* Of a folder that is there: locks it, and reads what was asked. `words` holds the memory of `a`. */
int32_t prune_folder_open(prune_folder *f, const char *path, arguments *a, cvr_text *words, cvr_error *err);
void prune_folder_leave(prune_folder *f);
/* Takes the folder away again, where nothing was saved in it. */
void prune_folder_discard(prune_folder *f, const char *first_step);

/* The run of a step, from 0 on, of so many. */
int32_t prune_folder_step(const prune_folder *f, int64_t step, int64_t steps, char path[4096], cvr_error *err);

/* Says for good that a step has pruned: by which method, and its notes. */
int32_t prune_step_write(const prune_folder *f, int64_t step, const char *method, const compress_notes *notes,
                         cvr_error *err);
/* Whether it has; then the method and the notes, in the place of others. */
int32_t prune_step_read(const prune_folder *f, int64_t step, bool *pruned, char method[64], compress_notes *notes,
                        cvr_error *err);

#endif
