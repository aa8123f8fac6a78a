/*
 * Reading JPEG (ITU-T T.81) with libjpeg-turbo, to the pixels that PIL and torchvision see: the accurate integer DCT,
 * fancy upsampling, CMYK by Adobe's inverted convention.
 */
#include "jpeg_codec.h"
#include <jerror.h>
#include <jpeglib.h>
#include <setjmp.h>

/* Huffman-coded JPEG spends at least one bit on a block of 64 pixels: 512 pixels to the byte. */
#define MAX_PIXELS_PER_BYTE 512
/* Every scan goes over the whole picture, and a few bytes can make one. Real progressive files have ten or so: what
 * goes beyond these must be paid for by the file's size, as pixels are. */
#define FREE_SCANS 20
#define ROWS_AT_A_TIME 8
/* Columns decoded on either side of a part; more than any upsampling looks at. */
#define MARGIN 4

/* libjpeg-turbo can leave out rows and columns; other libjpegs decode whole pictures. */
#if defined(LIBJPEG_TURBO_VERSION_NUMBER) && LIBJPEG_TURBO_VERSION_NUMBER >= 2001000
#define CAN_SKIP 1
#else
#define CAN_SKIP 0
#endif

/* libjpeg leaves by longjmp: everything that has to be freed is here. `errors` and `progress` are what libjpeg's
 * callbacks get, and how they find the job. */
typedef struct jpeg_job {
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct cinfo;
    jmp_buf leave;
    const cvr_host *host;
    cvr_error *err;
    const cvr_picture_job *asked;
    cvr_part part;   /* what is decoded; upright */
    uint8_t *row;    /* one row as libjpeg gives it */
    uint8_t *stored; /* the picture before it is turned upright */
    int32_t warned;
} jpeg_job;

static void fail_and_leave(jpeg_job *job, const char *text) {
    (void)cvr_fail(job->err, CVR_ERR_FORMAT, "jpeg: %s; the file is damaged, make it anew", text);
    longjmp(job->leave, 1);
}

static void on_error(j_common_ptr cinfo) {
    char text[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, text);
    fail_and_leave(cinfo->client_data, text);
}

/* Whether this warning means that the picture's data stop before the picture does. */
static int32_t ends_early(j_common_ptr cinfo) {
    const j_decompress_ptr d = &((jpeg_job *)cinfo->client_data)->cinfo;
    return cinfo->err->msg_code == JWRN_JPEG_EOF ||
           (cinfo->err->msg_code == JWRN_HIT_MARKER && d->unread_marker == JPEG_EOI);
}

static void on_message(j_common_ptr cinfo, int level) {
    jpeg_job *const job = cinfo->client_data;
    char text[JMSG_LENGTH_MAX], line[JMSG_LENGTH_MAX + 8];
    if (level >= 0) return;
    if (ends_early(cinfo)) fail_and_leave(job, "the file ends too early");
    cinfo->err->num_warnings++;
    if (job->warned) return;
    job->warned = 1;
    cinfo->err->format_message(cinfo, text);
    (void)snprintf(line, sizeof line, "jpeg: %s", text);
    job->host->log(job->host, CVR_LOG_WARNING, line);
}

static void on_output(j_common_ptr cinfo) {
    (void)cinfo;
}

static void on_progress(j_common_ptr cinfo) {
    jpeg_job *const job = cinfo->client_data;
    const int64_t more = job->cinfo.input_scan_number - FREE_SCANS,
                  pixels = (int64_t)job->cinfo.image_width * job->cinfo.image_height;
    if (more > 0 && (uint64_t)(pixels / MAX_PIXELS_PER_BYTE) > job->asked->n / (uint64_t)more)
        fail_and_leave(job, "too many scans for its size");
}

static int32_t orientation(const jpeg_job *job) {
    for (jpeg_saved_marker_ptr m = job->cinfo.marker_list; m; m = m->next) {
        if (m->marker == JPEG_APP0 + 1 && m->data_length >= 6 && memcmp(m->data, "Exif\0\0", 6) == 0) {
            return exif_orientation(m->data, m->data_length);
        }
    }
    return 1;
}

/* raw: (n,4) u8 CMYK with 255 for no ink; rgb: (n,3) u8. R = K - (255 - C) K / 255, rounded, with K and C as stored. */
static void cmyk_to_rgb(uint8_t *rgb, const uint8_t *raw, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const uint32_t k = raw[4 * i + 3];
        for (int c = 0; c < 3; c++) {
            const uint32_t t = (255u - raw[4 * i + c]) * k + 128;
            rgb[3 * i + c] = (uint8_t)(k - (((t >> 8) + t) >> 8));
        }
    }
}

