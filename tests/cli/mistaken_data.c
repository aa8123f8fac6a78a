/*
 * acme.mistaken_data: a data set and a format of weights that are right, but for the mistake that the environment's
 * MISTAKE names. mistakes_test.sh makes every one of them.
 */
#include <cvr/plugin/plugin.h>
#include <signal.h>
#include <stdlib.h>

static int is(const char *mistake) {
    const char *said = getenv("MISTAKE");
    return said && strcmp(said, mistake) == 0;
}

/* ---- eight grey pictures of two classes ---- */

static int32_t data_open(const cvr_dataset_args *args, void **self, cvr_error *err) {
    (void)args, (void)err;
    *self = NULL;
    return CVR_OK;
}

static void data_close(void *self) {
    (void)self;
}

static int64_t data_count(const void *self) {
    (void)self;
    if (is("count segv")) raise(SIGSEGV);
    return is("count negative") ? -5 : 8;
}

static int64_t data_classes(const void *self) {
    (void)self;
    return 2;
}

static const char *data_class(const void *self, int64_t i) {
    (void)self;
    return i ? "odd" : "even";
}

static int32_t data_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const cvr_field picture = {sizeof picture, "image", CVR_FIELD_IMAGE, CVR_U8, 3, {8, 8, 3, 1}, NULL};
    const cvr_field label = {sizeof label, "label", CVR_FIELD_LABEL, CVR_I64, 0, {1, 1, 1, 1}, NULL};
    cvr_field *f;
    (void)self;
    CVR_TRY(out->add(out, &picture, &f, err));
    memset(f->data, (int)index, 8 * 8 * 3);
    if (is("read shape")) f->shape[0] = 100000;
    if (is("read dtype")) f->dtype = CVR_F32;
    CVR_TRY(out->add(out, &label, &f, err));
    *(int64_t *)f->data = index % 2;
    return CVR_OK;
}

static void data_describe(const void *self, int64_t index, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "acme[%d]", (int)index);
}

static int64_t data_label(const void *self, int64_t index) {
    (void)self;
    return index % 2;
}

static const char *data_kind(const void *self, uint32_t i) {
    static const char *const kinds[] = {CVR_FIELD_IMAGE, CVR_FIELD_LABEL, NULL};
    (void)self;
    return kinds[i];
}

static const cvr_dataset_desc data = {.struct_size = sizeof data,
                                      .name = "acme.data",
                                      .doc = "eight grey pictures",
                                      .open = data_open,
                                      .close = data_close,
                                      .count = data_count,
                                      .n_classes = data_classes,
                                      .class_name = data_class,
                                      .read = data_read,
                                      .describe = data_describe,
                                      .label = data_label,
                                      .kind = data_kind};

/* ---- one tensor ---- */

static int32_t weights_probe(const uint8_t *bytes, uint64_t n, uint64_t file_size) {
    (void)file_size;
    const int32_t known = n >= 4 && memcmp(bytes, "ACME", 4) == 0;
    if (known && is("probe segv")) raise(SIGSEGV);
    return known;
}

static int32_t weights_read(const cvr_host *host, const uint8_t *bytes, uint64_t n, cvr_weight_fn each, void *ctx,
                            cvr_error *err) {
    static const float numbers[3] = {1, 2, 3};
    cvr_weight w = {sizeof w, "b", CVR_F32, 1, {3}, numbers, sizeof numbers, "F32"};
    (void)host, (void)bytes, (void)n;
    if (is("weight size")) w.struct_size = 8;
    if (is("weight name")) w.name = NULL;
    if (is("weight dtype")) w.dtype = 99;
    if (is("weight rank")) w.rank = 99;
    if (is("weight shape")) w.shape[0] = -3;
    if (is("weight bytes")) w.bytes = 4;
    if (is("weight data")) w.data = NULL;
    return each(ctx, &w, err);
}

static int32_t weights_write(const cvr_host *host, const cvr_weight *const *weights, uint64_t n_weights,
                             const char *const *metadata, uint64_t n_metadata, cvr_sink_fn sink, void *sink_ctx,
                             cvr_error *err) {
    (void)host, (void)weights, (void)n_weights, (void)metadata, (void)n_metadata;
    return sink(sink_ctx, "ACME", 4, err);
}

static const cvr_weights_desc weights = {.struct_size = sizeof weights,
                                         .name = "acme.weights",
                                         .extension = ".acme",
                                         .doc = "one tensor",
                                         .probe = weights_probe,
                                         .read = weights_read,
                                         .write = weights_write};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_DATASET, &data, err));
    return r->add(r, CVR_KIND_WEIGHTS, &weights, err);
}

CVR_DEFINE_PLUGIN("com.acme.d", "1.0.0", "", load)
