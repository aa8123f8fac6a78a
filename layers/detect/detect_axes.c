/* Anchors depend on the size of a map alone: what channels it has does not matter (cvr/plugin/axes.h). */
#include "detect_family.h"

/* image, map: the map's channels are mentioned, and tied to nothing but themselves */
static void tie(const cvr_axes *a) {
    cvr_axes_tie(a, 1, 1, 1, 1);
}

const cvr_axes_trait detect_map_axes = {sizeof detect_map_axes, tie, NULL, 0};
