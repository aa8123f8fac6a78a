/*
 * The reporters' tables: what they hold, and that they stay whole (resume, half rows, full disks, no memory).
 */
#include "../support/scratch.h"
#include "report_case.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(reports, .init = report_begin, .fini = report_finish);

/* ---- tables ---- */

#define STEPS_HEAD "step,epoch,loss,lr,images_per_s,data_wait_fraction\n"
#define RESULTS_HEAD "epoch,step,seconds,lr,images_per_s,data_wait_fraction,train_loss"

Test(reports, tables_hold_what_they_were_told) {
    const cvr_reporter_desc *const r = report_find("tables");
    const cvr_run_info info = report_run(-1, -1);
    void *const self = report_open(r, &info);
    report_tell_range(r, self, 1, 3);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK, "%s", report_error.message);
    report_expect_text("steps.csv",
                       STEPS_HEAD "1,1,1,0.1,1000,0.25\n2,1,0.5,0.1,1000,0.25\n3,2,0.333333333,0.1,1000,0.25\n");
    report_expect_text("results.csv", RESULTS_HEAD ",loss,top1\n1,2,1.5,0.1,1000,0.25,1,1.5,0.5\n");
    cr_assert_eq(report_tell_end(r, self, "top1", 0.875, 3), CVR_OK, "%s", report_error.message);
    r->close(self);
    report_expect_text("summary.json",
                       "{\n  \"task\": \"classify\",\n  \"model\": \"lenet\",\n  \"params\": 61706,\n"
                       "  \"epochs\": 4,\n  \"steps\": 8,\n  \"metrics\": {\"top1\": 0.875},\n"
                       "  \"best\": {\"metric\": \"top1\", \"value\": 0.875, \"epoch\": 3},\n"
                       "  \"train_seconds\": 12.5,\n  \"images_per_second\": 640,\n"
                       "  \"data_wait_fraction\": 0.25,\n  \"session_seconds\": 6.5,\n  \"step_seconds\": 4,\n"
                       "  \"step_wait_seconds\": 0.5,\n  \"validation_seconds\": 1.5,\n"
                       "  \"saving_seconds\": 0.25,\n  \"planned_memory_bytes\": 4096,\n"
                       "  \"peak_memory_bytes\": 9007199254740992,\n  \"backend\": \"cpu\",\n"
                       "  \"precision\": \"f32\",\n  \"seed\": 18446744073709551615,\n"
                       "  \"version\": \"1.2.3\"\n}\n");
}

Test(reports, named_losses_have_columns_where_there_are_several) {
    static const char *const names[] = {"boxes", "classes"};
    static const double losses[] = {0.25, 0.5};
    const cvr_reporter_desc *const r = report_find("tables");
    cvr_run_info info = report_run(-1, -1);
    cvr_step_event e = {.struct_size = sizeof e,
                        .step = 1,
                        .epoch = 1,
                        .loss = 0.75,
                        .lr = 0.1,
                        .images_per_s = 1,
                        .n_losses = 2,
                        .loss_names = names,
                        .losses = losses};
    void *self = report_open(r, &info);
    cr_assert_eq(r->step(self, &e, &report_error), CVR_OK, "%s", report_error.message);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    r->close(self);
    info = report_run(1, 0);
    self = report_open(r, &info);
    e.step = 2;
    cr_assert_eq(r->step(self, &e, &report_error), CVR_OK, "%s", report_error.message);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    r->close(self);
    report_expect_text("steps.csv", "step,epoch,loss,loss_boxes,loss_classes,lr,images_per_s,data_wait_fraction\n"
                                    "1,1,0.75,0.25,0.5,0.1,1,0\n2,1,0.75,0.25,0.5,0.1,1,0\n");
    self = report_open(r, &info);
    e.n_losses = 1;
    cr_expect_eq(r->step(self, &e, &report_error), CVR_ERR_FORMAT);
    cr_expect(strstr(report_error.message, "other losses"), "%s", report_error.message);
    r->close(self);
}

