/* "cvr.host.image/1": pictures by whichever codec knows their first bytes. */
#include "loader.h"
#include <strings.h>

typedef struct images {
    cvr_image_service table;
    const cvr_plugins *plugins;
    size_t n;
    const cvr_codec_desc *codecs[];
} images;

void cvr_plugins_limit_pixels(cvr_plugins *p, uint64_t most) {
    p->max_pixels = most;
}

static int32_t images_decode_part(const cvr_image_service *s, const cvr_picture_job *job, cvr_error *err) {
    const images *im = s->ctx;
    const cvr_host *host = cvr_plugins_host(im->plugins);
    if (job->n == 0) return cvr_fail(err, CVR_ERR_FORMAT, "the file is empty; remove it or put the picture back");
    for (size_t i = 0; i < im->n; i++) {
        const cvr_codec_desc *codec = im->codecs[i];
        int32_t knows;
        CVR_CALL_TO(knows, codec, probe, NULL, job->bytes, job->n < 64 ? job->n : 64);
        if (!knows) continue;
        cvr_picture_job bounded = *job;
        if (!bounded.max_pixels) bounded.max_pixels = im->plugins->max_pixels;
        return CVR_CALL(codec, decode, NULL, err, host, &bounded);
    }
    return cvr_fail(err, CVR_ERR_FORMAT, "not a picture that any codec knows; remove it or convert it");
}

static int32_t images_decode(const cvr_image_service *s, const uint8_t *bytes, uint64_t n, uint32_t channels,
                             cvr_alloc_fn alloc, void *alloc_ctx, cvr_image *out, cvr_error *err) {
    const cvr_picture_job job = {sizeof job, bytes, n, channels, alloc, alloc_ctx, NULL, out, 0, 0};
    return images_decode_part(s, &job, err);
}

static int32_t images_encode(const cvr_image_service *s, const char *format, const cvr_image *image, cvr_sink_fn sink,
                             void *sink_ctx, cvr_error *err) {
    const images *im = s->ctx;
    for (size_t i = 0; i < im->n; i++) {
        if (strcmp(im->codecs[i]->name, format) == 0 && im->codecs[i]->encode) {
            return CVR_CALL(im->codecs[i], encode, NULL, err, cvr_plugins_host(im->plugins), image, sink, sink_ctx);
        }
    }
    return cvr_fail(err, CVR_ERR_NOTFOUND, "no codec writes `%s` pictures; is its plugin in the manifest?", format);
}

/* Hidden files are none: macOS puts a `._x.jpg` beside x.jpg. Endings stand one after the other, ".jpg.jpeg": one of
 * them is a stretch that begins with a dot and ends before one.
 */
static int32_t images_is_picture(const cvr_image_service *s, const char *name) {
    const images *im = s->ctx;
    const char *ending = strrchr(name, '.');
    const size_t n = ending && *name != '.' ? strlen(ending) : 0;
    for (size_t i = 0; n > 1 && i < im->n; i++) {
        for (const char *at = im->codecs[i]->extensions; *at; at++) {
            if (strncasecmp(at, ending, n) == 0 && (at[n] == '.' || at[n] == '\0')) return 1;
        }
    }
    return 0;
}

int32_t cvr_plugins_image_service(cvr_plugins *p, const cvr_image_service **out, cvr_error *err) {
    *out = cvr_plugins_host(p)->get(cvr_plugins_host(p), CVR_SERVICE_IMAGE);
    if (*out) return CVR_OK;
    size_t n = 0;
    while (cvr_plugins_name(p, CVR_KIND_CODEC, n)) n++;
    images *im = p->names_failed ? NULL : cvr_calloc(1, sizeof *im + n * sizeof *im->codecs);
    if (!im) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    im->table =
        (cvr_image_service){sizeof im->table, im, images_decode, images_encode, images_decode_part, images_is_picture};
    im->plugins = p;
    if (plugins_own(p, im) != CVR_OK) {
        cvr_free(im);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        const void *desc;
        CVR_TRY(cvr_plugins_find(p, CVR_KIND_CODEC, cvr_plugins_name(p, CVR_KIND_CODEC, i), &desc, err));
        im->codecs[im->n++] = desc;
    }
    if (cvr_plugins_offer(p, CVR_SERVICE_IMAGE, &im->table) != CVR_OK)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *out = &im->table;
    return CVR_OK;
}
