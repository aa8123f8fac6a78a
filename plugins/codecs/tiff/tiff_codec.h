/*
 * The parts of the TIFF codec.
 */
#ifndef CVR_TIFF_CODEC_H
#define CVR_TIFF_CODEC_H

#include "../codec_deliver.h"
#include <tiffio.h>

/* What the samples of a pixel mean. */
typedef enum tiff_colours {
    TIFF_COLOURS_GREY,
    TIFF_COLOURS_PALETTE,
    TIFF_COLOURS_RGB,
    TIFF_COLOURS_CMYK,
    TIFF_COLOURS_BY_LIBTIFF /* luma and chroma: libtiff makes RGBA of them */
} tiff_colours;

/* A picture's first directory. A block is a strip or a tile. */
typedef struct tiff_layout {
    tiff_colours colours;
    int64_t width, height;
    int64_t block_width, block_height; /* of a strip: the picture's width, the rows of a strip */
    uint32_t bits, samples;            /* of a sample; of a pixel */
    int32_t tiled, planes;             /* planes: every sample has blocks of its own */
    int32_t inverted;                  /* grey: 0 is white */
    int32_t numbers;                   /* grey and palettes: the samples as they are, not as they look */
    int32_t premultiplied;             /* colours were multiplied by their alpha, the last sample */
    int32_t orientation;
    uint8_t palette[256][3];
} tiff_layout;

typedef struct tiff_job {
    const cvr_host *host;
    cvr_error *err;
    const cvr_picture_job *asked;
    TIFF *tiff;
    tiff_layout layout;
    uint64_t at; /* where libtiff reads */
    int32_t warned, failed;
    uint8_t *block;  /* one block, or as many as there are planes */
    uint8_t *pixels; /* (height,width,channels) u8 */
    int64_t channels;
} tiff_job;

/* Opens the bytes; libtiff's errors and warnings go to the job. */
int32_t tiff_open(tiff_job *job);
/* What the directory says, checked. */
int32_t tiff_read_layout(tiff_job *job);
/* All blocks into job->pixels. */
int32_t tiff_read_blocks(tiff_job *job);

/* Row `y` of a block as RGB or grey. planes[s] points at the row's first sample s, which is `step` samples long. */
typedef struct tiff_row {
    const uint8_t *planes[5];
    uint32_t step;
} tiff_row;
int32_t tiff_convert_row(const tiff_layout *l, const tiff_row *row, uint8_t *to, int64_t n, cvr_error *err);

/* The error that libtiff has told, or else this one. */
int32_t tiff_damaged(tiff_job *job, const char *what);

int32_t tiff_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err);

#endif