Test(reports, metrics_of_each_class_have_a_table) {
    static const char *const columns[] = {"iou", "dice"}, *const classes[] = {"cat, black", "dog"};
    static const double values[] = {0.5, 0.75, NAN, 1};
    const cvr_reporter_desc *const r = report_find("tables");
    cvr_run_info info = report_run(-1, -1);
    info.n_classes = 2;
    info.class_names = classes;
    const cvr_epoch_event e = {
        .struct_size = sizeof e, .epoch = 1, .step = 1, .columns = columns, .per_class = values, .n_columns = 2};
    void *const self = report_open(r, &info);
    cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    r->close(self);
    report_expect_text("per_class.csv", "class,iou,dice\n\"cat, black\",0.5,0.75\ndog,,1\n");
}

/* More metrics than anyone has, with names of any length. */
Test(reports, metrics_have_no_limit) {
    enum { N = 300 };
    const cvr_reporter_desc *const r = report_find("tables");
    const cvr_run_info info = report_run(-1, -1), again = report_run(1, 1);
    char names[N][128];
    const char *pointers[N];
    double values[N];
    for (int i = 0; i < N; i++) {
        (void)snprintf(names[i], sizeof names[i], "%0*d_metric", 10 + i % 100, i);
        pointers[i] = names[i];
        values[i] = i;
    }
    const cvr_epoch_event e = {
        .struct_size = sizeof e, .epoch = 1, .step = 1, .n_metrics = N, .names = pointers, .values = values};
    void *self = report_open(r, &info);
    cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK, "%s", report_error.message);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    r->close(self);
    char *const text = report_slurp("results.csv", NULL);
    for (int i = 0; i < N; i++) cr_expect(strstr(text, names[i]));
    self = report_open(r, &again);
    r->close(self);
    report_expect_text("results.csv", text);
    free(text);
}

Test(reports, every_float_survives_in_steps) {
    const cvr_reporter_desc *const r = report_find("tables");
    const cvr_run_info info = report_run(-1, -1);
    void *const self = report_open(r, &info);
    enum { N = 2000 };
    float told[N];
    uint32_t state = 1;
    for (int64_t i = 0; i < N; i++) {
        state = state * 1664525u + 1013904223u;
        told[i] = ldexpf((float)(1 + (state >> 9)), (int)(state % 60) - 40);
        const cvr_step_event e = {.struct_size = sizeof e,
                                  .step = i + 1,
                                  .epoch = 1,
                                  .loss = (double)told[i],
                                  .lr = (double)told[N - 1 - i] * 0 + 1e-3,
                                  .images_per_s = 1};
        cr_assert_eq(r->step(self, &e, &report_error), CVR_OK);
    }
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    r->close(self);
    char *const text = report_slurp("steps.csv", NULL);
    const char *row = strchr(text, '\n') + 1;
    for (int i = 0; i < N; i++, row = strchr(row, '\n') + 1) {
        cr_assert_eq(strtol(row, NULL, 10), i + 1);
        cr_assert_eq(strtof(strchr(strchr(row, ',') + 1, ',') + 1, NULL), told[i], "row %d", i);
    }
    cr_assert_eq(*row, '\0');
    free(text);
}

Test(reports, metrics_that_come_late_leave_earlier_cells_empty) {
    const cvr_reporter_desc *const r = report_find("tables");
    const cvr_run_info info = report_run(-1, -1);
    void *const self = report_open(r, &info);
    cr_assert_eq(report_tell_epoch(r, self, 1, 1, NULL), CVR_OK);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    report_expect_text("results.csv", RESULTS_HEAD "\n1,2,1.5,0.1,1000,0.25,1\n");
    cr_assert_eq(report_tell_epoch(r, self, 2, 3, NULL), CVR_OK);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    r->close(self);
    const cvr_run_info again = report_run(4, 2);
    void *const resumed = report_open(r, &again);
    cr_assert_eq(report_tell_epoch(r, resumed, 3, 1, NULL), CVR_OK);
    cr_assert_eq(r->flush(resumed, &report_error), CVR_OK);
    r->close(resumed);
    report_expect_text("results.csv", RESULTS_HEAD ",loss,top1\n1,2,1.5,0.1,1000,0.25,1,,\n"
                                                   "2,4,1.5,0.1,1000,0.25,0.5,0.75,0.75\n"
                                                   "3,6,1.5,0.1,1000,0.25,0.333333333,,\n");
}

