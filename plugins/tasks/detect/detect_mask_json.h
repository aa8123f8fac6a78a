/* A mask as COCO writes it in JSON: {"size": [height, width], "counts": "..."}. */
#ifndef CVR_DETECT_MASK_JSON_H
#define CVR_DETECT_MASK_JSON_H

#include "../../rle/rle.h"
#include "detect_text.h"

void mask_json(detect_text *to, rle_view mask, int64_t height, int64_t width);

#endif
