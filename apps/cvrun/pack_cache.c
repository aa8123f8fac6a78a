/*
 * The layout "pack": one file a split, which the data set "pack" maps into memory (cvr/plugin/formats/pack.h says what
 * is in it).
 */
#include "pack.h"
#include <cvr/plugin/formats/pack.h>

static int32_t no_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int32_t pack_begin(const pack_source *p, cvr_writer *w, cvr_error *err) {
    char name[32];
    static const char header[PACK_HEADER] = PACK_MAGIC;
    (void)snprintf(name, sizeof name, "%s.pack", p->split);
    char *path = cvr_fs_join(p->folder, name);
    const int32_t status = path ? cvr_writer_open(w, path, err) : no_memory(err);
    cvr_free(path);
    return status == CVR_OK ? cvr_writer_put(w, header, sizeof header, err) : status;
}

/* Makes the shorter side pack_source.size, where it is longer: by the transform that validation resizes with. */
static int32_t shrink(const pack_source *p, pack_sample *s, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE); /* (H, W, C) */
    if (!f || f->dtype != CVR_U8 || f->rank != 3 || (f->shape[2] != 1 && f->shape[2] != 3))
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "the picture is not u8 with 1 or 3 channels; it cannot be packed");
    const int64_t shorter = f->shape[0] < f->shape[1] ? f->shape[0] : f->shape[1];
    if (!p->resize || shorter <= p->size) return CVR_OK;
    static const double params[CVR_AUGMENT_PARAMS];
    return p->resize->apply(p->resize_attrs, params, &s->sample, err);
}

static int32_t add_picture(const pack_source *p, pack_sample *s, cvr_text *out, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    uint8_t *bytes = NULL;
    uint64_t n = 0;
    if (!p->files) {
        cvr_text_add_bytes(out, f->data, (size_t)(f->shape[0] * f->shape[1] * f->shape[2]));
        return CVR_OK;
    }
    if (!s->origin.path)
        return cvr_fail(err, CVR_ERR_USAGE, "data of format %s has no file for each picture; leave store=files out",
                        p->desc->name);
    CVR_TRY(cvr_fs_read(s->origin.path, 1u << 30, &bytes, &n, err));
    cvr_text_add_bytes(out, bytes, (size_t)n);
    cvr_free(bytes);
    return CVR_OK;
}

/* One class, or shares of all of them, which are put behind the picture. */
static int32_t add_label(const pack_source *p, const pack_sample *s, cvr_text *out, int64_t *label, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_LABEL);
    *label = -1;
    if (f && f->dtype == CVR_F32 && f->rank == 1 && f->shape[0] == p->n_classes) {
        cvr_text_add_bytes(out, f->data, (size_t)p->n_classes * sizeof(float));
        return CVR_OK;
    }
    if (!f || f->dtype != CVR_I64 || f->rank != 0)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "it has no label of one class or of all; it cannot be packed");
    *label = *(const int64_t *)f->data;
    if (*label >= 0 && *label < p->n_classes) return CVR_OK;
    return cvr_fail(err, CVR_ERR_FORMAT, "its class is %lld of %lld", (long long)*label, (long long)p->n_classes);
}

/* `image` gets the record, `objects` its entry of the index, whose offset is not known yet. */
static int32_t pack_sample_make(const pack_source *p, pack_sample *s, int64_t number, pack_record *out,
                                cvr_error *err) {
    pack_entry e = {0};
    (void)number;
    CVR_TRY(p->files ? CVR_OK : shrink(p, s, err));
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    e.height = (uint32_t)f->shape[0];
    e.width = (uint32_t)f->shape[1];
    CVR_TRY(add_picture(p, s, &out->image, err));
    CVR_TRY(add_label(p, s, &out->image, &e.label, err));
    e.bytes = out->image.n;
    e.sum = pack_sum(out->image.s, out->image.n);
    cvr_text_add_bytes(&out->objects, &e, sizeof e);
    return out->image.failed || out->objects.failed ? no_memory(err) : CVR_OK;
}

