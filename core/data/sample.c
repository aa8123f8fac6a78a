/* One sample: fields in an arena, read by the data set, changed by the transforms, normalised into the batch. */
#include "parts.h"

static void *sample_alloc(cvr_sample *sample, uint64_t bytes) {
    arena_sample *s = sample->ctx;
    if (bytes > (UINT64_C(1) << 40)) return NULL;
    const uint64_t wanted = (bytes + 63) / 64 * 64;
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        if (s->blocks[i].bytes - s->blocks[i].used < wanted) continue;
        void *p = s->blocks[i].memory + s->blocks[i].used;
        s->blocks[i].used += wanted;
        return p;
    }
    if (s->n_blocks == SAMPLE_MOST_BLOCKS) return NULL;
    const uint64_t bytes_of_block = wanted > 65536 ? wanted : 65536;
    char *memory = cvr_alloc_aligned(bytes_of_block, 64);
    if (!memory) return NULL;
    s->blocks[s->n_blocks].memory = memory;
    s->blocks[s->n_blocks].bytes = bytes_of_block;
    s->blocks[s->n_blocks++].used = wanted;
    return memory;
}

static int32_t sample_add(cvr_sample *sample, const cvr_field *like, cvr_field **out, cvr_error *err) {
    arena_sample *s = sample->ctx;
    uint64_t bytes = cvr_dtype_size(like->dtype);
    if (sample->n_fields == SAMPLE_MOST_FIELDS || like->rank > 4 || !bytes)
        return cvr_fail(err, CVR_ERR_PLUGIN, "a field `%s` that no sample can have", like->name);
    for (uint32_t i = 0; i < like->rank; i++) {
        if (like->shape[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)like->shape[i], &bytes))
            return cvr_fail(err, CVR_ERR_FORMAT, "field `%s` is too large", like->name);
    }
    cvr_field *f = &s->fields[sample->n_fields];
    *f = *like;
    f->struct_size = sizeof *f;
    for (uint32_t i = like->rank; i < 4; i++) f->shape[i] = 1;
    f->data = sample_alloc(sample, bytes);
    if (!f->data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a sample of %.1f MB", (double)bytes * 1e-6);
    sample->n_fields++;
    *out = f;
    return CVR_OK;
}

void sample_init(arena_sample *s) {
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < SAMPLE_MOST_FIELDS; i++) s->pointers[i] = &s->fields[i];
    s->sample = (cvr_sample){sizeof s->sample, s, 0, 0, s->pointers, sample_alloc, sample_add, NULL};
}

/* What the last sample needed in several blocks, the next finds in one: so that blocks never run out, however sizes
 * vary. */
void sample_reset(arena_sample *s) {
    uint64_t total = 0;
    s->sample.n_fields = 0;
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        s->blocks[i].used = 0;
        total += s->blocks[i].bytes;
    }
    if (s->n_blocks < 2) return;
    sample_free(s);
    s->blocks[0].memory = cvr_alloc_aligned(total, 64);
    s->blocks[0].bytes = total;
    s->n_blocks = s->blocks[0].memory ? 1 : 0;
}

void sample_free(arena_sample *s) {
    for (uint32_t i = 0; i < s->n_blocks; i++) cvr_free(s->blocks[i].memory);
    s->n_blocks = 0;
}

void sample_rng(cvr_rng *rng, const cvr_batches_options *o, sample_place at, size_t place) {
    cvr_rng_start(rng, cvr_rng_mix(cvr_rng_mix(o->seed, 0x61756767ull), (uint64_t)at.epoch),
                  cvr_rng_mix((uint64_t)at.index, place));
}

int32_t transform_failed(const cvr_transform *t, int32_t status, cvr_error *err) {
    char text[sizeof err->message];
    if (!err) return status;
    (void)snprintf(text, sizeof text, "%s: %.900s", t->desc->name, err->message);
    memcpy(err->message, text, sizeof text);
    return status;
}

/* The transforms from place `first` on. */
static int32_t transform_from(arena_sample *s, size_t first, const cvr_batches_options *o, sample_place at,
                              cvr_error *err) {
    for (size_t i = first; i < o->n_transforms; i++) {
        const cvr_transform *t = &o->transforms[i];
        double params[CVR_AUGMENT_PARAMS] = {0};
        cvr_rng rng;
        sample_rng(&rng, o, at, i);
        int32_t status = t->desc->make_params ? t->desc->make_params(t->attrs, &s->sample, &rng, params, err) : CVR_OK;
        if (status == CVR_OK) status = t->desc->apply(t->attrs, params, &s->sample, err);
        if (status != CVR_OK) return transform_failed(t, status, err);
    }
    return CVR_OK;
}

