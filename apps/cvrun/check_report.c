/*
 * Duplicates are pictures whose files have the same bytes, or, where the data has no file a picture, whose pixels are
 * the same. They are found by a sum of 64 bits and the length.
 */
#include "check_report.h"
#include "check_pixels.h"
#include "pack.h"
#include <cvr/plugin/formats/pack.h>
#include <stdlib.h>

/* Lines of one kind; the rest is counted. */
#define MOST_LINES 10
#define MOST_CLASS_LINES 20 /* more classes have no line each */
#define MOST_FILE (1u << 30)

static const char *const split_names[2] = {"training", "validation"};

typedef struct finger {
    uint64_t sum, n; /* of the picture's bytes; n is 0 for what cannot be read */
    uint32_t split;
    int64_t index;
} finger;

typedef struct report {
    cvr_session *session;
    cvr_batches_options o[2];
    bool has[2];
    finger *fingers;
    size_t n;
    int64_t *counts; /* (2, classes): pictures of each class */
    int64_t n_classes;
    const char *const *class_names; /* as the network has them, after data.names */
    bool several;                   /* classes a picture */
    bool objects;                   /* counts are of objects, of which a picture has any number */
    pixel_counts pixels;
} report;

int64_t check_samples(const cvr_batches_options *o) {
    const int64_t count = o->dataset->count(o->self);
    return o->limit > 0 && o->limit < count ? o->limit : count;
}

int64_t check_sample(const cvr_batches_options *o, int64_t i) {
    return (int64_t)((double)i * ((double)o->dataset->count(o->self) / (double)check_samples(o)));
}

static int32_t no_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

/* Every class that has half of a picture's share, of data with several classes a picture. */
static void count_shares(report *r, uint32_t split, const pack_sample *s) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_LABEL);
    if (!f || f->dtype != CVR_F32 || f->rank != 1 || f->shape[0] != r->n_classes) return;
    r->several = true;
    for (int64_t i = 0; i < r->n_classes; i++)
        r->counts[split * r->n_classes + i] += ((const float *)f->data)[i] >= 0.5f;
}

static void count_objects(report *r, uint32_t split, const pack_sample *s) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_BOX_LABELS);
    if (!f || f->dtype != CVR_I64 || f->rank != 1) return;
    const int64_t *labels = f->data;
    r->objects = true;
    for (int64_t i = 0; i < f->shape[0]; i++)
        if (labels[i] >= 0 && labels[i] < r->n_classes) r->counts[split * r->n_classes + labels[i]]++;
}

/* The file that the data set names, or else the pixels; the sample is only read where that is needed. */
static void look_at(report *r, uint32_t split, int64_t index, finger *out) {
    const cvr_dataset_desc *d = r->o[split].dataset;
    void *self = (void *)(uintptr_t)r->o[split].self; /* it is only read */
    const pack_source source = {.desc = d, .self = self};
    char name[4096];
    uint8_t *bytes = NULL;
    cvr_error ignored = CVR_ERROR_INIT;
    const int64_t label = d->label ? d->label(self, index) : -1;
    *out = (finger){.split = split, .index = index};
    d->describe(self, index, name, sizeof name);
    if (*name == '/' && cvr_fs_read(name, MOST_FILE, &bytes, &out->n, &ignored) == CVR_OK)
        out->sum = pack_sum(bytes, out->n);
    cvr_free(bytes);
    if (label >= 0 && label < r->n_classes) r->counts[split * r->n_classes + label]++;
    if (out->n && label >= 0) return;
    pack_sample s = {0};
    cvr_error_init(&ignored);
    if (pack_sample_read(&s, &source, index, &ignored) == CVR_OK) {
        const cvr_field *f = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE);
        if (f && out->n == 0) {
            out->n = cvr_dtype_size(f->dtype) * (uint64_t)cvr_numel(f->rank, f->shape);
            out->sum = pack_sum(f->data, out->n) ^ (uint64_t)f->shape[0];
        }
        if (label < 0) count_shares(r, split, &s);
        if (label < 0) count_objects(r, split, &s);
        pixel_counts_add(&r->pixels, split, &s.sample, name);
    }
    pack_sample_free(&s);
}

