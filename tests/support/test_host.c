/*
 * The test host. What goes wrong in it is the test's failure, said by Criterion.
 */
#include "test_host.h"
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <strings.h>

static void test_log(const cvr_host *host, uint32_t level, const char *text) {
    test_host *const h = host->ctx;
    (void)level;
    h->n_logs++;
    (void)snprintf(h->last_log, sizeof h->last_log, "%s", text);
}

static void *test_alloc(const cvr_host *host, uint64_t bytes, uint64_t align) {
    test_host *const h = host->ctx;
    void *p = NULL;
    if (bytes > h->most) h->most = bytes;
    /* More than any test needs: a size that was believed shows itself. */
    if (bytes > (uint64_t)1 << 30) return NULL;
    if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes ? bytes : 1) != 0) return NULL;
    h->live++;
    return p;
}

static void test_free(const cvr_host *host, void *p) {
    test_host *const h = host->ctx;
    if (!p) return;
    h->live--;
    free(p);
}

static const void *test_get(const cvr_host *host, const char *service) {
    const test_host *const h = host->ctx;
    return h->offer_images && strcmp(service, CVR_SERVICE_IMAGE) == 0 ? &h->image : NULL;
}

static int32_t test_decode_part(const cvr_image_service *s, const cvr_picture_job *job, cvr_error *err) {
    const test_host *const h = s->ctx;
    for (uint32_t i = 0; i < h->n_entries; i++) {
        const cvr_codec_desc *const codec = h->entries[i].desc;
        if (strcmp(h->entries[i].kind, CVR_KIND_CODEC) != 0 || !codec->probe(job->bytes, job->n < 64 ? job->n : 64))
            continue;
        return codec->decode(&h->host, job, err);
    }
    return cvr_fail(err, CVR_ERR_FORMAT, "no codec knows these bytes");
}

static int32_t test_decode(const cvr_image_service *s, const uint8_t *bytes, uint64_t n, uint32_t channels,
                           cvr_alloc_fn alloc, void *alloc_ctx, cvr_image *out, cvr_error *err) {
    const cvr_picture_job job = {sizeof job, bytes, n, channels, alloc, alloc_ctx, NULL, out, 0, 0};
    return test_decode_part(s, &job, err);
}

static int32_t test_is_picture(const cvr_image_service *s, const char *name) {
    const char *const dot = strrchr(name, '.');
    (void)s;
    return dot && (strcasecmp(dot, ".png") == 0 || strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0);
}

void test_host_init(test_host *h) {
    memset(h, 0, sizeof *h);
    h->host = (cvr_host){sizeof h->host, h, test_log, test_alloc, test_free, test_get};
    h->image.struct_size = sizeof h->image;
    h->image.ctx = h;
    h->image.decode = test_decode;
    h->image.decode_part = test_decode_part;
    h->image.is_picture = test_is_picture;
}

static int32_t test_add(const cvr_registrar *r, const char *kind, const void *desc, cvr_error *err) {
    test_host *const h = r->ctx;
    if (h->n_entries == TEST_HOST_MOST) return cvr_fail(err, CVR_ERR_INVALID, "too many for the test host");
    h->entries[h->n_entries].kind = kind;
    h->entries[h->n_entries++].desc = desc;
    return CVR_OK;
}

void test_host_take(test_host *h, const cvr_plugin *p) {
    const cvr_registrar r = {sizeof r, h, test_add};
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_eq(p->load(&h->host, &r, &err), CVR_OK, "%s: %s", p->id, err.message);
}

void test_host_load(test_host *h, const char *name) {
    char path[4096];
    const cvr_plugin *(*query)(uint32_t, uint32_t) = NULL;
    (void)snprintf(path, sizeof path, "%s/%s.so", CVR_PLUGIN_DIR, name);
    void *const so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    cr_assert(so, "%s", dlerror());
    void *const symbol = dlsym(so, CVR_PLUGIN_SYMBOL);
    cr_assert(symbol, "%s: no %s", path, CVR_PLUGIN_SYMBOL);
    memcpy(&query, &symbol, sizeof query);
    const cvr_plugin *const p = query(CVR_ABI_MAJOR, CVR_ABI_MINOR);
    cr_assert(p && p->magic == CVR_PLUGIN_MAGIC && strcmp(p->id, name) == 0, "%s is not the plugin %s", path, name);
    test_host_take(h, p);
}