static int32_t check_picture(const arena_sample *s, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    if (!f || f->rank != 3 || (f->dtype != CVR_U8 && f->dtype != CVR_F32) || f->shape[2] < 1 || f->shape[2] > 4 ||
        f->shape[0] < 1 || f->shape[1] < 1) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "the transforms left no picture of 1 to 4 channels");
    }
    return CVR_OK;
}

int32_t sample_make(arena_sample *s, const cvr_batches_options *o, sample_place at, cvr_error *err) {
    part_plan plan;
    sample_reset(s);
    parts_begin(&plan, s, o, at);
    s->sample.request = plan.n ? &plan.request : NULL;
    int32_t status = o->dataset->read(o->self, at.index, &s->sample, err);
    s->sample.request = NULL;
    if (status == CVR_OK && plan.chosen) status = parts_apply(&plan, err);
    if (status == CVR_OK) status = transform_from(s, plan.chosen ? plan.n : 0, o, at, err);
    if (status == CVR_OK) status = check_picture(s, err);
    if (status == CVR_OK || !err) return status;
    char name[sizeof err->file];
    o->dataset->describe(o->self, at.index, name, sizeof name);
    return cvr_fail_at(err, name, 0, status);
}

/* u8 has 256 levels: each is normalised once, and the rest is looking up. from, to: (pixels, channels) */
static void normalise_u8(float *to, const uint8_t *from, int64_t pixels, int64_t channels,
                         const cvr_batches_options *o) {
    float table[4][256];
    for (int64_t c = 0; c < channels; c++) {
        const float mean = (float)o->mean[c], std = (float)o->std[c];
        for (int k = 0; k < 256; k++) table[c][k] = ((float)k / 255.0f - mean) / std;
    }
    if (channels == 3) {
        for (int64_t p = 0; p < pixels; p++, from += 3, to += 3) {
            to[0] = table[0][from[0]];
            to[1] = table[1][from[1]];
            to[2] = table[2][from[2]];
        }
        return;
    }
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t c = 0; c < channels; c++) *to++ = table[c][*from++];
    }
}

void sample_normalise(const cvr_field *image, const cvr_batches_options *o, float *out) {
    const int64_t channels = image->shape[2], pixels = image->shape[0] * image->shape[1];
    const float *from = image->data;
    if (image->dtype == CVR_U8) {
        normalise_u8(out, image->data, pixels, channels, o);
        return;
    }
    for (int64_t c = 0; c < channels; c++) {
        const float mean = (float)o->mean[c], std = (float)o->std[c];
        for (int64_t i = c; i < pixels * channels; i += channels) out[i] = (from[i] - mean) / std;
    }
}

int32_t cvr_picture_load(const cvr_batches_options *o, const cvr_image *image, cvr_batch *out, cvr_error *err) {
    arena_sample s;
    cvr_field like = {.name = "image",
                      .kind = CVR_FIELD_IMAGE,
                      .dtype = CVR_U8,
                      .rank = 3,
                      .shape = {image->height, image->width, image->channels, 1}},
              *f;
    sample_init(&s);
    int32_t status = s.sample.add(&s.sample, &like, &f, err);
    if (status == CVR_OK) {
        memcpy(f->data, image->data, (size_t)(image->height * image->width * image->channels));
        status = transform_from(&s, 0, o, (sample_place){0, 0}, err);
    }
    if (status == CVR_OK) status = check_picture(&s, err);
    if (status == CVR_OK) {
        f = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE);
        float *pixels = cvr_alloc_aligned((size_t)(f->shape[0] * f->shape[1] * f->shape[2]) * sizeof(float), 64);
        *out =
            (cvr_batch){.n = 1, .height = f->shape[0], .width = f->shape[1], .channels = f->shape[2], .images = pixels};
        if (pixels)
            sample_normalise(f, o, pixels);
        else
            status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    sample_free(&s);
    return status;
}

int32_t cvr_batches_try(const cvr_batches_options *o, int64_t index, cvr_error *err) {
    arena_sample s;
    cvr_batches_options all = *o;
    all.whole = true;
    sample_init(&s);
    const int32_t status = sample_make(&s, &all, (sample_place){index, 0}, err);
    sample_free(&s);
    return status;
}
