/*
 * Reading JPEG (ITU-T T.81) with libjpeg-turbo, to the pixels that PIL and torchvision see: the accurate integer DCT,
 * fancy upsampling, CMYK by Adobe's inverted convention.
 */
#include "jpeg_codec.h"
#include <jerror.h>
#include <jpeglib.h>
#include <setjmp.h>

/* Huffman-coded JPEG spends at least one bit on a block of 64 pixels: 512 pixels to the byte. */
#define MAX_PIXELS_PER_BYTE 1100
/* Real progressive files have ten or so; thousands of them in a small file are an attack on the reader's time. */
#define MAX_SCANS 500

/* libjpeg leaves by longjmp: everything that has to be freed is here. `errors` and `progress` are what libjpeg's
 * callbacks get, and how they find the job. */
typedef struct jpeg_job {
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct cinfo;
    jmp_buf leave;
    const cvr_host *host;
    cvr_error *err;
    uint32_t channels;
    cvr_alloc_fn alloc;
    void *alloc_ctx;
    cvr_image *out;
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
    if (job->cinfo.input_scan_number > MAX_SCANS) fail_and_leave(job, "too many scans");
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

/* pixels: (H,W,channels) u8 */
static int32_t read_rows(jpeg_job *job, uint8_t *pixels, int64_t channels) {
    struct jpeg_decompress_struct *const c = &job->cinfo;
    const int64_t width = c->output_width;
    job->row = job->host->alloc(job->host, (uint64_t)(width * c->output_components), 64);
    if (!job->row) return out_of_memory(job);
    while (c->output_scanline < c->output_height) {
        uint8_t *const to = pixels + (int64_t)c->output_scanline * width * channels;
        JSAMPROW rows[1] = {c->output_components == channels ? to : job->row};
        (void)jpeg_read_scanlines(c, rows, 1);
        if (rows[0] != to) convert_row(to, job->row, width, c->output_components, channels);
    }
    (void)jpeg_finish_decompress(c);
    return CVR_OK;
}

static int32_t decode(jpeg_job *job, const uint8_t *bytes, uint64_t n) {
    struct jpeg_decompress_struct *const c = &job->cinfo;
    jpeg_create_decompress(c);
    c->progress = &job->progress;
    jpeg_save_markers(c, JPEG_APP0 + 1, 0xffff);
    jpeg_mem_src(c, bytes, (unsigned long)n);
    (void)jpeg_read_header(c, TRUE);
    const int64_t width = c->image_width, height = c->image_height;
    int32_t status = codec_check_size("jpeg", width, height, width * height, n, MAX_PIXELS_PER_BYTE, job->err);
    if (status != CVR_OK) return status;
    choose_colours(c);
    const int32_t turn = orientation(job);
    const int64_t channels = job->channels ? (int64_t)job->channels : c->out_color_space == JCS_GRAYSCALE ? 1 : 3;
    (void)jpeg_start_decompress(c);
    const uint64_t size = (uint64_t)(width * height * channels);
    uint8_t *const data = job->alloc(job->alloc_ctx, size);
    if (turn != 1) job->stored = job->host->alloc(job->host, size, 64);
    if (!data || (turn != 1 && !job->stored)) return out_of_memory(job);
    status = read_rows(job, turn == 1 ? data : job->stored, channels);
    if (status != CVR_OK) return status;
    if (turn != 1) exif_upright(data, job->stored, width, height, channels, turn);
    job->out->width = exif_swaps_sides(turn) ? height : width;
    job->out->height = exif_swaps_sides(turn) ? width : height;
    job->out->channels = channels;
    job->out->data = data;
    return CVR_OK;
}

/* The frame that libjpeg's errors come back to; it changes no local after setjmp. */
static int32_t guarded(jpeg_job *job, const uint8_t *bytes, uint64_t n) {
    if (setjmp(job->leave)) return CVR_ERR_FORMAT;
    return decode(job, bytes, n);
}

int32_t jpeg_codec_decode(const cvr_host *host, const uint8_t *bytes, uint64_t n, uint32_t channels, cvr_alloc_fn alloc,
                          void *alloc_ctx, cvr_image *out, cvr_error *err) {
    jpeg_job job;
    memset(&job, 0, sizeof job);
    job.host = host;
    job.err = err;
    job.channels = channels;
    job.alloc = alloc;
    job.alloc_ctx = alloc_ctx;
    job.out = out;
    job.progress.progress_monitor = on_progress;
    job.cinfo.err = jpeg_std_error(&job.errors);
    job.cinfo.client_data = &job;
    job.errors.error_exit = on_error;
    job.errors.emit_message = on_message;
    job.errors.output_message = on_output;
    const int32_t status = guarded(&job, bytes, n);
    jpeg_destroy_decompress(&job.cinfo);
    if (job.row) host->free(host, job.row);
    if (job.stored) host->free(host, job.stored);
    return status;
}
