/* A sum of losses as a recipe has it: "cross_entropy + 0.5 * dice(smooth=1)". */
#ifndef CVR_SEGMENT_LOSS_TERMS_H
#define CVR_SEGMENT_LOSS_TERMS_H

#include <cvr/plugin/plugin.h>

#define LOSS_MOST_TERMS 8u

typedef struct loss_term {
    double weight;
    char layer[64];
    char settings[256];
} loss_term;

/* Term by term, WEIGHT * LAYER(SETTINGS), where the weight and the settings may be missing; `given` stands in front of
 * all settings. Every layer stands there once. */
int32_t loss_terms_read(const char *text, const char *given, loss_term terms[LOSS_MOST_TERMS], uint32_t *n,
                        cvr_error *err);

#endif
