/*
 * A host small enough to see through: it loads one plugin's .so by itself, keeps what the plugin registers, counts
 * memory and log lines. Plugins of codecs, data sets, weights and transforms are tested on it, without the core.
 */
#ifndef CVR_TEST_STUB_HOST_H
#define CVR_TEST_STUB_HOST_H

#include <cvr/plugin/plugin.h>

#define STUB_MOST 64u

typedef struct stub_host {
    cvr_host host;
    cvr_image_service image;
    struct {
        const char *kind;
        const void *desc; /* the plugin's own; it is never unloaded */
    } entries[STUB_MOST];
    uint32_t n_entries;
    int32_t offer_images; /* whether host->get gives the image service */
    int64_t live;         /* blocks that are allocated now */
    uint64_t most;        /* bytes of the largest block that was ever asked for */
    uint32_t n_logs;
    char last_log[512];
} stub_host;

void stub_host_init(stub_host *h);
/* Loads CVR_PLUGIN_DIR/NAME.so; any failure ends the test. */
void stub_host_load(stub_host *h, const char *name);
/* Takes what a plugin that is linked to the test registers. */
void stub_host_take(stub_host *h, const cvr_plugin *p);
/* What a plugin registered under this kind and name; its absence ends the test. */
const void *stub_host_find(const stub_host *h, const char *kind, const char *name);

/* A sample with an arena of its own. */
typedef struct stub_sample {
    cvr_sample sample;
    cvr_origin origin;
    cvr_field fields[8];
    cvr_field *pointers[8];
    void **blocks;
    uint64_t n_blocks, room;
} stub_sample;

void stub_sample_init(stub_sample *s);
void stub_sample_free(stub_sample *s);
/* Adds a field that is named after its kind, with a copy of this data. */
cvr_field *stub_sample_add(stub_sample *s, const char *kind, uint32_t dtype, uint32_t rank, const int64_t *shape,
                           const void *data);
/* Adds "image" with a copy of these pixels. */
void stub_sample_image(stub_sample *s, uint32_t dtype, int64_t h, int64_t w, int64_t c, const void *pixels);

/* Bytes that grow, as the target of a sink. */
typedef struct stub_bytes {
    uint8_t *bytes;
    uint64_t n;
} stub_bytes;
int32_t stub_bytes_sink(void *ctx, const void *bytes, uint64_t n, cvr_error *err);
void stub_bytes_free(stub_bytes *b);
/* A cvr_alloc_fn: malloc into the void * at `ctx`, freeing what is there. */
void *stub_alloc_one(void *ctx, uint64_t bytes);

/* Tensors of a golden file, read by the safetensors plugin. `data` points into `file`. */
typedef struct stub_tensors {
    uint8_t *file;
    uint64_t n_file;
    cvr_weight *w;
    uint64_t n;
} stub_tensors;
void stub_tensors_read(stub_tensors *t, stub_host *h, const char *path);
/* By name "CASE/FIELD"; NULL where it is not there. */
const cvr_weight *stub_tensors_get(const stub_tensors *t, const char *name, const char *field);
void stub_tensors_free(stub_tensors *t);

/* A whole file, for the caller to free(). Its absence ends the test. */
uint8_t *stub_read_file(const char *path, uint64_t *n);
void stub_write_file(const char *path, const void *bytes, uint64_t n);

#endif
