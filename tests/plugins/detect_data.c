/* See the header. */
#include "detect_data.h"
#include <stdlib.h>

test_host detect_host;

void detect_load(void) {
    test_host_init(&detect_host);
    test_host_load(&detect_host, "dataset_coco");
    test_host_load(&detect_host, "dataset_voc");
    test_host_load(&detect_host, "dataset_yolo");
    test_host_load(&detect_host, "codec_png");
    detect_host.offer_images = 1;
    scratch_open("detect");
}

void detect_unload(void) {
    scratch_close();
    cr_expect_eq(detect_host.live, 0, "memory was left behind");
}

void detect_picture(const char *name, int64_t width, int64_t height) {
    const cvr_codec_desc *const png = test_host_find(&detect_host, CVR_KIND_CODEC, "png");
    uint8_t *const pixels = calloc((size_t)(width * height), 1);
    const cvr_image image = {sizeof image, width, height, 1, pixels, NULL};
    test_bytes out = {NULL, 0};
    cr_assert_eq(png->encode(&detect_host.host, &image, test_bytes_sink, &out, NULL), CVR_OK);
    scratch_put(name, out.bytes, out.n);
    test_bytes_free(&out);
    free(pixels);
}

detect_data detect_open(const char *name, uint32_t split, const void *attrs, const char *train, const char *val) {
    detect_data o = {test_host_find(&detect_host, CVR_KIND_DATASET, name), NULL, 0, CVR_ERROR_INIT};
    const cvr_dataset_args args = {.struct_size = sizeof args,
                                   .host = &detect_host.host,
                                   .attrs = attrs,
                                   .root = scratch_root,
                                   .train = train,
                                   .val = val,
                                   .split = split,
                                   .seed = 4};
    detect_host.last_log[0] = '\0';
    o.status = o.d->open(&args, &o.self, &o.err);
    cr_assert(o.status == CVR_OK || (!o.self && o.err.message[0] && detect_host.live == 0), "%s", o.err.message);
    return o;
}

detect_data detect_must_open(const char *name, uint32_t split, const void *attrs) {
    const detect_data o = detect_open(name, split, attrs, "", "");
    cr_assert_eq(o.status, CVR_OK, "%s:%u: %s", o.err.file, o.err.line, o.err.message);
    return o;
}

void detect_close(detect_data o) {
    o.d->close(o.self);
}

static void expect_error(const cvr_error *err, const char *file, const char *says) {
    cr_expect(strstr(err->file, file), "file '%s', not '%s'", err->file, file);
    cr_expect(strstr(err->message, says), "'%s' does not say '%s'", err->message, says);
    cr_expect_eq(strchr(err->message, '\n'), NULL);
}

void detect_refused(detect_data o, const char *file, const char *says) {
    cr_assert_neq(o.status, CVR_OK, "it should have said '%s'", says);
    expect_error(&o.err, file, says);
}

void detect_boxes(detect_data o, int64_t index, int64_t n, const double (*boxes)[5]) {
    test_sample s;
    test_sample_init(&s);
    cr_assert_eq(o.d->read(o.self, index, &s.sample, &o.err), CVR_OK, "%s: %s", o.err.file, o.err.message);
    const cvr_field *const b = cvr_sample_find(&s.sample, CVR_FIELD_BOXES), *const l = cvr_sample_find(
                                                                                &s.sample, CVR_FIELD_BOX_LABELS);
    cr_assert(b && l && b->dtype == CVR_F32 && l->dtype == CVR_I64 && l->shape[0] == b->shape[0] && b->shape[1] == 4);
    cr_assert_eq(b->shape[0], n, "%lld objects, not %lld", (long long)b->shape[0], (long long)n);
    cr_expect_geq(o.d->rows(o.self, index, "object"), n);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < 4; k++) {
            const float x = ((const float *)b->data)[4 * i + k];
            cr_expect_eq(x, (float)boxes[i][k], "number %lld of object %lld is %.9g", (long long)k, (long long)i,
                         (double)x);
        }
        cr_expect_eq(((const int64_t *)l->data)[i], (int64_t)boxes[i][4], "class of object %lld", (long long)i);
    }
    test_sample_free(&s);
}

void detect_bad(detect_data o, int64_t index, const char *file, const char *says) {
    test_sample s;
    cvr_error err = CVR_ERROR_INIT;
    test_sample_init(&s);
    cr_expect_neq(o.d->read(o.self, index, &s.sample, &err), CVR_OK, "it should have said '%s'", says);
    expect_error(&err, file, says);
    test_sample_free(&s);
}

typedef struct telling {
    detect_object *out;
    int64_t k;
} telling;

static int32_t on_object(void *ctx, const cvr_object *object, cvr_error *err) {
    telling *const t = ctx;
    (void)err;
    if (t->out->n++ != t->k) return CVR_OK;
    t->out->o = *object;
    cr_assert_leq(object->n_runs, DETECT_MOST_RUNS);
    if (object->n_runs) memcpy(t->out->runs, object->runs, object->n_runs * sizeof *object->runs);
    return CVR_OK;
}

detect_object detect_tell(detect_data o, int64_t index, int64_t k) {
    detect_object out = {.n = 0};
    telling t = {&out, k};
    cr_assert_eq(o.d->objects(o.self, index, on_object, &t, &o.err), CVR_OK, "%s", o.err.message);
    cr_assert_gt(out.n, k);
    return out;
}

void detect_logged(const char *says) {
    cr_expect(strstr(detect_host.last_log, says), "'%s' does not say '%s'", detect_host.last_log, says);
}