/* A loss that was no number is one that was computed, which a metric that there is not is not. */
Test(reports, losses_that_are_not_finite_are_words) {
    static const char *const names[] = {"train_loss", "loss", "loss_box", "map"};
    static const double values[] = {INFINITY, NAN, 2, NAN};
    static const char wanted[] = RESULTS_HEAD ",loss,loss_box,map\n1,2,3,0.1,5,0.25,inf,nan,2,\n";
    const cvr_reporter_desc *const r = report_find("tables");
    const cvr_run_info info = report_run(-1, -1), again = report_run(2, 1);
    const cvr_epoch_event e = {.struct_size = sizeof e,
                               .epoch = 1,
                               .step = 2,
                               .seconds = 3,
                               .lr = 0.1,
                               .images_per_s = 5,
                               .data_wait_fraction = 0.25,
                               .n_metrics = 4,
                               .names = names,
                               .values = values};
    void *self = report_open(r, &info);
    cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK, "%s", report_error.message);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    r->close(self);
    report_expect_text("results.csv", wanted);
    self = report_open(r, &again);
    r->close(self);
    report_expect_text("results.csv", wanted);
}

/* A minimal JSON reader: the end of the value at `s`, or NULL. */
static const char *json_value(const char *s) {
    s += strspn(s, " \n");
    if (*s == '"') {
        for (s++; *s && *s != '"'; s++) {
            if ((unsigned char)*s < 0x20) return NULL;
            if (*s == '\\' && !strchr("\"\\/bfnrtu", *++s)) return NULL;
        }
        return *s ? s + 1 : NULL;
    }
    if (*s == '{') {
        do {
            s = json_value(s + 1);
            if (!s || *s != ':') return NULL;
            s = json_value(s + 1);
            if (!s) return NULL;
            s += strspn(s, " \n");
        } while (*s == ',');
        return *s == '}' ? s + 1 : NULL;
    }
    if (strncmp(s, "null", 4) == 0) return s + 4;
    const size_t n = strspn(s, "+-.eE0123456789");
    return n > 0 ? s + n : NULL;
}

Test(reports, summary_is_json_whatever_the_names) {
    const cvr_reporter_desc *const r = report_find("tables");
    cvr_run_info info = report_run(-1, -1);
    info.model = "quote\" back\\slash \x01 \xff\xc3(\xed\xa0\x80 \xc3\xa9";
    void *const self = report_open(r, &info);
    cr_assert_eq(report_tell_end(r, self, "a\nb", NAN, 0), CVR_OK);
    r->close(self);
    char *const text = report_slurp("summary.json", NULL);
    const char *const end = json_value(text);
    cr_assert(end && strcmp(end, "\n") == 0, "%s", text);
    cr_expect(strstr(text, "\"quote\\\" back\\\\slash \\u0001 \\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd \xc3\xa9\""));
    cr_expect(strstr(text, "{\"metric\": \"top1\", \"value\": null, \"epoch\": null}"));
    cr_expect(strstr(text, "{\"a\\u000ab\": null}"));
    free(text);
}

/* ---- resuming ---- */

Test(reports, a_resumed_run_leaves_the_same_tables) {
    const cvr_reporter_desc *const r = report_find("tables");
    report_whole_run(r);
    char *const steps = report_slurp("steps.csv", NULL), *const results = report_slurp("results.csv", NULL);
    const size_t n_steps = strlen(steps), n_results = strlen(results);
    /* However many bytes were left, a run that goes on from any step that they hold ends the same. */
    for (int64_t step = 0; step <= 8; step++) {
        const char *row = steps, *result_row = results;
        for (int64_t i = 0; i <= step; i++) row = strchr(row, '\n') + 1;
        for (int64_t i = 0; i <= step / 2; i++) result_row = strchr(result_row, '\n') + 1;
        for (size_t keep = step ? (size_t)(row - steps) : 0; keep <= n_steps; keep += 3) {
            const size_t least = step >= 2 ? (size_t)(result_row - results) : 0;
            const size_t keep_results = least + keep * 7 % (n_results - least + 1);
            FILE *f = fopen(scratch_path("steps.csv"), "wb");
            cr_assert(f && fwrite(steps, 1, keep, f) == keep && fclose(f) == 0);
            f = fopen(scratch_path("results.csv"), "wb");
            cr_assert(f && fwrite(results, 1, keep_results, f) == keep_results && fclose(f) == 0);
            const cvr_run_info info = report_run(step, step / 2);
            void *const self = report_open(r, &info);
            report_tell_range(r, self, step + 1, 8);
            cr_assert_eq(r->flush(self, &report_error), CVR_OK);
            r->close(self);
            report_expect_text("steps.csv", steps);
            report_expect_text("results.csv", results);
            (void)unlink(scratch_path("steps.csv.1")); /* of a run that starts over */
            (void)unlink(scratch_path("results.csv.1"));
        }
    }
    free(steps);
    free(results);
}