/* One row, from what libjpeg gives (1, 3 or 4 components) to what is wanted (1 or 3). CMYK becomes RGB in its place. */
static void convert_row(uint8_t *to, uint8_t *from, int64_t n, int32_t components, int64_t channels) {
    if (components == 4) cmyk_to_rgb(channels == 3 ? to : from, from, n);
    if (components == 1 && channels == 3) codec_repeat(to, from, n);
    if (components == 1 && channels == 1) memcpy(to, from, (size_t)n);
    if (components == 3 && channels == 3) memcpy(to, from, (size_t)(3 * n));
    if (components != 1 && channels == 1) codec_luma(to, from, n);
}

static void choose_colours(struct jpeg_decompress_struct *c) {
    c->dct_method = JDCT_ISLOW;
    c->do_fancy_upsampling = TRUE;
    c->out_color_space = c->jpeg_color_space == JCS_GRAYSCALE                                 ? JCS_GRAYSCALE
                         : c->jpeg_color_space == JCS_CMYK || c->jpeg_color_space == JCS_YCCK ? JCS_CMYK
                                                                                              : JCS_RGB;
}

static int32_t out_of_memory(const jpeg_job *job) {
    return cvr_fail(job->err, CVR_ERR_NOMEM, "jpeg: out of memory for a picture");
}

/* Rows [output_scanline, last) of what libjpeg makes now. pixels: (last - output_scanline, output_width, channels) u8
 */
static void read_rows(jpeg_job *job, uint8_t *pixels, int64_t last, int64_t channels) {
    struct jpeg_decompress_struct *const c = &job->cinfo;
    const int64_t width = c->output_width, first = c->output_scanline;
    while (c->output_scanline < last) {
        uint8_t *const to = pixels + (c->output_scanline - first) * width * channels;
        JSAMPROW rows[ROWS_AT_A_TIME] = {job->row};
        JDIMENSION n = 1;
        if (c->output_components == channels) {
            for (n = 0; n < ROWS_AT_A_TIME && c->output_scanline + n < last; n++) rows[n] = to + n * width * channels;
        }
        (void)jpeg_read_scanlines(c, rows, n);
        if (rows[0] != to) convert_row(to, job->row, width, c->output_components, channels);
    }
}

/* Where decoding stops before the picture does, the rest of the file is not decoded, but its end must be there. */
static void check_end(jpeg_job *job) {
    const struct jpeg_source_mgr *const src = job->cinfo.src;
    if (job->cinfo.unread_marker == JPEG_EOI) return;
    for (size_t i = src->bytes_in_buffer; i >= 2; i--) {
        if (src->next_input_byte[i - 2] == 0xff && src->next_input_byte[i - 1] == JPEG_EOI) return;
    }
    fail_and_leave(job, "the file ends too early");
}

#if CAN_SKIP
/*
 * Leaves out the columns and rows before the part, and the columns after it. The upsampling of chroma looks a sample
 * further, so that columns at the edges of what libjpeg makes are not the whole picture's: hence the margin. Returns
 * the column that the rows begin with.
 */
static int64_t skip_to_part(jpeg_job *job, int64_t top, int64_t left, int64_t columns) {
    struct jpeg_decompress_struct *const c = &job->cinfo;
    const int64_t width = c->output_width, first = left > MARGIN ? left - MARGIN : 0,
                  last = left + columns + MARGIN < width ? left + columns + MARGIN : width;
    JDIMENSION x = (JDIMENSION)first, n = (JDIMENSION)(last - first);
    if (n < c->output_width) jpeg_crop_scanline(c, &x, &n);
    if (top > 0) (void)jpeg_skip_scanlines(c, (JDIMENSION)top);
    return n < width ? x : 0;
}
#endif