const void *test_host_find(const test_host *h, const char *kind, const char *name) {
    for (uint32_t i = 0; i < h->n_entries; i++) {
        /* Every descriptor begins with its size and its name. */
        const cvr_codec_desc *const any = h->entries[i].desc;
        if (strcmp(h->entries[i].kind, kind) == 0 && strcmp(any->name, name) == 0) return any;
    }
    cr_assert_fail("nobody registered %s %s", kind, name);
    return NULL;
}

static void *sample_alloc(cvr_sample *sample, uint64_t bytes) {
    test_sample *const s = sample->ctx;
    void *p = NULL;
    if (s->n_blocks == s->room) {
        s->room = s->room * 2 + 16;
        s->blocks = realloc(s->blocks, s->room * sizeof *s->blocks);
        cr_assert(s->blocks);
    }
    if (bytes > (uint64_t)1 << 30 || posix_memalign(&p, 64, bytes ? bytes : 1) != 0) return NULL;
    s->blocks[s->n_blocks++] = p;
    return p;
}

static int32_t sample_add(cvr_sample *sample, const cvr_field *like, cvr_field **out, cvr_error *err) {
    test_sample *const s = sample->ctx;
    uint64_t n = cvr_dtype_size(like->dtype);
    if (sample->n_fields == 8) return cvr_fail(err, CVR_ERR_INVALID, "too many fields for the test host");
    for (uint32_t i = 0; i < like->rank; i++) n *= (uint64_t)like->shape[i];
    cvr_field *const f = &s->fields[sample->n_fields];
    *f = *like;
    f->data = sample_alloc(sample, n);
    if (!f->data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    s->pointers[sample->n_fields++] = f;
    *out = f;
    return CVR_OK;
}

/* cvrun's own kinds. */
static const cvr_field_kind kinds[] = {
    {.struct_size = sizeof *kinds, .name = CVR_FIELD_IMAGE, .rank = 3, .places = 1},
    {.struct_size = sizeof *kinds, .name = CVR_FIELD_LABEL, .height_axis = CVR_NO_AXIS},
    {.struct_size = sizeof *kinds, .name = CVR_FIELD_MASK, .dtype = CVR_U8, .rank = 2, .places = 1, .pad = 255},
    {.struct_size = sizeof *kinds,
     .name = CVR_FIELD_BOXES,
     .dtype = CVR_F32,
     .rank = 2,
     .axis = "object",
     .height_axis = CVR_NO_AXIS,
     .places = 1},
    {.struct_size = sizeof *kinds,
     .name = CVR_FIELD_BOX_LABELS,
     .dtype = CVR_I64,
     .rank = 1,
     .axis = "object",
     .height_axis = CVR_NO_AXIS},
    {.struct_size = sizeof *kinds,
     .name = CVR_FIELD_MASKS,
     .dtype = CVR_U8,
     .rank = 3,
     .axis = "object",
     .height_axis = 1,
     .places = 1},
};

static const cvr_field_kind *sample_kind(const cvr_sample *s, const char *kind) {
    (void)s;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, kind) == 0) return &kinds[i];
    }
    return NULL;
}

static int32_t sample_filter(cvr_sample *s, const char *axis, const uint8_t *keep, int64_t n, cvr_error *err) {
    for (uint32_t i = 0; i < s->n_fields; i++) {
        cvr_field *const f = s->fields[i];
        const cvr_field_kind *const kind = sample_kind(s, f->kind);
        if (!kind || !kind->axis || strcmp(kind->axis, axis) != 0) continue;
        if (f->shape[0] != n) return cvr_fail(err, CVR_ERR_INVALID, "'%s' has another number of rows", f->name);
        const uint64_t row = cvr_dtype_size(f->dtype) * (uint64_t)cvr_numel(f->rank - 1, f->shape + 1);
        int64_t kept = 0;
        for (int64_t r = 0; r < n; r++) {
            if (!keep[r]) continue;
            memmove((char *)f->data + (uint64_t)kept++ * row, (const char *)f->data + (uint64_t)r * row, row);
        }
        f->shape[0] = kept;
    }
    return CVR_OK;
}

