/*
 * Strips and tiles into the picture.
 */
#include "tiff_codec.h"

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Bytes between the rows of a block, and between its planes. */
typedef struct pitch {
    int64_t row, plane;
} pitch;

static pitch pitch_of(const tiff_job *job) {
    const int32_t tiled = job->layout.tiled;
    return (pitch){(int64_t)(tiled ? TIFFTileRowSize64(job->tiff) : TIFFScanlineSize64(job->tiff)),
                   (int64_t)(tiled ? TIFFTileSize64(job->tiff) : TIFFStripSize64(job->tiff))};
}

/* The blocks at (x, y), one a plane; `rows` of them are wanted. */
static int32_t load_block(tiff_job *job, int64_t x, int64_t y, int64_t rows, const pitch *p) {
    const tiff_layout *const l = &job->layout;
    for (uint32_t s = 0; s < (l->planes ? l->samples : 1); s++) {
        uint8_t *const to = job->block + (int64_t)s * p->plane;
        const uint16_t plane = (uint16_t)s;
        const int64_t want = l->tiled ? p->plane : rows * p->row;
        const tmsize_t got =
            l->tiled ? TIFFReadEncodedTile(job->tiff, TIFFComputeTile(job->tiff, (uint32_t)x, (uint32_t)y, 0, plane),
                                           to, p->plane)
                     : TIFFReadEncodedStrip(job->tiff, TIFFComputeStrip(job->tiff, (uint32_t)y, plane), to, want);
        if (got < want) return tiff_damaged(job, "a strip or a tile that ends too early");
    }
    /* A stop in mid-block is an error to libtiff that some of its codecs only tell. */
    return job->failed ? CVR_ERR_FORMAT : CVR_OK;
}

static int32_t place_block(tiff_job *job, int64_t x, int64_t y, const pitch *p) {
    const tiff_layout *const l = &job->layout;
    const int64_t rows = smaller(l->block_height, l->height - y), columns = smaller(l->block_width, l->width - x);
    CVR_TRY(load_block(job, x, y, rows, p));
    for (int64_t r = 0; r < rows; r++) {
        tiff_row row = {{NULL}, l->planes ? 1 : l->samples};
        for (uint32_t s = 0; s < l->samples; s++)
            row.planes[s] = job->block + r * p->row + (l->planes ? (int64_t)s * p->plane : 0);
        CVR_TRY(tiff_convert_row(l, &row, job->pixels + ((y + r) * l->width + x) * job->channels, columns, job->err));
    }
    return CVR_OK;
}

/* libtiff's RGBA, whose rows stand from the bottom. */
static int32_t place_rgba(tiff_job *job, int64_t x, int64_t y) {
    const tiff_layout *const l = &job->layout;
    const int64_t rows = smaller(l->block_height, l->height - y), columns = smaller(l->block_width, l->width - x),
                  last = l->tiled ? l->block_height - 1 : rows - 1;
    uint32_t *const raster = (uint32_t *)(void *)job->block;
    const int done = l->tiled ? TIFFReadRGBATileExt(job->tiff, (uint32_t)x, (uint32_t)y, raster, 1)
                              : TIFFReadRGBAStripExt(job->tiff, (uint32_t)y, raster, 1);
    if (!done || job->failed) return tiff_damaged(job, "a strip or a tile that cannot be decoded");
    for (int64_t r = 0; r < rows; r++) {
        uint8_t *to = job->pixels + ((y + r) * l->width + x) * 3;
        for (int64_t i = 0; i < columns; i++, to += 3) {
            const uint32_t v = raster[(last - r) * l->block_width + i];
            to[0] = TIFFGetR(v);
            to[1] = TIFFGetG(v);
            to[2] = TIFFGetB(v);
        }
    }
    return CVR_OK;
}

int32_t tiff_read_blocks(tiff_job *job) {
    const tiff_layout *const l = &job->layout;
    const pitch p = pitch_of(job);
    const int32_t rgba = l->colours == TIFF_COLOURS_BY_LIBTIFF;
    const int64_t size = rgba ? 4 * l->block_width * l->block_height : p.plane * (l->planes ? l->samples : 1);
    if (!rgba && (p.row < 1 || p.plane < 1)) return tiff_damaged(job, "rows of no size");
    if (!rgba && p.row * 8 < l->block_width * l->bits * (l->planes ? 1 : l->samples))
        return tiff_damaged(job, "rows that are shorter than the picture is wide");
    job->pixels = job->host->alloc(job->host, (uint64_t)(l->width * l->height * job->channels), 64);
    job->block = job->host->alloc(job->host, (uint64_t)size, 64);
    if (!job->pixels || !job->block) return cvr_fail(job->err, CVR_ERR_NOMEM, "tiff: out of memory for a picture");
    memset(job->block, 0, (size_t)size);
    for (int64_t y = 0; y < l->height; y += l->block_height) {
        for (int64_t x = 0; x < l->width; x += l->block_width)
            CVR_TRY(rgba ? place_rgba(job, x, y) : place_block(job, x, y, &p));
    }
    return CVR_OK;
}
