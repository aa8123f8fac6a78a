/*
 * What a TIFF directory says of the picture (TIFF 6.0, section 8 and on), and whether the file is worth its memory.
 */
#include "tiff_codec.h"

/* Deflate's best is 1032 to 1; what LZMA, ZSTD and fax codes do beyond that is for blank pages, which are small. */
#define MAX_RATIO 1100
/* Blocks may share bytes of the file, but not so that reading them all would take long. */
#define MOST_READ 16

static int32_t unsupported(tiff_job *job, const char *what, unsigned value) {
    return cvr_fail(job->err, CVR_ERR_UNSUPPORTED, "tiff: %s %u is not read; save it as 8-bit RGB, or as PNG", what,
                    value);
}

static uint32_t tag16(const tiff_job *job, uint32_t tag, uint16_t missing) {
    uint16_t value = missing;
    return TIFFGetFieldDefaulted(job->tiff, tag, &value) ? value : missing;
}

static uint32_t tag32(const tiff_job *job, uint32_t tag, uint32_t missing) {
    uint32_t value = missing;
    return TIFFGetFieldDefaulted(job->tiff, tag, &value) ? value : missing;
}

/* The entries are 16 bits; the high byte counts. */
static int32_t read_palette(tiff_job *job) {
    uint16_t *colours[3];
    tiff_layout *const l = &job->layout;
    if (l->bits > 8) return unsupported(job, "a palette of bits", l->bits);
    if (!TIFFGetField(job->tiff, TIFFTAG_COLORMAP, &colours[0], &colours[1], &colours[2]))
        return tiff_damaged(job, "a palette picture without a palette");
    for (uint32_t i = 0; i < 1u << l->bits; i++)
        for (int k = 0; k < 3; k++) l->palette[i][k] = (uint8_t)(colours[k][i] >> 8);
    return CVR_OK;
}

/* Samples that a kind of colour needs at least. */
static uint32_t least_samples(tiff_colours colours) {
    return colours == TIFF_COLOURS_RGB ? 3 : colours == TIFF_COLOURS_CMYK ? 4 : 1;
}

static int32_t read_alpha(tiff_job *job) {
    uint16_t n = 0;
    uint16_t *kinds = NULL;
    tiff_layout *const l = &job->layout;
    if (!TIFFGetFieldDefaulted(job->tiff, TIFFTAG_EXTRASAMPLES, &n, &kinds) || n == 0 || !kinds) return CVR_OK;
    l->premultiplied =
        kinds[0] == EXTRASAMPLE_ASSOCALPHA && l->colours == TIFF_COLOURS_RGB && l->samples == 4 && l->bits == 8;
    return CVR_OK;
}