void test_sample_init(test_sample *s) {
    memset(s, 0, sizeof *s);
    s->origin = (cvr_origin){.struct_size = sizeof s->origin, .geometry = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    s->sample = (cvr_sample){.struct_size = sizeof s->sample,
                             .ctx = s,
                             .fields = s->pointers,
                             .origin = &s->origin,
                             .alloc = sample_alloc,
                             .add = sample_add,
                             .filter = sample_filter,
                             .kind = sample_kind};
}

void test_sample_free(test_sample *s) {
    for (uint64_t i = 0; i < s->n_blocks; i++) free(s->blocks[i]);
    free(s->blocks);
    test_sample_init(s);
}

cvr_field *test_sample_add(test_sample *s, const char *kind, uint32_t dtype, uint32_t rank, const int64_t *shape,
                           const void *data) {
    cvr_field like = {sizeof like, kind, kind, dtype, rank, {1, 1, 1, 1}, NULL};
    cvr_field *f = NULL;
    for (uint32_t i = 0; i < rank; i++) like.shape[i] = shape[i];
    cr_assert_eq(s->sample.add(&s->sample, &like, &f, NULL), CVR_OK);
    memcpy(f->data, data, (uint64_t)cvr_numel(rank, shape) * cvr_dtype_size(dtype));
    return f;
}

void test_sample_image(test_sample *s, uint32_t dtype, int64_t h, int64_t w, int64_t c, const void *pixels) {
    const int64_t shape[3] = {h, w, c};
    (void)test_sample_add(s, CVR_FIELD_IMAGE, dtype, 3, shape, pixels);
}

int32_t test_bytes_sink(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    test_bytes *const b = ctx;
    (void)err;
    b->bytes = realloc(b->bytes, b->n + n + 1);
    cr_assert(b->bytes);
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
    return CVR_OK;
}

void test_bytes_free(test_bytes *b) {
    free(b->bytes);
    *b = (test_bytes){NULL, 0};
}

void *test_alloc_one(void *ctx, uint64_t bytes) {
    void **const p = ctx;
    free(*p);
    *p = bytes > (uint64_t)1 << 30 ? NULL : malloc(bytes ? bytes : 1);
    return *p;
}

static int32_t keep_tensor(void *ctx, const cvr_weight *w, cvr_error *err) {
    test_tensors *const t = ctx;
    (void)err;
    t->w = realloc(t->w, (t->n + 1) * sizeof *t->w);
    cr_assert(t->w);
    t->w[t->n] = *w;
    t->w[t->n++].name = strdup(w->name);
    return CVR_OK;
}

void test_tensors_read(test_tensors *t, test_host *h, const char *path) {
    cvr_error err;
    cvr_error_init(&err);
    memset(t, 0, sizeof *t);
    t->file = test_read_file(path, &t->n_file);
    const cvr_weights_desc *const d = test_host_find(h, CVR_KIND_WEIGHTS, "safetensors");
    cr_assert_eq(d->read(&h->host, t->file, t->n_file, keep_tensor, t, &err), CVR_OK, "%s: %s", path, err.message);
}

const cvr_weight *test_tensors_get(const test_tensors *t, const char *name, const char *field) {
    const size_t n = strlen(name);
    for (uint64_t i = 0; i < t->n; i++) {
        const char *const s = t->w[i].name;
        if (strncmp(s, name, n) == 0 && s[n] == '/' && strcmp(s + n + 1, field) == 0) return &t->w[i];
    }
    return NULL;
}

void test_tensors_free(test_tensors *t) {
    for (uint64_t i = 0; i < t->n; i++) {
        void *name = NULL;
        memcpy(&name, &t->w[i].name, sizeof name);
        free(name);
    }
    free(t->w);
    free(t->file);
}

uint8_t *test_read_file(const char *path, uint64_t *n) {
    FILE *const f = fopen(path, "rb");
    cr_assert(f, "cannot open %s", path);
    cr_assert_eq(fseek(f, 0, SEEK_END), 0);
    *n = (uint64_t)ftell(f);
    rewind(f);
    uint8_t *const bytes = malloc(*n + 1);
    cr_assert(bytes);
    cr_assert_eq(fread(bytes, 1, *n, f), *n);
    (void)fclose(f);
    return bytes;
}

void test_write_file(const char *path, const void *bytes, uint64_t n) {
    FILE *const f = fopen(path, "wb");
    cr_assert(f, "cannot make %s", path);
    cr_assert_eq(fwrite(bytes, 1, n, f), n);
    cr_assert_eq(fclose(f), 0);
}
