/* Settings that nobody gave, from whoever knows what suits: the model (proposals.c), the data (guess_data.c). */
#ifndef CVR_PROPOSALS_H
#define CVR_PROPOSALS_H

#include "run_settings.h"

/* What somebody tells by a cvr_propose_fn; start with {0}. */
typedef struct proposal {
    char *section, *key, *value;
} proposal;
typedef struct proposals {
    proposal *all;
    size_t n, capacity;
    char *remarks; /* lines for who trains, or NULL */
} proposals;
/* The cvr_propose_fn; `ctx` is the proposals. A key that is empty makes a remark. */
int32_t proposals_add(void *ctx, const char *key, const char *value, cvr_error *err);
/* The value of a setting, or NULL. */
const char *proposals_find(const proposals *p, const char *section, const char *key);
void proposals_clear(proposals *p);

/* The model whose networks are files with the ending of `path`; NULL: none. Plugins that cannot be loaded are named
 * elsewhere. */
const cvr_model_desc *model_of_file(cvr_plugins *p, const char *path);

/* A model.name that is a file of a network becomes the name of the model that reads it, and the file one of its keys.
 * What the command line names a model, without a recipe, is also the run's name. */
int32_t propose_model_file(settings *s, cvr_plugins *plugins, cvr_error *err);
/* Once the model is known, before the sections that it may speak of are bound. */
int32_t propose_by_model(settings *s, cvr_error *err);
/* Once the task is known: where data.root is given and data.format is not, every data set that can is asked. An error
 * only for who `reads` the data. */
int32_t propose_by_data(settings *s, cvr_plugins *plugins, bool reads, cvr_error *err);

#endif
