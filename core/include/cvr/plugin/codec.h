/*
 * "cvr.codec/1": a picture format, from bytes to pixels and back. The format is told by its first bytes, never by a
 * file's name.
 */
#ifndef CVR_PLUGIN_CODEC_H
#define CVR_PLUGIN_CODEC_H

#include "host.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_codec_desc {
    uint64_t struct_size;
    const char *name; /* "png" */
    const char *doc;
    const char *extensions; /* endings of its files' names, in lower case: ".jpg.jpeg" */
    /* 1 where these are the first bytes of this format. Up to 64 of them are given. */
    int32_t (*probe)(const uint8_t *bytes, uint64_t n);
    /* As cvr_image_service.decode_part; job->request may be left alone, and then the whole picture is given. `host` is
     * there for warnings and scratch memory. No size that the file declares is trusted. */
    int32_t (*decode)(const cvr_host *host, const cvr_picture_job *job, cvr_error *err);
    /* NULL: this codec only reads. 1 or 3 channels. The same pixels always give the same bytes. */
    int32_t (*encode)(const cvr_host *host, const cvr_image *image, cvr_sink_fn sink, void *sink_ctx, cvr_error *err);
} cvr_codec_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_codec_desc) == 56, "cvr_codec_desc has padding");

#endif
