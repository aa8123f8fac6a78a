/*
 * Building a mask from stretches of pixels, in their order.
 */
#ifndef CVR_RLE_BUILD_H
#define CVR_RLE_BUILD_H

#include "rle.h"

typedef struct rle_build {
    rle *r;
    uint64_t run;  /* pixels of the run that is not finished */
    uint64_t left; /* pixels of the picture that are still to come */
    uint32_t inside, reserved;
} rle_build;

/* An error where no picture has this size. */
int32_t rle_build_start(rle_build *b, rle *r, int64_t height, int64_t width, cvr_error *err);
/* The next pixels, of which there may be none. They must not be more than are left. */
int32_t rle_build_add(rle_build *b, uint64_t pixels, uint32_t inside, cvr_error *err);
/* The rest is outside. */
int32_t rle_build_end(rle_build *b, cvr_error *err);

#endif