Test(reports, rows_that_do_not_count_are_gone_at_once) {
    const cvr_reporter_desc *const r = report_find("tables");
    report_whole_run(r);
    const cvr_run_info info = report_run(3, 1);
    r->close(report_open(r, &info));
    report_expect_text("steps.csv",
                       STEPS_HEAD "1,1,1,0.1,1000,0.25\n2,1,0.5,0.1,1000,0.25\n3,2,0.333333333,0.1,1000,0.25\n");
    report_expect_text("results.csv", RESULTS_HEAD ",loss,top1\n1,2,1.5,0.1,1000,0.25,1,1.5,0.5\n");
}

/* Whose checkpoints are lost, the run starts over, and what it has told may be all that is left of it. */
Test(reports, tables_of_a_run_that_starts_over_are_kept) {
    const cvr_reporter_desc *const r = report_find("tables");
    report_whole_run(r);
    char *const steps = report_slurp("steps.csv", NULL), *const results = report_slurp("results.csv", NULL);
    const cvr_run_info none = report_run(0, 0);
    r->close(report_open(r, &none));
    cr_expect_eq(access(scratch_path("results.csv"), F_OK), -1);
    report_expect_text("steps.csv.1", steps);
    report_expect_text("results.csv.1", results);
    report_spill("results.csv", results);
    r->close(report_open(r, &none));
    report_expect_text("results.csv.2", results);
    (void)unlink(scratch_path("results.csv.2"));
    free(steps);
    free(results);
}

Test(reports, a_table_of_someone_else_is_left_alone) {
    const cvr_reporter_desc *const r = report_find("tables");
    static const char *const names[] = {"steps.csv", "results.csv"};
    static const char theirs[] = "name,phone\nsomebody,123 and more and more and more and more and more and more\n";
    const cvr_run_info info = report_run(3, 1);
    for (size_t i = 0; i < 2; i++) {
        void *self = NULL;
        report_spill(names[i], theirs);
        cr_expect_eq(r->open(&info, &self, &report_error), CVR_ERR_FORMAT);
        cr_expect(strstr(report_error.file, names[i]), "%s", report_error.file);
        report_expect_text(names[i], theirs);
        (void)unlink(scratch_path(names[i]));
    }
}

/* ---- trouble ---- */

Test(reports, a_full_disk_is_an_error_that_names_the_file) {
    const cvr_reporter_desc *const r = report_find("tables");
    const cvr_run_info info = report_run(-1, -1);
    void *const self = report_open(r, &info);
    cr_assert_eq(symlink("/dev/full", scratch_path("steps.csv")), 0);
    report_tell_range(r, self, 1, 2);
    cr_assert_eq(r->flush(self, &report_error), CVR_ERR_IO);
    cr_expect_str_eq(report_error.file, scratch_path("steps.csv"));
    cr_expect_str_eq(report_error.message,
                     "cannot write it: No space left on device; free space and resume with cvrun train --resume");
    r->close(self);
}

static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(reports, rows_stay_whole_when_space_runs_out) {
    const cvr_reporter_desc *const r = report_find("tables");
    const cvr_run_info info = report_run(-1, -1);
    void *const self = report_open(r, &info);
    report_tell_range(r, self, 1, 2);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    size_t n_steps = 0, n_results = 0;
    char *const steps = report_slurp("steps.csv", &n_steps), *const results = report_slurp("results.csv", &n_results);
    report_tell_range(r, self, 3, 8);
    limit_files(n_steps + 30);
    cr_assert_eq(r->flush(self, &report_error), CVR_ERR_IO);
    report_expect_text("steps.csv", steps);
    report_expect_text("results.csv", results);
    limit_files(RLIM_INFINITY);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
    char *const all = report_slurp("steps.csv", NULL), *const all_results = report_slurp("results.csv", NULL);
    report_whole_run(r);
    report_expect_text("steps.csv", all);
    report_expect_text("results.csv", all_results);
    free(steps);
    free(results);
    free(all);
    free(all_results);
}