/* Zeros up to a multiple of `align`. */
static int32_t pad(cvr_writer *w, uint64_t *at, uint64_t align, cvr_error *err) {
    static const char zeros[PACK_ALIGN];
    const uint64_t n = (align - *at % align) % align;
    *at += n;
    return n ? cvr_writer_put(w, zeros, n, err) : CVR_OK;
}

static uint64_t end_of(const cvr_text *index) {
    pack_entry last;
    if (index->n == 0) return PACK_HEADER;
    memcpy(&last, index->s + index->n - sizeof last, sizeof last);
    return last.offset + last.bytes;
}

static int32_t pack_record_put(const pack_record *r, cvr_writer *w, cvr_text *index, int64_t *n_objects,
                               cvr_error *err) {
    uint64_t at = end_of(index);
    pack_entry e;
    (void)n_objects;
    memcpy(&e, r->objects.s, sizeof e);
    CVR_TRY(pad(w, &at, PACK_ALIGN, err));
    e.offset = at;
    CVR_TRY(cvr_writer_put(w, r->image.s, r->image.n, err));
    cvr_text_add_bytes(index, &e, sizeof e);
    return index->failed ? no_memory(err) : CVR_OK;
}

/* What the footer says of all samples must hold for each. */
static int32_t describe_samples(const pack_source *p, const cvr_text *index, pack_footer *t, cvr_error *err) {
    t->n_samples = index->n / sizeof(pack_entry);
    t->channels = 3;
    if (t->n_samples == 0) return cvr_fail(err, CVR_ERR_FORMAT, "there is no picture to pack");
    for (uint64_t i = 0; i < t->n_samples; i++) {
        pack_entry e;
        memcpy(&e, index->s + i * sizeof e, sizeof e);
        const uint64_t shares = e.label < 0, labels = shares ? (uint64_t)p->n_classes * sizeof(float) : 0,
                       channels = p->files ? 3 : (e.bytes - labels) / ((uint64_t)e.height * e.width);
        if (i == 0) {
            t->shares = shares;
            t->channels = channels;
        }
        if (t->shares != shares || t->channels != channels)
            return cvr_fail(err, CVR_ERR_UNSUPPORTED, "pictures of 1 and of 3 channels; set model.in_channels=3");
    }
    return CVR_OK;
}

static int32_t pack_end(const pack_source *p, cvr_writer *w, const cvr_text *index, cvr_error *err) {
    pack_footer t = {.magic = PACK_MAGIC, .version = PACK_VERSION, .stored = p->files ? PACK_FILES : PACK_PIXELS};
    cvr_text tail = {0};
    static const char zeros[8];
    int32_t status;
    CVR_TRY_OUT(describe_samples(p, index, &t, err));
    t.names_at = end_of(index);
    t.n_classes = (uint64_t)p->n_classes;
    for (int64_t i = 0; i < p->n_classes; i++)
        cvr_text_add_bytes(&tail, p->class_names[i], strlen(p->class_names[i]) + 1);
    cvr_text_add_bytes(&tail, zeros, (size_t)((8 - (t.names_at + tail.n) % 8) % 8));
    t.index_at = t.names_at + tail.n;
    cvr_text_add_bytes(&tail, index->s, index->n);
    cvr_text_add_bytes(&tail, &t, sizeof t - sizeof t.sum);
    if (tail.failed) CVR_TRY_OUT(no_memory(err));
    t.sum = pack_sum(tail.s, tail.n);
    cvr_text_add_bytes(&tail, &t.sum, sizeof t.sum);
    if (tail.failed) CVR_TRY_OUT(no_memory(err));
    CVR_TRY_OUT(cvr_writer_put(w, tail.s, tail.n, err));
out:
    cvr_text_clear(&tail);
    if (status == CVR_OK) return cvr_writer_commit(w, false, err);
    cvr_writer_abandon(w);
    return status;
}

const pack_layout pack_cache = {.name = "pack",
                                .needs = CVR_FIELD_LABEL,
                                .begin = pack_begin,
                                .sample = pack_sample_make,
                                .record = pack_record_put,
                                .end = pack_end};
