/* A data set of a fuzz target: opened in the target's folder, asked for everything, closed. */
#include "fuzz_dataset.h"
#include <stdlib.h>
#include <zlib.h>

typedef struct sample {
    cvr_sample sample;
    cvr_origin origin;
    cvr_field fields[4];
    cvr_field *pointers[4];
} sample;

static int32_t add_field(cvr_sample *s, const cvr_field *like, cvr_field **out, cvr_error *err) {
    sample *const mine = s->ctx;
    uint64_t n = cvr_dtype_size(like->dtype);
    fuzz_check(s->n_fields < 4 && like->rank <= 4, "too many fields or axes");
    for (uint32_t i = 0; i < like->rank; i++) n *= (uint64_t)like->shape[i];
    cvr_field *const f = &mine->fields[s->n_fields];
    *f = *like;
    f->data = n > 1u << 28 ? NULL : malloc(n ? n : 1);
    if (!f->data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    mine->pointers[s->n_fields++] = f;
    *out = f;
    return CVR_OK;
}

static void read_one(const cvr_dataset_desc *d, const void *self, int64_t index) {
    sample s = {.origin = {.struct_size = sizeof s.origin, .index = index}};
    cvr_error err = CVR_ERROR_INIT;
    char text[64];
    s.sample = (cvr_sample){.struct_size = sizeof s.sample, .ctx = &s, .fields = s.pointers, .add = add_field};
    s.sample.origin = &s.origin;
    const int32_t status = d->read(self, index, &s.sample, &err);
    fuzz_check_error(status, &err);
    for (uint32_t i = 0; i < s.sample.n_fields; i++) free(s.fields[i].data);
    d->describe(self, index, text, sizeof text);
    fuzz_touch(text, strlen(text));
    const int64_t label = d->label(self, index);
    fuzz_check(label >= 0 && label < d->n_classes(self), "a label of no class");
}

static void read_all(const cvr_dataset_desc *d, const void *self) {
    const int64_t n = d->count(self), classes = d->n_classes(self);
    fuzz_check(n > 0 && classes > 0 && classes <= 256, "%lld samples of %lld classes", (long long)n,
               (long long)classes);
    for (int64_t i = 0; i < classes; i++) {
        const char *const name = d->class_name(self, i);
        fuzz_touch(name, strlen(name));
    }
    for (int64_t i = 0; i < n; i += n / 4 + 1) read_one(d, self, i);
    read_one(d, self, n - 1);
}

static int32_t take(const cvr_registrar *r, const char *kind, const void *desc, cvr_error *err) {
    const void **const out = r->ctx;
    (void)err;
    fuzz_check(strcmp(kind, CVR_KIND_DATASET) == 0, "not a data set");
    *out = desc;
    return CVR_OK;
}

void fuzz_dataset(const void *attrs, uint32_t split, uint32_t channels, uint64_t most) {
    fuzz_host h;
    const void *desc = NULL;
    void *self = NULL;
    cvr_error err = CVR_ERROR_INIT;
    fuzz_host_init(&h, most);
    const cvr_registrar r = {sizeof r, (void *)&desc, take};
    fuzz_check(cvr_plugin_query(CVR_ABI_MAJOR, CVR_ABI_MINOR)->load(&h.host, &r, &err) == CVR_OK && desc,
               "no data set");
    const cvr_dataset_desc *const d = desc;
    const cvr_dataset_args args = {sizeof args, &h.host, attrs, fuzz_folder(), "", "", split, channels, 0, 1};
    const int32_t status = d->open(&args, &self, &err);
    fuzz_check_error(status, &err);
    if (status == CVR_OK) {
        read_all(d, self);
        d->close(self);
    }
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    fuzz_check(h.used <= most, "%llu bytes, of %llu that the files are worth", (unsigned long long)h.used,
               (unsigned long long)most);
}

void fuzz_gzip_file(const char *name, const uint8_t *bytes, size_t n, uint64_t number) {
    static uint8_t packed[1u << 14];
    z_stream z = {0};
    if (number % 4 == 0) {
        (void)fuzz_file(name, bytes, n);
        return;
    }
    fuzz_check(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "out of memory");
    memcpy(&z.next_in, &bytes, sizeof bytes); /* zlib does not write there */
    z.avail_in = (unsigned)n;
    z.next_out = packed;
    z.avail_out = sizeof packed;
    fuzz_check(deflate(&z, Z_FINISH) == Z_STREAM_END, "an input that is too large");
    (void)fuzz_file(name, packed, z.total_out);
    (void)deflateEnd(&z);
}