static int by_sum(const void *a, const void *b) {
    const finger *x = a, *y = b;
    if (x->sum != y->sum) return x->sum < y->sum ? -1 : 1;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    if (x->split != y->split) return x->split < y->split ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void describe(const report *r, const finger *f, char *name, size_t size) {
    r->o[f->split].dataset->describe(r->o[f->split].self, f->index, name, size);
}

/* Each picture after the first of its kind counts once: across the splits where the first is in the other. */
static void print_duplicates(report *r) {
    int64_t within[2] = {0}, across = 0, lines = 0;
    if (r->n) qsort(r->fingers, r->n, sizeof *r->fingers, by_sum);
    for (size_t i = 0, first = 0; i < r->n; i++) {
        const finger *f = &r->fingers[i], *one = &r->fingers[first];
        char a[512], b[512];
        if (f->sum != one->sum || f->n != one->n) first = i;
        if (first == i || f->n == 0) continue;
        if (f->split != one->split)
            across++;
        else
            within[f->split]++;
        if (lines++ >= MOST_LINES) continue;
        describe(r, one, a, sizeof a);
        describe(r, f, b, sizeof b);
        print_line(stdout, "duplicate: %s is the same as %s (%s, %s)", b, a, split_names[f->split],
                   split_names[one->split]);
    }
    if (lines > MOST_LINES) printf("... and %lld more\n", (long long)(lines - MOST_LINES));
    printf("duplicates: %lld within training, %lld within validation, %lld in both\n", (long long)within[0],
           (long long)within[1], (long long)across);
}

static int64_t sum_of(const report *r, uint32_t split) {
    int64_t sum = 0;
    for (int64_t i = 0; i < r->n_classes; i++) sum += r->counts[split * r->n_classes + i];
    return sum;
}

/* A line a class, where these are few. */
static void print_classes(const report *r) {
    if (r->n_classes > MOST_CLASS_LINES || sum_of(r, 0) + sum_of(r, 1) == 0) return;
    print_text("%-24s %10s %10s\n", r->objects ? "objects of class" : "pictures of class", r->has[0] ? "training" : "",
               r->has[1] ? "validation" : "");
    for (int64_t i = 0; i < r->n_classes; i++) {
        char train[32] = "", val[32] = "";
        if (r->has[0]) human_count(r->counts[i], train);
        if (r->has[1]) human_count(r->counts[r->n_classes + i], val);
        print_line(stdout, "  %-22s %10s %10s", r->class_names[i], train, val);
    }
}

static void print_balance(const report *r, uint32_t split) {
    const int64_t *n = r->counts + split * r->n_classes;
    int64_t least = 0, most = 0, empty = 0;
    const int64_t sum = sum_of(r, split);
    const char *what = r->objects ? "object" : "picture";
    char text[64];
    for (int64_t i = 0; i < r->n_classes; i++) {
        if (n[i] < n[least]) least = i;
        if (n[i] > n[most]) most = i;
        empty += n[i] == 0;
    }
    if (sum == 0) return; /* data whose samples have no class */
    if (n[least] == n[most])
        print_text("%s: %s a class\n", split_names[split], human_many(n[least], what, text));
    else
        print_line(stdout, "%s: %lld to %lld %ss a class (fewest %s, most %s), %.1f on average", split_names[split],
                   (long long)n[least], (long long)n[most], what, r->class_names[least], r->class_names[most],
                   (double)sum / (double)r->n_classes);
    if (empty)
        printf("%s: %lld of %lld classes have no %s\n", split_names[split], (long long)empty, (long long)r->n_classes,
               what);
}

/* What the network is given. */
static void print_size(const report *r) {
    cvr_session_info i;
    char channels[64];
    cvr_session_describe(r->session, &i);
    print_text("after the transforms: %s, height x width %lldx%lld at most\n",
               human_many(i.channels, "channel", channels), (long long)i.height, (long long)i.width);
}

static int32_t gather(report *r, cvr_error *err) {
    cvr_session_info info;
    int64_t total = 0;
    cvr_session_describe(r->session, &info);
    r->n_classes = info.n_classes;
    r->class_names = info.class_names;
    for (uint32_t i = 0; i < 2; i++) {
        r->has[i] = cvr_session_batch_options(r->session, i, &r->o[i]);
        if (!r->has[i]) continue;
        total += check_samples(&r->o[i]);
    }
    r->fingers = cvr_calloc((size_t)total + 1, sizeof *r->fingers);
    r->counts = cvr_calloc(2 * (size_t)r->n_classes + 1, sizeof *r->counts);
    if (!r->fingers || !r->counts) return no_memory(err);
    CVR_TRY(pixel_counts_init(&r->pixels, r->n_classes, err));
    for (uint32_t i = 0; i < 2; i++) {
        const int64_t n = r->has[i] ? check_samples(&r->o[i]) : 0;
        for (int64_t k = 0; k < n; k++) look_at(r, i, check_sample(&r->o[i], k), &r->fingers[r->n++]);
    }
    return CVR_OK;
}

int32_t check_report(cvr_session *s, cvr_error *err) {
    report r = {.session = s};
    int32_t status;
    CVR_TRY_OUT(gather(&r, err));
    print_size(&r);
    print_classes(&r);
    pixel_counts_print(&r.pixels, r.has, r.class_names);
    for (uint32_t i = 0; i < 2; i++)
        if (r.has[i]) print_balance(&r, i);
    if (r.several) printf("pictures may have several classes, or none\n");
    print_duplicates(&r);
out:
    cvr_free(r.fingers);
    cvr_free(r.counts);
    pixel_counts_free(&r.pixels);
    return status;
}
