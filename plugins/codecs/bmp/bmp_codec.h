/*
 * The parts of the BMP codec.
 */
#ifndef CVR_BMP_CODEC_H
#define CVR_BMP_CODEC_H

#include "../codec_deliver.h"

/* One channel of a pixel of 16 or 32 bits: its mask shifted down, and by how much. `top` 0: there is none. */
typedef struct bmp_channel {
    uint32_t shift, top;
} bmp_channel;

/* What stands before the pixels. */
typedef struct bmp_header {
    int64_t width, height;
    int32_t top_down; /* rows are stored from the top */
    int32_t grey;     /* the palette is grey, from black to white in equal steps */
    uint32_t bits;    /* a pixel: 1, 4, 8, 16, 24, 32 */
    uint32_t compression;
    uint32_t n_colours;
    uint64_t pixels;        /* where they begin in the file */
    bmp_channel channel[3]; /* red, green, blue */
    uint8_t palette[256][3];
} bmp_header;

#define BMP_RGB 0u
#define BMP_RLE8 1u
#define BMP_RLE4 2u
#define BMP_BITFIELDS 3u
#define BMP_ALPHABITFIELDS 6u

/* Checks all that the header says; the picture's size is checked by the caller. */
int32_t bmp_read_header(const uint8_t *bytes, uint64_t n, bmp_header *h, cvr_error *err);

/* Indices of a picture compressed by runs. to: (height,width) u8, rows from the top. */
int32_t bmp_read_runs(const bmp_header *h, const uint8_t *bytes, uint64_t n, uint8_t *to, cvr_error *err);

int32_t bmp_damaged(const char *what, cvr_error *err);

int32_t bmp_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err);

#endif