/* The part in memory, as libjpeg has stored it, and what is given in the request. */
static int32_t read_part(jpeg_job *job, int64_t channels, int32_t turn) {
    struct jpeg_decompress_struct *const c = &job->cinfo;
    cvr_part *const p = &job->part;
    const int64_t top = p->top / p->reduce, rows = cvr_part_reduced(p->top, p->rows, p->reduce);
    cvr_image *const out = job->asked->out;
    (void)jpeg_start_decompress(c);
#if CAN_SKIP
    if (p->rows < p->height || p->columns < p->width) {
        const int64_t left =
            skip_to_part(job, top, p->left / p->reduce, cvr_part_reduced(p->left, p->columns, p->reduce));
        p->left = left * p->reduce;
        p->columns = c->output_width * p->reduce;
        if (p->columns > p->width - p->left) p->columns = p->width - p->left;
    }
#endif
    const int64_t width = c->output_width, stored_rows = turn == 1 ? rows : (int64_t)c->output_height;
    const uint64_t size = (uint64_t)(stored_rows * width * channels);
    uint8_t *const data = job->asked->alloc(job->asked->alloc_ctx, size);
    if (turn != 1) job->stored = job->host->alloc(job->host, size, 64);
    job->row = job->host->alloc(job->host, (uint64_t)(width * c->output_components), 64);
    if (!data || !job->row || (turn != 1 && !job->stored)) return out_of_memory(job);
    read_rows(job, turn == 1 ? data : job->stored, c->output_scanline + stored_rows, channels);
    if (c->output_scanline < c->output_height)
        check_end(job);
    else
        (void)jpeg_finish_decompress(c);
    if (turn != 1) exif_upright(data, job->stored, width, stored_rows, channels, turn);
    out->width = exif_swaps_sides(turn) ? stored_rows : width;
    out->height = exif_swaps_sides(turn) ? width : stored_rows;
    out->channels = channels;
    out->data = data;
    return CVR_OK;
}

/* Whether libjpeg can leave something out: not where a picture is to be turned, nor where it has several scans, which
 * must all be read; and libjpeg-turbo 2.1 gets columns wrong where it reduces chroma of a quarter of the width. */
static int32_t can_skip(struct jpeg_decompress_struct *c, int32_t turn, int64_t reduce) {
    return CAN_SKIP && turn == 1 && !jpeg_has_multiple_scans(c) && (reduce == 1 || c->max_h_samp_factor <= 2);
}

/* Asks which part is wanted, where someone wants to be asked. */
static int32_t choose_part(jpeg_job *job, int64_t channels, int32_t turn) {
    struct jpeg_decompress_struct *const c = &job->cinfo;
    const cvr_part_request *const r = job->asked->request;
    const int64_t height = exif_swaps_sides(turn) ? c->image_width : c->image_height,
                  width = exif_swaps_sides(turn) ? c->image_height : c->image_width;
    cvr_part *const p = &job->part;
    cvr_part_whole(p, height, width);
    if (!r) return CVR_OK;
    CVR_TRY(r->choose(r, height, width, channels, p, job->err));
    if (p->height != height || p->width != width || !cvr_part_valid(p))
        return cvr_fail(job->err, CVR_ERR_PLUGIN, "jpeg: asked for a part that the picture does not have");
    const int64_t reduce = p->reduce;
    if (!can_skip(c, turn, reduce)) cvr_part_whole(p, height, width);
    p->reduce = reduce;
    c->scale_num = 1;
    c->scale_denom = (unsigned)reduce;
    return CVR_OK;
}

static int32_t decode(jpeg_job *job) {
    struct jpeg_decompress_struct *const c = &job->cinfo;
    const cvr_picture_job *const asked = job->asked;
    CVR_TRY(codec_refuse_lossy("jpeg", asked, job->err));
    jpeg_create_decompress(c);
    c->progress = &job->progress;
    jpeg_save_markers(c, JPEG_APP0 + 1, 0xffff);
    jpeg_mem_src(c, asked->bytes, (unsigned long)asked->n);
    (void)jpeg_read_header(c, TRUE);
    const int64_t width = c->image_width, height = c->image_height;
    CVR_TRY(codec_check_size("jpeg", width, height, width * height, asked, MAX_PIXELS_PER_BYTE, job->err));
    choose_colours(c);
    const int32_t turn = orientation(job);
    const int64_t channels = asked->channels ? (int64_t)asked->channels : c->out_color_space == JCS_GRAYSCALE ? 1 : 3;
    CVR_TRY(choose_part(job, channels, turn));
    CVR_TRY(read_part(job, channels, turn));
    if (asked->request) *asked->request->given = job->part;
    return CVR_OK;
}

/* The frame that libjpeg's errors come back to; it changes no local after setjmp. */
static int32_t guarded(jpeg_job *job) {
    if (setjmp(job->leave)) return CVR_ERR_FORMAT;
    return decode(job);
}

int32_t jpeg_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err) {
    jpeg_job job;
    memset(&job, 0, sizeof job);
    job.host = host;
    job.err = err;
    job.asked = asked;
    job.progress.progress_monitor = on_progress;
    job.cinfo.err = jpeg_std_error(&job.errors);
    job.cinfo.client_data = &job;
    job.errors.error_exit = on_error;
    job.errors.emit_message = on_message;
    job.errors.output_message = on_output;
    const int32_t status = guarded(&job);
    jpeg_destroy_decompress(&job.cinfo);
    if (job.row) host->free(host, job.row);
    if (job.stored) host->free(host, job.stored);
    return status;
}
