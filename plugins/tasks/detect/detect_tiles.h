/* What was found in tiles of a picture, as one picture's. */
#ifndef CVR_DETECT_TILES_H
#define CVR_DETECT_TILES_H

#include "detect_found.h"

/* cvr_task_desc.merge_tiles */
int32_t detect_merge_tiles(const cvr_task_info *info, const cvr_tiles *tiles, const cvr_batch_view *out,
                           cvr_error *err);

#endif
