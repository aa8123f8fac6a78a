/*
 * What the picture codecs share: the limits on a picture's size and the conversion between grey and RGB.
 */
#ifndef CVR_CODEC_PIXELS_H
#define CVR_CODEC_PIXELS_H

#include <cvr/plugin/plugin.h>

/* The most that a JPEG may have along a side (libjpeg's limit); PNG is held to the same. */
#define CODEC_MAX_SIDE 65500

/* ITU-R 601-2 luma in 16-bit fixed point, rounded: (19595 R + 38470 G + 7471 B + 2^15) / 2^16, as PIL's convert("L").
 * rgb: (n,3) u8, grey: (n) u8 */
void codec_luma(uint8_t *grey, const uint8_t *rgb, int64_t n);
/* grey: (n) u8, rgb: (n,3) u8 */
void codec_repeat(uint8_t *rgb, const uint8_t *grey, int64_t n);

/* Whether the job wants the numbers that pixels are stored as, in one channel (cvr_picture_job.exact). */
static inline int32_t codec_wants_numbers(const cvr_picture_job *job) {
    return job->exact && job->channels != 3;
}
/* An error where a job that wants pixels exactly meets one that was stored otherwise. */
int32_t codec_refuse_lossy(const char *codec, const cvr_picture_job *job, cvr_error *err);
/* An error about a number of 16 bits that does not fit into 8. */
int32_t codec_refuse_number(const char *codec, uint32_t number, cvr_error *err);

/* Of a picture that is read by `job`, or NULL: is written. Both sides in [1, CODEC_MAX_SIDE], no more than
 * job->max_pixels, and no more raw bytes than the file's could hold at `ratio` to one. */
int32_t codec_check_size(const char *codec, int64_t width, int64_t height, int64_t raw, const cvr_picture_job *job,
                         int64_t ratio, cvr_error *err);

/* Memory that no file has to be worth: a blank page is small in every format that compresses. */
#define CODEC_FREE_BYTES (64 << 20)
/* The same for `memory`, the bytes that decoding the picture takes, where that is more than CODEC_FREE_BYTES. */
int32_t codec_check_memory(const char *codec, int64_t width, int64_t height, int64_t memory, const cvr_picture_job *job,
                           int64_t ratio, cvr_error *err);

#endif