static int32_t read_colours(tiff_job *job) {
    tiff_layout *const l = &job->layout;
    const uint32_t photometric = tag16(job, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK),
                   compression = tag16(job, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    if (compression == COMPRESSION_JPEG) CVR_TRY(codec_refuse_lossy("tiff", job->asked, job->err));
    switch (photometric) {
    case PHOTOMETRIC_MINISWHITE: l->inverted = 1; break;
    case PHOTOMETRIC_MINISBLACK: break;
    case PHOTOMETRIC_PALETTE: l->colours = TIFF_COLOURS_PALETTE; break;
    case PHOTOMETRIC_RGB: l->colours = TIFF_COLOURS_RGB; break;
    case PHOTOMETRIC_SEPARATED: l->colours = TIFF_COLOURS_CMYK; break;
    case PHOTOMETRIC_YCBCR:
        l->colours = compression == COMPRESSION_JPEG ? TIFF_COLOURS_RGB : TIFF_COLOURS_BY_LIBTIFF;
        break;
    default: return unsupported(job, "the kind of colours", photometric);
    }
    /* libjpeg then gives RGB, upsampled. */
    if (photometric == PHOTOMETRIC_YCBCR && compression == COMPRESSION_JPEG)
        (void)TIFFSetField(job->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    return CVR_OK;
}

static int32_t read_samples(tiff_job *job) {
    tiff_layout *const l = &job->layout;
    const uint32_t format = tag16(job, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
    l->bits = tag16(job, TIFFTAG_BITSPERSAMPLE, 1);
    l->samples = tag16(job, TIFFTAG_SAMPLESPERPIXEL, 1);
    l->planes = tag16(job, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) == PLANARCONFIG_SEPARATE && l->samples > 1;
    if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID)
        return unsupported(job, "the sample format", format);
    if (l->bits != 1 && l->bits != 2 && l->bits != 4 && l->bits != 8 && l->bits != 16)
        return unsupported(job, "a sample of bits", l->bits);
    if (l->samples < least_samples(l->colours)) return tiff_damaged(job, "fewer samples than its colours need");
    if (l->samples > 5) return unsupported(job, "the number of samples", l->samples);
    if (l->colours == TIFF_COLOURS_PALETTE) CVR_TRY(read_palette(job));
    return read_alpha(job);
}

/* Strips are as wide as the picture. */
static void read_blocks(tiff_job *job) {
    tiff_layout *const l = &job->layout;
    l->tiled = TIFFIsTiled(job->tiff);
    l->block_width = l->tiled ? tag32(job, TIFFTAG_TILEWIDTH, 0) : l->width;
    l->block_height = l->tiled ? tag32(job, TIFFTAG_TILELENGTH, 0) : tag32(job, TIFFTAG_ROWSPERSTRIP, UINT32_MAX);
    if (!l->tiled && l->block_height > l->height) l->block_height = l->height;
}

/* Bytes of one block in memory, in all its planes. */
static int64_t block_bytes(const tiff_job *job) {
    const tiff_layout *const l = &job->layout;
    const uint64_t one = l->tiled ? TIFFTileSize64(job->tiff) : TIFFStripSize64(job->tiff);
    return one > INT64_MAX / 8 ? INT64_MAX / 8 : (int64_t)one * (l->planes ? l->samples : 1);
}

static int32_t check_memory(tiff_job *job) {
    const tiff_layout *const l = &job->layout;
    if (l->block_width < 1 || l->block_height < 1) return tiff_damaged(job, "strips or tiles of no size");
    if (l->block_width > 4 * CODEC_MAX_SIDE || l->block_height > 4 * CODEC_MAX_SIDE)
        return tiff_damaged(job, "tiles that are larger than any picture");
    const int64_t rgba = l->colours == TIFF_COLOURS_BY_LIBTIFF ? 4 * l->block_width * l->block_height : 0,
                  memory = l->width * l->height * 2 * job->channels + block_bytes(job) + rgba;
    return codec_check_memory("tiff", l->width, l->height, memory, job->asked, MAX_RATIO, job->err);
}

/* How much of the file is read in all. */
static int32_t check_reads(tiff_job *job) {
    const uint32_t n = job->layout.tiled ? TIFFNumberOfTiles(job->tiff) : TIFFNumberOfStrips(job->tiff);
    const uint64_t size = job->asked->n, most = size * MOST_READ;
    uint64_t sum = 0;
    if (n > size) return tiff_damaged(job, "more strips or tiles than the file could list");
    for (uint32_t i = 0; i < n && sum <= most; i++) {
        const uint64_t at = TIFFGetStrileOffset(job->tiff, i), bytes = TIFFGetStrileByteCount(job->tiff, i);
        if (at > size || bytes > size - at) return tiff_damaged(job, "the file ends too early");
        sum += bytes;
    }
    return sum > most ? tiff_damaged(job, "strips or tiles that overlap") : CVR_OK;
}

int32_t tiff_read_layout(tiff_job *job) {
    tiff_layout *const l = &job->layout;
    l->width = tag32(job, TIFFTAG_IMAGEWIDTH, 0);
    l->height = tag32(job, TIFFTAG_IMAGELENGTH, 0);
    CVR_TRY(codec_check_size("tiff", l->width, l->height, 0, job->asked, 1, job->err));
    l->orientation = (int32_t)tag16(job, TIFFTAG_ORIENTATION, 1);
    if (l->orientation < 1 || l->orientation > 8) l->orientation = 1;
    CVR_TRY(read_colours(job));
    CVR_TRY(read_samples(job));
    l->numbers =
        codec_wants_numbers(job->asked) && (l->colours == TIFF_COLOURS_GREY || l->colours == TIFF_COLOURS_PALETTE);
    job->channels = l->colours == TIFF_COLOURS_GREY || l->numbers ? 1 : 3;
    read_blocks(job);
    CVR_TRY(check_memory(job));
    return check_reads(job);
}
