/* What the tests of reporters share; see the header. */
#include "report_case.h"
#include "../support/scratch.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

cvr_plugins *report_plugins;
cvr_error report_error;

static const cvr_image_service *images;

void report_begin(void) {
    cvr_error_init(&report_error);
    scratch_open("reports");
    cr_assert_eq(cvr_plugins_open(&report_plugins, NULL, 0, &report_error), CVR_OK, "%s", report_error.message);
    cr_assert_eq(cvr_plugins_image_service(report_plugins, &images, &report_error), CVR_OK, "%s", report_error.message);
}

void report_finish(void) {
    static const char *const names[] = {
        "results.csv.1",        "steps.csv.1",          "results.csv",  "steps.csv",      "summary.json", "results.png",
        "confusion_matrix.png", "confusion_matrix.csv", "batch.png",    "val_batch0.png", "worst.png",    "labels.png",
        "per_class.csv",        "per_class.png",        "f1_curve.png", "p_r_curve.png",  "pr_curve.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) (void)unlink(scratch_path(names[i]));
    cr_expect_eq(rmdir(scratch_root), 0, "something else was left in the run folder");
    scratch_close();
    cvr_plugins_close(&report_plugins);
}

char *report_slurp(const char *name, size_t *size) {
    FILE *const f = fopen(scratch_path(name), "rb");
    if (!f) return NULL;
    char *bytes = NULL;
    size_t n = 0;
    for (size_t got = 1; got > 0; n += got) {
        bytes = realloc(bytes, n + 4097);
        got = fread(bytes + n, 1, 4096, f);
    }
    (void)fclose(f);
    bytes[n] = '\0';
    if (size) *size = n;
    return bytes;
}

void report_spill(const char *name, const char *text) {
    FILE *const f = fopen(scratch_path(name), "wb");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

void report_expect_text(const char *name, const char *wanted) {
    char *const text = report_slurp(name, NULL);
    cr_assert(text, "%s was not written", name);
    cr_expect_str_eq(text, wanted, "%s", name);
    free(text);
}

const cvr_reporter_desc *report_find(const char *name) {
    const void *desc;
    cr_assert_eq(cvr_plugins_find(report_plugins, CVR_KIND_REPORTER, name, &desc, &report_error), CVR_OK, "%s",
                 report_error.message);
    return desc;
}

static const double zeros[4] = {0, 0, 0, 0}, ones[4] = {1, 1, 1, 1};

cvr_run_info report_run(int64_t resume_step, int64_t resume_epoch) {
    return (cvr_run_info){.struct_size = sizeof(cvr_run_info),
                          .host = cvr_plugins_host(report_plugins),
                          .folder = scratch_root,
                          .task = "classify",
                          .model = "lenet",
                          .backend = "cpu",
                          .precision = "f32",
                          .version = "1.2.3",
                          .best_metric = "top1",
                          .params = 61706,
                          .epochs = 4,
                          .steps_per_epoch = 2,
                          .seed = UINT64_MAX,
                          .planned_memory_bytes = 4096,
                          .n_channels = 3,
                          .mean = zeros,
                          .std = ones,
                          .resume_step = resume_step,
                          .resume_epoch = resume_epoch};
}

void *report_open(const cvr_reporter_desc *r, const cvr_run_info *info) {
    void *self = NULL;
    cr_assert_eq(r->open(info, &self, &report_error), CVR_OK, "%s: %s", report_error.file, report_error.message);
    return self;
}

int32_t report_tell_step(const cvr_reporter_desc *r, void *self, int64_t step) {
    const cvr_step_event e = {.struct_size = sizeof e,
                              .step = step,
                              .epoch = (step + 1) / 2,
                              .loss = 1.0 / (double)step,
                              .lr = 0.1,
                              .images_per_s = 1000,
                              .data_wait_fraction = 0.25};
    return r->step ? r->step(self, &e, &report_error) : CVR_OK;
}

int32_t report_tell_epoch(const cvr_reporter_desc *r, void *self, int64_t epoch, uint32_t n_metrics,
                          const uint64_t *matrix) {
    const char *const names[] = {"train_loss", "loss", "top1"};
    const double values[] = {1.0 / (double)epoch, 1.5 / (double)epoch, 1 - 0.5 / (double)epoch};
    const cvr_epoch_event e = {.struct_size = sizeof e,
                               .epoch = epoch,
                               .step = 2 * epoch,
                               .seconds = 1.5,
                               .images_per_s = 1000,
                               .lr = 0.1,
                               .data_wait_fraction = 0.25,
                               .n_metrics = n_metrics,
                               .names = names,
                               .values = values,
                               .matrix = matrix};
    return r->epoch(self, &e, &report_error);
}

int32_t report_tell_end(const cvr_reporter_desc *r, void *self, const char *metric, double value, int64_t best_epoch) {
    const cvr_end_event e = {.struct_size = sizeof e,
                             .backend = "cpu",
                             .epochs = 4,
                             .steps = 8,
                             .train_seconds = 12.5,
                             .images_per_second = 640,
                             .data_wait_fraction = 0.25,
                             .peak_memory_bytes = 1ull << 53,
                             .best_metric = "top1",
                             .best_value = value,
                             .best_epoch = best_epoch,
                             .n_metrics = 1,
                             .finished = 1,
                             .names = &metric,
                             .values = &value,
                             .session_seconds = 6.5,
                             .step_seconds = 4,
                             .step_wait_seconds = 0.5,
                             .validation_seconds = 1.5,
                             .saving_seconds = 0.25};
    return r->end(self, &e, &report_error);
}

void report_tell_range(const cvr_reporter_desc *r, void *self, int64_t from_step, int64_t to_step) {
    for (int64_t step = from_step; step <= to_step; step++) {
        cr_assert_eq(report_tell_step(r, self, step), CVR_OK);
        if (step % 2 == 0) cr_assert_eq(report_tell_epoch(r, self, step / 2, 3, NULL), CVR_OK);
    }
}

void report_whole_run(const cvr_reporter_desc *r) {
    const cvr_run_info info = report_run(-1, -1);
    void *const self = report_open(r, &info);
    report_tell_range(r, self, 1, 8);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    r->close(self);
}

cvr_named_tensor report_tensor(const char *name, const char *kind, uint32_t dtype, const int64_t shape[4], void *data) {
    cvr_named_tensor t = {.struct_size = sizeof t, .name = name, .kind = kind};
    uint32_t rank = 0;
    while (rank < 4 && shape[rank]) rank++;
    t.tensor = (cvr_tensor){.struct_size = sizeof t.tensor, .dtype = dtype, .rank = rank, .data = data};
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) t.tensor.shape[i] = i < rank ? shape[i] : 1;
    t.tensor.pixel_stride = rank == 4 ? shape[1] : 0;
    return t;
}

const cvr_batch_event *report_batch(report_shown *b, const int64_t s[4], uint32_t dtype, const void *pixels,
                                    const int64_t *labels, const int64_t *predictions) {
    const int64_t shape[4] = {s[0], s[3], s[1], s[2]}, count[4] = {s[0]}, scores[4] = {s[0], 2};
    memset(b, 0, sizeof *b);
    b->image = report_tensor("image", CVR_FIELD_IMAGE, dtype, shape, (void *)(uintptr_t)pixels);
    b->label = report_tensor("label", CVR_FIELD_LABEL, CVR_I64, count, (void *)(uintptr_t)labels);
    b->scores = report_tensor("output", "", CVR_F32, scores, b->score);
    for (int64_t i = 0; predictions && i < s[0]; i++) b->score[2 * i + (predictions[i] == 1)] = 1;
    b->fields[0] = &b->image;
    b->fields[1] = &b->label;
    b->results[0] = &b->scores;
    b->batch = (cvr_batch_view){.struct_size = sizeof b->batch, .n = s[0], .n_fields = labels ? 2 : 1};
    b->batch.fields = b->fields;
    b->outputs = (cvr_batch_view){.struct_size = sizeof b->outputs, .n = s[0], .n_fields = 1};
    b->outputs.fields = b->results;
    b->e = (cvr_batch_event){
        .struct_size = sizeof b->e, .name = "batch", .batch = &b->batch, .outputs = predictions ? &b->outputs : NULL};
    return &b->e;
}

static void *plain_alloc(void *ctx, uint64_t bytes) {
    (void)ctx;
    return malloc(bytes);
}

cvr_image report_picture(const char *name) {
    size_t n = 0;
    char *const bytes = report_slurp(name, &n);
    cvr_image image = {.struct_size = sizeof image};
    cr_assert(bytes, "%s was not written", name);
    cr_assert_eq(images->decode(images, (const uint8_t *)bytes, n, 3, plain_alloc, NULL, &image, &report_error), CVR_OK,
                 "%s", report_error.message);
    free(bytes);
    return image;
}

const uint8_t *report_pixel(const cvr_image *image, int64_t x, int64_t y) {
    return image->data + (y * image->width + x) * 3;
}

/* ---- no memory ---- */

static int64_t allocations_left;

static void *scarce_alloc(const cvr_host *host, uint64_t bytes, uint64_t align) {
    const cvr_host *const real = cvr_plugins_host(report_plugins);
    (void)host;
    return allocations_left-- > 0 ? real->alloc(real, bytes, align) : NULL;
}

void report_without_memory(const char *reporter, int64_t share,
                           int32_t (*short_run)(const cvr_reporter_desc *r, const cvr_host *host)) {
    cvr_host host = *cvr_plugins_host(report_plugins);
    int64_t n = 0;
    host.alloc = scarce_alloc;
    for (int32_t status = CVR_ERR_NOMEM; status != CVR_OK; n += 1 + n / share) {
        allocations_left = n;
        status = short_run(report_find(reporter), &host);
        cr_assert(status == CVR_OK || status == CVR_ERR_NOMEM, "%s: %s", reporter, report_error.message);
    }
    cr_expect_gt(n, 8, "%s asked for memory only %lld times", reporter, (long long)n);
}
