/*
 * The reporters: what the tables hold, that they stay whole (resume, half rows, full disks, no memory), and that the
 * pictures show what they were given.
 */
#include <criterion/criterion.h>
#include <cvr/plugin/plugin.h>
#include <cvr/plugins.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static cvr_plugins *plugins;
static const cvr_image_service *images;
static cvr_error error;
static char folder[64];

static void begin(void) {
    cvr_error_init(&error);
    (void)snprintf(folder, sizeof folder, "/tmp/reports_test.XXXXXX");
    cr_assert(mkdtemp(folder));
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &error), CVR_OK, "%s", error.message);
    cr_assert_eq(cvr_plugins_image_service(plugins, &images, &error), CVR_OK, "%s", error.message);
}

static const char *path_of(const char *name) {
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void finish(void) {
    static const char *const names[] = {
        "results.csv",          "steps.csv", "summary.json", "results.png", "confusion_matrix.png",
        "confusion_matrix.csv", "batch.png", "per_class.csv"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) (void)unlink(path_of(names[i]));
    cr_expect_eq(rmdir(folder), 0, "something else was left in the run folder: %s", strerror(errno));
    cvr_plugins_close(&plugins);
}

TestSuite(reports, .init = begin, .fini = finish);

/* All bytes of a file, with a zero after them; NULL where there is none. The caller frees. */
static char *slurp(const char *name, size_t *size) {
    FILE *const f = fopen(path_of(name), "rb");
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

static void spill(const char *name, const char *text) {
    FILE *const f = fopen(path_of(name), "wb");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void expect_text(const char *name, const char *wanted) {
    char *const text = slurp(name, NULL);
    cr_assert(text, "%s was not written", name);
    cr_expect_str_eq(text, wanted, "%s", name);
    free(text);
}

static const cvr_reporter_desc *reporter(const char *name) {
    const void *desc;
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_REPORTER, name, &desc, &error), CVR_OK, "%s", error.message);
    return desc;
}

static const double zeros[4] = {0, 0, 0, 0}, ones[4] = {1, 1, 1, 1};

static cvr_run_info run_info(int64_t resume_step, int64_t resume_epoch) {
    return (cvr_run_info){.struct_size = sizeof(cvr_run_info),
                          .host = cvr_plugins_host(plugins),
                          .folder = folder,
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

static void *open_reporter(const cvr_reporter_desc *r, const cvr_run_info *info) {
    void *self = NULL;
    cr_assert_eq(r->open(info, &self, &error), CVR_OK, "%s: %s", error.file, error.message);
    return self;
}

static int32_t tell_step(const cvr_reporter_desc *r, void *self, int64_t step) {
    const cvr_step_event e = {.struct_size = sizeof e,
                              .step = step,
                              .epoch = (step + 1) / 2,
                              .loss = 1.0 / (double)step,
                              .lr = 0.1,
                              .images_per_s = 1000,
                              .data_wait_fraction = 0.25};
    return r->step ? r->step(self, &e, &error) : CVR_OK;
}

static int32_t tell_epoch(const cvr_reporter_desc *r, void *self, int64_t epoch, uint32_t n_metrics,
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
    return r->epoch(self, &e, &error);
}

static int32_t tell_end(const cvr_reporter_desc *r, void *self, const char *metric, double value, int64_t best_epoch) {
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
    return r->end(self, &e, &error);
}

static void tell_range(const cvr_reporter_desc *r, void *self, int64_t from_step, int64_t to_step) {
    for (int64_t step = from_step; step <= to_step; step++) {
        cr_assert_eq(tell_step(r, self, step), CVR_OK);
        if (step % 2 == 0) cr_assert_eq(tell_epoch(r, self, step / 2, 3, NULL), CVR_OK);
    }
}

/* ---- tables ---- */

#define STEPS_HEAD "step,epoch,loss,lr,images_per_s,data_wait_fraction\n"
#define RESULTS_HEAD "epoch,step,seconds,lr,images_per_s,data_wait_fraction,train_loss"

Test(reports, tables_hold_what_they_were_told) {
    const cvr_reporter_desc *const r = reporter("tables");
    const cvr_run_info info = run_info(-1, -1);
    void *const self = open_reporter(r, &info);
    tell_range(r, self, 1, 3);
    cr_assert_eq(r->flush(self, &error), CVR_OK, "%s", error.message);
    expect_text("steps.csv", STEPS_HEAD "1,1,1,0.1,1000,0.25\n2,1,0.5,0.1,1000,0.25\n3,2,0.333333333,0.1,1000,0.25\n");
    expect_text("results.csv", RESULTS_HEAD ",loss,top1\n1,2,1.5,0.1,1000,0.25,1,1.5,0.5\n");
    cr_assert_eq(tell_end(r, self, "top1", 0.875, 3), CVR_OK, "%s", error.message);
    r->close(self);
    expect_text("summary.json", "{\n  \"task\": \"classify\",\n  \"model\": \"lenet\",\n  \"params\": 61706,\n"
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
    const cvr_reporter_desc *const r = reporter("tables");
    cvr_run_info info = run_info(-1, -1);
    cvr_step_event e = {.struct_size = sizeof e,
                        .step = 1,
                        .epoch = 1,
                        .loss = 0.75,
                        .lr = 0.1,
                        .images_per_s = 1,
                        .n_losses = 2,
                        .loss_names = names,
                        .losses = losses};
    void *self = open_reporter(r, &info);
    cr_assert_eq(r->step(self, &e, &error), CVR_OK, "%s", error.message);
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    r->close(self);
    info = run_info(1, 0);
    self = open_reporter(r, &info);
    e.step = 2;
    cr_assert_eq(r->step(self, &e, &error), CVR_OK, "%s", error.message);
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    r->close(self);
    expect_text("steps.csv", "step,epoch,loss,loss_boxes,loss_classes,lr,images_per_s,data_wait_fraction\n"
                             "1,1,0.75,0.25,0.5,0.1,1,0\n2,1,0.75,0.25,0.5,0.1,1,0\n");
    self = open_reporter(r, &info);
    e.n_losses = 1;
    cr_expect_eq(r->step(self, &e, &error), CVR_ERR_FORMAT);
    cr_expect(strstr(error.message, "other losses"), "%s", error.message);
    r->close(self);
}

Test(reports, metrics_of_each_class_have_a_table) {
    static const char *const columns[] = {"iou", "dice"}, *const classes[] = {"cat, black", "dog"};
    static const double values[] = {0.5, 0.75, NAN, 1};
    const cvr_reporter_desc *const r = reporter("tables");
    cvr_run_info info = run_info(-1, -1);
    info.n_classes = 2;
    info.class_names = classes;
    const cvr_epoch_event e = {
        .struct_size = sizeof e, .epoch = 1, .step = 1, .columns = columns, .per_class = values, .n_columns = 2};
    void *const self = open_reporter(r, &info);
    cr_assert_eq(r->epoch(self, &e, &error), CVR_OK);
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    r->close(self);
    expect_text("per_class.csv", "class,iou,dice\n\"cat, black\",0.5,0.75\ndog,,1\n");
}

/* More metrics than anyone has, with names of any length. */
Test(reports, metrics_have_no_limit) {
    enum { N = 300 };
    const cvr_reporter_desc *const r = reporter("tables");
    const cvr_run_info info = run_info(-1, -1), again = run_info(1, 1);
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
    void *self = open_reporter(r, &info);
    cr_assert_eq(r->epoch(self, &e, &error), CVR_OK, "%s", error.message);
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    r->close(self);
    char *const text = slurp("results.csv", NULL);
    for (int i = 0; i < N; i++) cr_expect(strstr(text, names[i]));
    self = open_reporter(r, &again);
    r->close(self);
    expect_text("results.csv", text);
    free(text);
}

Test(reports, every_float_survives_in_steps) {
    const cvr_reporter_desc *const r = reporter("tables");
    const cvr_run_info info = run_info(-1, -1);
    void *const self = open_reporter(r, &info);
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
        cr_assert_eq(r->step(self, &e, &error), CVR_OK);
    }
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    r->close(self);
    char *const text = slurp("steps.csv", NULL);
    const char *row = strchr(text, '\n') + 1;
    for (int i = 0; i < N; i++, row = strchr(row, '\n') + 1) {
        cr_assert_eq(strtol(row, NULL, 10), i + 1);
        cr_assert_eq(strtof(strchr(strchr(row, ',') + 1, ',') + 1, NULL), told[i], "row %d", i);
    }
    cr_assert_eq(*row, '\0');
    free(text);
}

Test(reports, metrics_that_come_late_leave_earlier_cells_empty) {
    const cvr_reporter_desc *const r = reporter("tables");
    const cvr_run_info info = run_info(-1, -1);
    void *const self = open_reporter(r, &info);
    cr_assert_eq(tell_epoch(r, self, 1, 1, NULL), CVR_OK);
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    expect_text("results.csv", RESULTS_HEAD "\n1,2,1.5,0.1,1000,0.25,1\n");
    cr_assert_eq(tell_epoch(r, self, 2, 3, NULL), CVR_OK);
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    r->close(self);
    const cvr_run_info again = run_info(4, 2);
    void *const resumed = open_reporter(r, &again);
    cr_assert_eq(tell_epoch(r, resumed, 3, 1, NULL), CVR_OK);
    cr_assert_eq(r->flush(resumed, &error), CVR_OK);
    r->close(resumed);
    expect_text("results.csv", RESULTS_HEAD ",loss,top1\n1,2,1.5,0.1,1000,0.25,1,,\n"
                                            "2,4,1.5,0.1,1000,0.25,0.5,0.75,0.75\n"
                                            "3,6,1.5,0.1,1000,0.25,0.333333333,,\n");
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
    const cvr_reporter_desc *const r = reporter("tables");
    cvr_run_info info = run_info(-1, -1);
    info.model = "quote\" back\\slash \x01 \xff\xc3(\xed\xa0\x80 \xc3\xa9";
    void *const self = open_reporter(r, &info);
    cr_assert_eq(tell_end(r, self, "a\nb", NAN, 0), CVR_OK);
    r->close(self);
    char *const text = slurp("summary.json", NULL);
    const char *const end = json_value(text);
    cr_assert(end && strcmp(end, "\n") == 0, "%s", text);
    cr_expect(strstr(text, "\"quote\\\" back\\\\slash \\u0001 \\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd \xc3\xa9\""));
    cr_expect(strstr(text, "{\"metric\": \"top1\", \"value\": null, \"epoch\": null}"));
    cr_expect(strstr(text, "{\"a\\u000ab\": null}"));
    free(text);
}

/* ---- resuming ---- */

/* Leaves what a run that was never cut off leaves. */
static void whole_run(const cvr_reporter_desc *r) {
    const cvr_run_info info = run_info(-1, -1);
    void *const self = open_reporter(r, &info);
    tell_range(r, self, 1, 8);
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    r->close(self);
}

Test(reports, a_resumed_run_leaves_the_same_tables) {
    const cvr_reporter_desc *const r = reporter("tables");
    whole_run(r);
    char *const steps = slurp("steps.csv", NULL), *const results = slurp("results.csv", NULL);
    const size_t n_steps = strlen(steps), n_results = strlen(results);
    /* However many bytes were left, a run that goes on from any step that they hold ends the same. */
    for (int64_t step = 0; step <= 8; step++) {
        const char *row = steps, *result_row = results;
        for (int64_t i = 0; i <= step; i++) row = strchr(row, '\n') + 1;
        for (int64_t i = 0; i <= step / 2; i++) result_row = strchr(result_row, '\n') + 1;
        for (size_t keep = step ? (size_t)(row - steps) : 0; keep <= n_steps; keep += 3) {
            const size_t least = step >= 2 ? (size_t)(result_row - results) : 0;
            const size_t keep_results = least + keep * 7 % (n_results - least + 1);
            FILE *f = fopen(path_of("steps.csv"), "wb");
            cr_assert(f && fwrite(steps, 1, keep, f) == keep && fclose(f) == 0);
            f = fopen(path_of("results.csv"), "wb");
            cr_assert(f && fwrite(results, 1, keep_results, f) == keep_results && fclose(f) == 0);
            const cvr_run_info info = run_info(step, step / 2);
            void *const self = open_reporter(r, &info);
            tell_range(r, self, step + 1, 8);
            cr_assert_eq(r->flush(self, &error), CVR_OK);
            r->close(self);
            expect_text("steps.csv", steps);
            expect_text("results.csv", results);
        }
    }
    free(steps);
    free(results);
}

Test(reports, rows_that_do_not_count_are_gone_at_once) {
    const cvr_reporter_desc *const r = reporter("tables");
    whole_run(r);
    const cvr_run_info info = run_info(3, 1);
    r->close(open_reporter(r, &info));
    expect_text("steps.csv", STEPS_HEAD "1,1,1,0.1,1000,0.25\n2,1,0.5,0.1,1000,0.25\n3,2,0.333333333,0.1,1000,0.25\n");
    expect_text("results.csv", RESULTS_HEAD ",loss,top1\n1,2,1.5,0.1,1000,0.25,1,1.5,0.5\n");
    const cvr_run_info none = run_info(0, 0);
    r->close(open_reporter(r, &none));
    cr_expect_eq(access(path_of("results.csv"), F_OK), -1);
}

Test(reports, a_table_of_someone_else_is_left_alone) {
    const cvr_reporter_desc *const r = reporter("tables");
    static const char *const names[] = {"steps.csv", "results.csv"};
    static const char theirs[] = "name,phone\nsomebody,123 and more and more and more and more and more and more\n";
    const cvr_run_info info = run_info(3, 1);
    for (size_t i = 0; i < 2; i++) {
        void *self = NULL;
        spill(names[i], theirs);
        cr_expect_eq(r->open(&info, &self, &error), CVR_ERR_FORMAT);
        cr_expect(strstr(error.file, names[i]), "%s", error.file);
        expect_text(names[i], theirs);
        (void)unlink(path_of(names[i]));
    }
}

/* ---- trouble ---- */

Test(reports, a_full_disk_is_an_error_that_names_the_file) {
    const cvr_reporter_desc *const r = reporter("tables");
    const cvr_run_info info = run_info(-1, -1);
    void *const self = open_reporter(r, &info);
    cr_assert_eq(symlink("/dev/full", path_of("steps.csv")), 0);
    tell_range(r, self, 1, 2);
    cr_assert_eq(r->flush(self, &error), CVR_ERR_IO);
    cr_expect_str_eq(error.file, path_of("steps.csv"));
    cr_expect_str_eq(error.message,
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
    const cvr_reporter_desc *const r = reporter("tables");
    const cvr_run_info info = run_info(-1, -1);
    void *const self = open_reporter(r, &info);
    tell_range(r, self, 1, 2);
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    size_t n_steps = 0, n_results = 0;
    char *const steps = slurp("steps.csv", &n_steps), *const results = slurp("results.csv", &n_results);
    tell_range(r, self, 3, 8);
    limit_files(n_steps + 30);
    cr_assert_eq(r->flush(self, &error), CVR_ERR_IO);
    expect_text("steps.csv", steps);
    expect_text("results.csv", results);
    limit_files(RLIM_INFINITY);
    cr_assert_eq(r->flush(self, &error), CVR_OK, "%s", error.message);
    r->close(self);
    char *const all = slurp("steps.csv", NULL), *const all_results = slurp("results.csv", NULL);
    whole_run(r);
    expect_text("steps.csv", all);
    expect_text("results.csv", all_results);
    free(steps);
    free(results);
    free(all);
    free(all_results);
}

Test(reports, results_stay_whole_when_space_runs_out) {
    const cvr_reporter_desc *const r = reporter("tables");
    const cvr_run_info info = run_info(-1, -1);
    void *const self = open_reporter(r, &info);
    cr_assert_eq(tell_epoch(r, self, 1, 3, NULL), CVR_OK);
    cr_assert_eq(r->flush(self, &error), CVR_OK);
    char *const results = slurp("results.csv", NULL);
    for (int64_t epoch = 2; epoch < 9; epoch++) cr_assert_eq(tell_epoch(r, self, epoch, 3, NULL), CVR_OK);
    limit_files(200);
    cr_assert_eq(r->flush(self, &error), CVR_ERR_IO);
    cr_expect_str_eq(error.file, path_of("results.csv"));
    expect_text("results.csv", results);
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
    const cvr_reporter_desc *const r = reporter("curves");
    cvr_host host = *cvr_plugins_host(plugins);
    cvr_run_info info = run_info(-1, -1);
    host.get = no_service;
    info.host = &host;
    void *const self = open_reporter(r, &info);
    cr_assert_eq(tell_epoch(r, self, 1, 3, NULL), CVR_OK);
    cr_assert_eq(r->flush(self, &error), CVR_ERR_NOTFOUND);
    cr_expect(strstr(error.message, "codec_png"), "%s", error.message);
    cr_expect_str_eq(error.file, path_of("results.png"));
    r->close(self);
}

static int64_t allocations_left;

static void *scarce_alloc(const cvr_host *host, uint64_t bytes, uint64_t align) {
    if (allocations_left-- <= 0) return NULL;
    const cvr_host *const real = cvr_plugins_host(plugins);
    (void)host;
    return real->alloc(real, bytes, align);
}

/* A batch of pictures (n, height, width, channels) in memory, with what is known of them. */
typedef struct shown_batch {
    cvr_named_tensor image, label, scores;
    const cvr_named_tensor *fields[2], *results[1];
    cvr_batch_view batch, outputs;
    float score[256];
    cvr_batch_event e;
} shown_batch;

static cvr_tensor tensor_of(uint32_t dtype, uint32_t rank, const int64_t *shape, const void *data) {
    cvr_tensor t = {.struct_size = sizeof t, .dtype = dtype, .rank = rank, .data = (void *)(uintptr_t)data};
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) t.shape[i] = i < rank ? shape[i] : 1;
    t.pixel_stride = rank == 4 ? shape[1] : 0;
    return t;
}

/* `predictions` become scores of two classes. */
static const cvr_batch_event *batch_of(shown_batch *b, const int64_t s[4], uint32_t dtype, const void *pixels,
                                       const int64_t *labels, const int64_t *predictions) {
    const int64_t shape[4] = {s[0], s[3], s[1], s[2]}, scores[2] = {s[0], 2};
    memset(b, 0, sizeof *b);
    b->image = (cvr_named_tensor){sizeof b->image, "image", CVR_FIELD_IMAGE, tensor_of(dtype, 4, shape, pixels), NULL};
    b->label = (cvr_named_tensor){sizeof b->label, "label", CVR_FIELD_LABEL, tensor_of(CVR_I64, 1, s, labels), NULL};
    b->scores = (cvr_named_tensor){sizeof b->scores, "output", "", tensor_of(CVR_F32, 2, scores, b->score), NULL};
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

/* One reporter through a whole run, up to its first failure. */
static int32_t short_run(const cvr_reporter_desc *r, const cvr_run_info *info) {
    static const uint64_t matrix[4] = {5, 1, 2, 6};
    static const float pixels[2 * 3 * 3 * 3] = {0.5f};
    static const int64_t labels[2] = {0, 1};
    shown_batch batch;
    (void)batch_of(&batch, (int64_t[4]){2, 3, 3, 3}, CVR_F32, pixels, labels, NULL);
    void *self = NULL;
    int32_t status = CVR_OK;
    CVR_TRY(r->open(info, &self, &error));
    if (r->batch) CVR_TRY_OUT(r->batch(self, &batch.e, &error));
    CVR_TRY_OUT(tell_step(r, self, 1));
    if (r->epoch) CVR_TRY_OUT(tell_epoch(r, self, 1, 3, matrix));
    if (r->flush) CVR_TRY_OUT(r->flush(self, &error));
    if (r->end) CVR_TRY_OUT(tell_end(r, self, "top1", 0.5, 1));
out:
    r->close(self);
    return status;
}

Test(reports, no_memory_is_an_error_wherever_it_happens) {
    static const char *const names[] = {"tables", "curves", "pictures"};
    static const char *const classes[] = {"cat", "dog"};
    cvr_host host = *cvr_plugins_host(plugins);
    cvr_run_info info = run_info(-1, -1);
    host.alloc = scarce_alloc;
    info.host = &host;
    info.n_classes = 2;
    info.class_names = classes;
    for (size_t i = 0; i < 3; i++) {
        int64_t n = 0;
        for (int32_t status = CVR_ERR_NOMEM; status != CVR_OK; n++) {
            allocations_left = n;
            status = short_run(reporter(names[i]), &info);
            cr_assert(status == CVR_OK || status == CVR_ERR_NOMEM, "%s: %s", names[i], error.message);
        }
        cr_expect_gt(n, 4, "%s asked for memory only %lld times", names[i], (long long)n);
    }
}

/* ---- pictures ---- */

static void *plain_alloc(void *ctx, uint64_t bytes) {
    (void)ctx;
    return malloc(bytes);
}

/* The caller frees its data. */
static cvr_image picture(const char *name) {
    size_t n = 0;
    char *const bytes = slurp(name, &n);
    cvr_image image = {.struct_size = sizeof image};
    cr_assert(bytes, "%s was not written", name);
    cr_assert_eq(images->decode(images, (const uint8_t *)bytes, n, 3, plain_alloc, NULL, &image, &error), CVR_OK, "%s",
                 error.message);
    free(bytes);
    return image;
}

static const uint8_t *pixel(const cvr_image *image, int64_t x, int64_t y) {
    return image->data + (y * image->width + x) * 3;
}

static void show_batch(const cvr_run_info *info, const cvr_batch_event *e) {
    const cvr_reporter_desc *const r = reporter("pictures");
    void *const self = open_reporter(r, info);
    cr_assert_eq(r->batch(self, e, &error), CVR_OK, "%s", error.message);
    r->close(self);
}

/* Every level of every channel comes back from `(x - mean) / std`; `factor` is how much larger it is shown. */
static void expect_shown(int64_t height, int64_t width, int64_t channels, int64_t factor, bool u8) {
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    const int64_t n = height * width * channels;
    float *const pixels = malloc((size_t)n * sizeof *pixels);
    uint8_t *const levels = malloc((size_t)n);
    for (int64_t i = 0; i < n; i++) {
        levels[i] = (uint8_t)(i * 37 + i / 256);
        pixels[i] = (float)((levels[i] / 255.0 - mean[i % channels]) / std[i % channels]);
    }
    cvr_run_info info = run_info(-1, -1);
    info.n_channels = channels;
    info.mean = mean;
    info.std = std;
    shown_batch b;
    show_batch(&info, batch_of(&b, (int64_t[4]){1, height, width, channels}, u8 ? CVR_U8 : CVR_F32,
                               u8 ? (const void *)levels : pixels, NULL, NULL));
    cvr_image shown = picture("batch.png");
    cr_assert_geq(shown.width, width * factor + 24);
    for (int64_t y = 0; y < height * factor; y++) {
        for (int64_t x = 0; x < width * factor; x++) {
            const uint8_t *const wanted = levels + (y / factor * width + x / factor) * channels;
            for (int64_t c = 0; c < 3; c++) {
                cr_assert_eq(pixel(&shown, 12 + x, 12 + y)[c], wanted[channels == 3 ? c : 0], "%lld %lld %lld",
                             (long long)y, (long long)x, (long long)c);
            }
        }
    }
    free(shown.data);
    free(pixels);
    free(levels);
}

Test(reports, pictures_are_as_they_were_before_normalisation) {
    for (int u8 = 0; u8 < 2; u8++) {
        expect_shown(100, 110, 3, 1, u8);
        expect_shown(28, 28, 1, 4, u8);
        expect_shown(32, 20, 3, 4, u8);
        expect_shown(64, 64, 3, 2, u8);
    }
}

Test(reports, large_pictures_become_smaller_by_area) {
    enum { SIDE = 448 };
    float *const pixels = malloc(sizeof *pixels * SIDE * SIDE);
    for (int64_t i = 0; i < SIDE * SIDE; i++) pixels[i] = (float)((i / SIDE % 2 * 2 + i % 2) * 40) / 255.0f;
    cvr_run_info info = run_info(-1, -1);
    info.n_channels = 1;
    shown_batch b;
    show_batch(&info, batch_of(&b, (int64_t[4]){1, SIDE, SIDE, 1}, CVR_F32, pixels, NULL, NULL));
    cvr_image shown = picture("batch.png");
    cr_assert_eq(shown.width, 224 + 24);
    for (int64_t i = 0; i < 224 * 224; i++) cr_assert_eq(pixel(&shown, 12 + i % 224, 12 + i / 224)[0], 60);
    free(shown.data);
    free(pixels);
}

static int64_t count_colour(const cvr_image *image, uint8_t r, uint8_t g, uint8_t b) {
    int64_t n = 0;
    for (int64_t i = 0; i < image->width * image->height; i++) {
        const uint8_t *const p = image->data + 3 * i;
        n += p[0] == r && p[1] == g && p[2] == b;
    }
    return n;
}

Test(reports, predictions_are_green_when_right_and_red_when_wrong) {
    static const float pixels[2 * 8 * 8] = {0};
    static const int64_t labels[2] = {0, 1}, right[2] = {0, 1}, wrong[2] = {1, 0};
    cvr_run_info info = run_info(-1, -1);
    info.n_classes = 2;
    for (int32_t i = 0; i < 3; i++) {
        const int64_t *const predictions = i == 0 ? NULL : i == 1 ? right : wrong;
        shown_batch b;
        show_batch(&info, batch_of(&b, (int64_t[4]){2, 8, 8, 1}, CVR_F32, pixels, labels, predictions));
        cvr_image shown = picture("batch.png");
        cr_expect_eq(count_colour(&shown, 24, 135, 70) > 0, i == 1);
        cr_expect_eq(count_colour(&shown, 205, 45, 50) > 0, i == 2);
        free(shown.data);
    }
}

Test(reports, odd_batches_are_shown_too) {
    static const int64_t sizes[][4] = {{1, 1, 1, 3}, {70, 1, 1, 1}, {5, 3, 300, 2}, {20, 700, 2, 5}, {3, 225, 224, 3}};
    static const char *const classes[] = {"", "a name that is far too long for its picture, by a lot", "gr\xc3\xbcn"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t *const s = sizes[i], n = s[0] * s[1] * s[2] * s[3];
        float *const pixels = malloc((size_t)n * sizeof *pixels);
        int64_t labels[128];
        for (int64_t k = 0; k < n; k++) pixels[k] = k % 3 ? NAN : k % 2 ? INFINITY : -INFINITY;
        for (int64_t k = 0; k < 128; k++) labels[k] = k - 1; /* also classes that there are none of */
        cvr_run_info info = run_info(-1, -1);
        info.n_classes = 3;
        info.class_names = classes;
        shown_batch b;
        show_batch(&info, batch_of(&b, s, CVR_F32, pixels, labels, labels + 1));
        cvr_image shown = picture("batch.png");
        cr_expect_gt(shown.width, 64);
        free(shown.data);
        free(pixels);
    }
}

/* ---- curves ---- */

Test(reports, curves_of_a_resumed_run_are_whole) {
    const cvr_reporter_desc *const tables = reporter("tables"), *const curves = reporter("curves");
    whole_run(tables);
    whole_run(curves);
    size_t n = 0, again = 0;
    char *const wanted = slurp("results.png", &n);
    const cvr_run_info info = run_info(4, 2);
    void *const self = open_reporter(curves, &info);
    tell_range(curves, self, 5, 8);
    cr_assert_eq(curves->flush(self, &error), CVR_OK);
    curves->close(self);
    char *const got = slurp("results.png", &again);
    cr_expect(n == again && memcmp(wanted, got, n) == 0, "the picture differs from that of a run that was not cut off");
    free(wanted);
    free(got);
}

/* Pictures may wait while epochs are short; they are there once the run has ended, or was interrupted. */
Test(reports, curves_are_up_to_date_in_the_end) {
    const cvr_reporter_desc *const r = reporter("curves");
    whole_run(r);
    size_t n = 0, again = 0;
    char *const wanted = slurp("results.png", &n);
    for (int32_t ended = 0; ended < 2; ended++) {
        const cvr_run_info info = run_info(-1, -1);
        void *const self = open_reporter(r, &info);
        for (int64_t epoch = 1; epoch <= 4; epoch++) {
            cr_assert_eq(tell_epoch(r, self, epoch, 3, NULL), CVR_OK);
            cr_assert_eq(r->flush(self, &error), CVR_OK);
        }
        if (ended) cr_assert_eq(tell_end(r, self, "top1", 0.5, 1), CVR_OK);
        r->close(self);
        char *const got = slurp("results.png", &again);
        cr_expect(n == again && memcmp(wanted, got, n) == 0, "%d", ended);
        free(got);
    }
    free(wanted);
}

Test(reports, curves_of_any_numbers) {
    static const double cases[][3] = {{1, 1, 1},           {0, 0, 0},       {-1e308, 1e308, 1},
                                      {1e-300, 2e-300, 0}, {NAN, NAN, NAN}, {INFINITY, 1, NAN},
                                      {1e300, 1e300, 1},   {-1, -2, -3},    {1 + 1e-15, 1, 1}};
    const cvr_reporter_desc *const r = reporter("curves");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int64_t epochs = 1; epochs <= 61; epochs += 30) {
            const cvr_run_info info = run_info(-1, -1);
            const char *const names[] = {"train_loss", "loss", "top1"};
            void *const self = open_reporter(r, &info);
            for (int64_t k = 1; k <= epochs; k++) {
                const double v[] = {cases[i][k % 3], cases[i][(k + 1) % 3], cases[i][(k + 2) % 3]};
                const cvr_epoch_event e = {.struct_size = sizeof e,
                                           .epoch = k,
                                           .step = k,
                                           .images_per_s = v[0],
                                           .lr = v[1],
                                           .n_metrics = 3,
                                           .names = names,
                                           .values = v};
                cr_assert_eq(r->epoch(self, &e, &error), CVR_OK);
            }
            cr_assert_eq(r->flush(self, &error), CVR_OK, "%s", error.message);
            r->close(self);
            cvr_image shown = picture("results.png");
            cr_expect(shown.width == 1200 && shown.height == 800);
            free(shown.data);
        }
    }
}

Test(reports, the_confusion_matrix_as_a_table) {
    static const char *const classes[] = {"cat, black", "the \"dog\""};
    static const uint64_t first[4] = {9, 9, 9, 9}, matrix[4] = {5, 1, 0, 6};
    const cvr_reporter_desc *const r = reporter("curves");
    cvr_run_info info = run_info(-1, -1);
    info.n_classes = 2;
    info.class_names = classes;
    void *const self = open_reporter(r, &info);
    cr_assert_eq(tell_epoch(r, self, 1, 3, first), CVR_OK);
    cr_assert_eq(tell_epoch(r, self, 2, 3, matrix), CVR_OK);
    cr_assert_eq(tell_epoch(r, self, 3, 1, NULL), CVR_OK);
    cr_assert_eq(tell_end(r, self, "top1", 0.5, 1), CVR_OK);
    r->close(self);
    expect_text("confusion_matrix.csv", "truth,\"cat, black\",\"the \"\"dog\"\"\"\n\"cat, black\",5,1\n"
                                        "\"the \"\"dog\"\"\",0,6\n");
}

/* All that was right is as dark as can be, and lies on the diagonal. */
Test(reports, the_confusion_matrix_of_any_number_of_classes) {
    static const int64_t sizes[] = {1, 2, 20, 21, 41, 100, 1000, 1500};
    const cvr_reporter_desc *const r = reporter("curves");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t n = sizes[i];
        uint64_t *const matrix = calloc((size_t)(n * n), sizeof *matrix);
        for (int64_t k = 0; k < n; k++) matrix[k * n + k] = k == 0 ? UINT64_MAX / 4096 : (uint64_t)k;
        cvr_run_info info = run_info(-1, -1);
        info.n_classes = n;
        void *const self = open_reporter(r, &info);
        cr_assert_eq(tell_epoch(r, self, 1, 3, matrix), CVR_OK);
        cr_assert_eq(r->flush(self, &error), CVR_OK, "%s", error.message);
        r->close(self);
        cvr_image shown = picture("confusion_matrix.png");
        const int64_t dark = count_colour(&shown, 22, 70, 154), side = n < 1000 ? n : 1000;
        cr_expect_geq(dark, side, "%lld classes", (long long)n);
        cr_expect_leq(shown.width, 1200);
        cr_expect_leq(shown.height, 1200);
        free(shown.data);
        free(matrix);
    }
}
