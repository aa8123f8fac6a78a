/* Lists of transforms by name: augment_presets.c. */
#ifndef CVR_AUGMENT_PRESETS_H
#define CVR_AUGMENT_PRESETS_H

#include <cvr/config.h>

/* The key of [augment] that stands for a list. */
#define AUGMENT_PRESET "preset"

/* One transform of the list: its name and its settings. */
typedef int32_t (*augment_preset_fn)(void *ctx, const char *transform, const char *text, cvr_error *err);
/* Tells the transforms of the list of this name, in order; CVR_ERR_USAGE names those that there are. */
int32_t augment_preset_each(const char *name, augment_preset_fn each, void *ctx, cvr_error *err);

#endif
