/*
 * A host small enough to see through: it loads one plugin's .so by itself, keeps what the plugin registers, counts
 * memory and log lines. Plugins of codecs, data sets, weights and transforms are tested on it, without the core.
 */
#ifndef CVR_TEST_HOST_H
#define CVR_TEST_HOST_H

#include <cvr/plugin/plugin.h>

#define TEST_HOST_MOST 64u

typedef struct test_host {
    cvr_host host;
    cvr_image_service image;
    struct {
        const char *kind;
        const void *desc; /* the plugin's own; it is never unloaded */
    } entries[TEST_HOST_MOST];
    uint32_t n_entries;
    int32_t offer_images; /* whether host->get gives the image service */
    int64_t live;         /* blocks that are allocated now */
    uint64_t most;        /* bytes of the largest block that was ever asked for */
    uint32_t n_logs;
    char last_log[512];
} test_host;

void test_host_init(test_host *h);
/* Loads CVR_PLUGIN_DIR/NAME.so; any failure ends the test. */
void test_host_load(test_host *h, const char *name);
/* Takes what a plugin that is linked to the test registers. */
void test_host_take(test_host *h, const cvr_plugin *p);
/* What a plugin registered under this kind and name; its absence ends the test. */
const void *test_host_find(const test_host *h, const char *kind, const char *name);

/* A sample with an arena of its own. */
typedef struct test_sample {
    cvr_sample sample;
    cvr_origin origin;
    cvr_field fields[8];
    cvr_field *pointers[8];
    void **blocks;
    uint64_t n_blocks, room;
} test_sample;

void test_sample_init(test_sample *s);
void test_sample_free(test_sample *s);
/* Adds a field that is named after its kind, with a copy of this data. */
cvr_field *test_sample_add(test_sample *s, const char *kind, uint32_t dtype, uint32_t rank, const int64_t *shape,
                           const void *data);
/* Adds "image" with a copy of these pixels. */
void test_sample_image(test_sample *s, uint32_t dtype, int64_t h, int64_t w, int64_t c, const void *pixels);

/* Bytes that grow, as the target of a sink. */
typedef struct test_bytes {
    uint8_t *bytes;
    uint64_t n;
} test_bytes;
int32_t test_bytes_sink(void *ctx, const void *bytes, uint64_t n, cvr_error *err);
void test_bytes_free(test_bytes *b);
/* A cvr_alloc_fn: malloc into the void * at `ctx`, freeing what is there. */
void *test_alloc_one(void *ctx, uint64_t bytes);

/* Tensors of a golden file, read by the safetensors plugin. `data` points into `file`. */
typedef struct test_tensors {
    uint8_t *file;
    uint64_t n_file;
    cvr_weight *w;
    uint64_t n;
} test_tensors;
void test_tensors_read(test_tensors *t, test_host *h, const char *path);
/* By name "CASE/FIELD"; NULL where it is not there. */
const cvr_weight *test_tensors_get(const test_tensors *t, const char *name, const char *field);
void test_tensors_free(test_tensors *t);

/* A whole file, for the caller to free(). Its absence ends the test. */
uint8_t *test_read_file(const char *path, uint64_t *n);
void test_write_file(const char *path, const void *bytes, uint64_t n);

#endif
