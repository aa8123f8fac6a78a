/* Published weights by name: presets.c. */
#ifndef CVR_PRESETS_H
#define CVR_PRESETS_H

#include <cvr/config.h>

/*
 * Where model.weights is a name, such as IMAGENET1K_V1, and no file: looks it up in the table of published weights
 * (weights.ini) for model.name, finds its file on this machine, and puts that in its place. How its pictures are made
 * (size, mean, std) is then the default, for whatever the recipe does not say. `classes`: path of the names of its
 * classes, or NULL; free with cvr_free.
 */
int32_t preset_apply(cvr_config *c, char **classes, cvr_error *err);

#pragma GCC visibility push(default)
/* share/cvrun/NAME beside the lib folder that this code lies in; NULL: out of memory. Free with cvr_free. */
char *preset_data_file(const char *name);
#pragma GCC visibility pop

#endif