Test(reports, results_stay_whole_when_space_runs_out) {
    const cvr_reporter_desc *const r = report_find("tables");
    const cvr_run_info info = report_run(-1, -1);
    void *const self = report_open(r, &info);
    cr_assert_eq(report_tell_epoch(r, self, 1, 3, NULL), CVR_OK);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK);
    char *const results = report_slurp("results.csv", NULL);
    for (int64_t epoch = 2; epoch < 9; epoch++) cr_assert_eq(report_tell_epoch(r, self, epoch, 3, NULL), CVR_OK);
    limit_files(200);
    cr_assert_eq(r->flush(self, &report_error), CVR_ERR_IO);
    cr_expect_str_eq(report_error.file, scratch_path("results.csv"));
    report_expect_text("results.csv", results);
    limit_files(RLIM_INFINITY);
    r->close(self);
    free(results);
}

static const void *no_service(const cvr_host *host, const char *service) {
    (void)host;
    (void)service;
    return NULL;
}

Test(reports, without_a_codec_the_plugin_is_named) {
    const cvr_reporter_desc *const r = report_find("curves");
    cvr_host host = *cvr_plugins_host(report_plugins);
    cvr_run_info info = report_run(-1, -1);
    host.get = no_service;
    info.host = &host;
    void *const self = report_open(r, &info);
    cr_assert_eq(report_tell_epoch(r, self, 1, 3, NULL), CVR_OK);
    cr_assert_eq(r->flush(self, &report_error), CVR_ERR_NOTFOUND);
    cr_expect(strstr(report_error.message, "codec_png"), "%s", report_error.message);
    cr_expect_str_eq(report_error.file, scratch_path("results.png"));
    r->close(self);
}

static int64_t allocations_left;

static void *scarce_alloc(const cvr_host *host, uint64_t bytes, uint64_t align) {
    if (allocations_left-- <= 0) return NULL;
    const cvr_host *const real = cvr_plugins_host(report_plugins);
    (void)host;
    return real->alloc(real, bytes, align);
}

/* One reporter through a whole run, up to its first failure. */
static int32_t short_run(const cvr_reporter_desc *r, const cvr_run_info *info) {
    static const uint64_t matrix[4] = {5, 1, 2, 6};
    static const float pixels[2 * 3 * 3 * 3] = {0.5f};
    static const int64_t labels[2] = {0, 1};
    report_shown batch;
    (void)report_batch(&batch, (int64_t[4]){2, 3, 3, 3}, CVR_F32, pixels, labels, NULL);
    void *self = NULL;
    int32_t status = CVR_OK;
    CVR_TRY(r->open(info, &self, &report_error));
    if (r->batch) CVR_TRY_OUT(r->batch(self, &batch.e, &report_error));
    CVR_TRY_OUT(report_tell_step(r, self, 1));
    if (r->epoch) CVR_TRY_OUT(report_tell_epoch(r, self, 1, 3, matrix));
    if (r->flush) CVR_TRY_OUT(r->flush(self, &report_error));
    if (r->end) CVR_TRY_OUT(report_tell_end(r, self, "top1", 0.5, 1));
out:
    r->close(self);
    return status;
}

Test(reports, no_memory_is_an_error_wherever_it_happens) {
    static const char *const names[] = {"tables", "curves", "pictures"};
    static const char *const classes[] = {"cat", "dog"};
    cvr_host host = *cvr_plugins_host(report_plugins);
    cvr_run_info info = report_run(-1, -1);
    host.alloc = scarce_alloc;
    info.host = &host;
    info.n_classes = 2;
    info.class_names = classes;
    for (size_t i = 0; i < 3; i++) {
        int64_t n = 0;
        for (int32_t status = CVR_ERR_NOMEM; status != CVR_OK; n++) {
            allocations_left = n;
            status = short_run(report_find(names[i]), &info);
            cr_assert(status == CVR_OK || status == CVR_ERR_NOMEM, "%s: %s", names[i], report_error.message);
        }
        cr_expect_gt(n, 4, "%s asked for memory only %lld times", names[i], (long long)n);
    }
}
