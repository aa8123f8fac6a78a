/*
 * The table of programs: device, store and arena outlive programs. On the backend `counted`, which tells what was asked
 * of it, and on `faulty`, which fails on demand (tests/support).
 */
#include <criterion/criterion.h>
#include <cvr/session.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static cvr_error err;
static char folder[64];

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", err.message);
}

/* ---- a small network, without batch statistics, on made-up pictures ---- */

static const char recipe[] = "[run]\nseed = 7\nname = p\n"
                             "[data]\nformat = fake\nsize = 22\nclasses = 3\nimg_size = 12\nworkers = 0\n"
                             "[net]\nc1 = conv2d 8 kernel_size=3 padding=1\nr1 = relu\np = adaptive_avg_pool2d 4\n"
                             "f = flatten\nfc = linear num_classes\n"
                             "[train]\nepochs = 2\nbatch = 8\n[optim]\nlr = 0.05\nmomentum = 0.9\n";

static char *in_folder(const char *name) {
    static char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void setup(void) {
    cvr_error_init(&err);
    (void)snprintf(folder, sizeof folder, "/tmp/programs_test_XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    setenv("CVR_PLUGIN_PATH", CVR_TEST_PLUGINS, 1);
    good(cvr_fs_write(in_folder("p.ini"), recipe, sizeof recipe - 1, &err));
    good(cvr_fs_mkdirs(in_folder("run/weights"), &err));
}

static void teardown(void) {
    char command[100];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

static cvr_session *open_session(uint32_t purpose, const char *const *overrides, size_t n) {
    cvr_session *s;
    char path[200];
    (void)snprintf(path, sizeof path, "%s/p.ini", folder);
    const cvr_session_options o = {.path = path, .overrides = overrides, .n_overrides = n, .purpose = purpose};
    good(cvr_session_open(&s, &o, &err));
    return s;
}

typedef struct counts {
    unsigned long long opens, blocks, recordings, uploads, bytes;
} counts;

static counts counts_of(cvr_session *s) {
    char text[160];
    counts c;
    cvr_device_describe(cvr_session_device(s), text, sizeof text);
    cr_assert_eq(sscanf(text, "%llu %llu %llu %llu %llu", &c.opens, &c.blocks, &c.recordings, &c.uploads, &c.bytes), 5,
                 "%s", text);
    return c;
}

/* All of the weights, as they are saved. */
static void weights_of(cvr_session *s, uint8_t **bytes, uint64_t *n) {
    char *path = in_folder("w.safetensors");
    good(cvr_session_save_weights(s, path, &err));
    good(cvr_fs_read(path, 1u << 24, bytes, n, &err));
}

static void same_weights(cvr_session *a, cvr_session *b, const char *what) {
    uint8_t *x, *y;
    uint64_t n, m;
    weights_of(a, &x, &n);
    weights_of(b, &y, &m);
    cr_assert(n == m && memcmp(x, y, n) == 0, "%s", what);
    cvr_free(x);
    cvr_free(y);
}

/* ---- prediction ---- */

/* Only the first of the results: the row's cells. */
static char last_row[200];
static void on_text(const cvr_prediction_sink *s, const char *text) {
    (void)s, (void)text;
}
static void on_row(const cvr_prediction_sink *s, const char *text) {
    (void)s;
    (void)snprintf(last_row, sizeof last_row, "%s", text);
}
static void on_begin(void *ctx, const char *path, int64_t width, int64_t height) {
    (void)ctx, (void)path, (void)width, (void)height;
}

static int32_t to_writer(void *ctx, const void *bytes, uint64_t n, cvr_error *e) {
    return cvr_writer_put(ctx, bytes, n, e);
}

static void write_picture(cvr_session *s, const char *path, int64_t height, int64_t width) {
    const cvr_image_service *images;
    cvr_writer w;
    cvr_image image = {sizeof image, width, height, 3, cvr_calloc((size_t)(3 * height * width), 1), NULL};
    for (int64_t i = 0; i < 3 * height * width; i++) image.data[i] = (uint8_t)(i * 37 + height);
    good(cvr_plugins_image_service(cvr_session_plugins(s), &images, &err));
    good(cvr_writer_open(&w, path, &err));
    good(images->encode(images, "png", &image, to_writer, &w, &err));
    good(cvr_writer_commit(&w, false, &err));
    cvr_free(image.data);
}

static void predict(cvr_session *s, int64_t height, int64_t width) {
    const cvr_prediction_sink sink = {.struct_size = sizeof sink, .json = on_text, .csv = on_row, .line = on_text};
    const cvr_predict_options o = {.sink = &sink, .begin = on_begin};
    char *path = in_folder("picture.png");
    write_picture(s, path, height, width);
    good(cvr_predict_file(s, path, &o, &err));
}

static const char *const prediction[] = {"backend.name=counted", "data.img_size=0", "model.num_classes=3"};

/* A hundred sizes: one device, the weights in one block that is never written again, an arena that only grows. */
Test(programs, hundred_sizes, .init = setup, .fini = teardown) {
    cvr_session *s = open_session(CVR_FOR_PREDICTION, prediction, 3);
    predict(s, 10, 10);
    const counts first = counts_of(s);
    cr_assert_eq(first.opens, 1);
    counts before = first;
    for (int64_t i = 1; i <= 100; i++) {
        const int64_t height = 10 + i * 7 % 31, width = 10 + i % 50;
        predict(s, height, width);
        const counts now = counts_of(s);
        cr_assert_eq(now.opens, first.opens, "size %d opened the device again", (int)i);
        /* the picture, as f32 at most, and a few scalars; the weights have 1400 bytes more than any padding */
        cr_assert_leq(now.bytes - before.bytes, (unsigned long long)(3 * height * width * 4 + 64),
                      "size %d uploaded more than its picture", (int)i);
        before = now;
    }
    /* the arena, and two zones where inputs land */
    cr_assert_leq(before.blocks - first.blocks, 60, "blocks were made anew %llu times", before.blocks - first.blocks);
    cvr_session_close(&s);
}

/* The last eight sizes are kept: they are recorded once. A ninth takes the place of the one not used for longest. */
Test(programs, last_eight, .init = setup, .fini = teardown) {
    cvr_session *s = open_session(CVR_FOR_PREDICTION, prediction, 3);
    for (int64_t i = 8; i > 0; i--) predict(s, 10 + i, 12); /* the largest first: the arena stays */
    const counts eight = counts_of(s);
    for (int64_t i = 1; i <= 8; i++) predict(s, 10 + i, 12);
    cr_assert_eq(counts_of(s).recordings, eight.recordings, "a size that was there was made again");
    predict(s, 10, 12);
    predict(s, 18, 12);
    const counts ninth = counts_of(s);
    cr_assert_gt(ninth.recordings, eight.recordings);
    predict(s, 11, 12); /* used before all others: gone */
    cr_assert_gt(counts_of(s).recordings, ninth.recordings, "more than eight are kept");
    cvr_session_close(&s);
}

/* Whatever was predicted before, and however the arena has moved: the same as from a session of its own. */
Test(programs, sizes_do_not_matter_to_each_other, .init = setup, .fini = teardown) {
    cvr_session *s = open_session(CVR_FOR_PREDICTION, prediction, 3);
    char rows[5][200];
    for (int64_t i = 0; i < 5; i++) {
        predict(s, 10 + 9 * i, 40 - 5 * i);
        memcpy(rows[i], last_row, sizeof last_row);
    }
    for (int64_t i = 0; i < 5; i++) {
        predict(s, 10 + 9 * i, 40 - 5 * i);
        cr_assert_str_eq(last_row, rows[i]);
        cvr_session *alone = open_session(CVR_FOR_PREDICTION, prediction, 3);
        predict(alone, 10 + 9 * i, 40 - 5 * i);
        cr_assert_str_eq(last_row, rows[i]);
        cvr_session_close(&alone);
    }
    cvr_session_close(&s);
}

/* ---- training ---- */

/* `steps` steps from the beginning of the data; returns the last loss. */
static double train_steps(cvr_session *s, int64_t first, int64_t steps) {
    cvr_batches_options o;
    cvr_batches *batches;
    cvr_batch b;
    double loss = 0;
    cr_assert(cvr_session_batch_options(s, CVR_SPLIT_TRAIN, &o));
    good(cvr_batches_create(&batches, &o, &err));
    good(cvr_batches_begin(batches, first / 3, first % 3, &err));
    for (int64_t i = first; i < first + steps; i++) {
        good(cvr_batches_next(batches, &b, &err));
        good(cvr_session_step(s, true, &b, i, &loss, &err));
    }
    cvr_batches_destroy(&batches);
    return loss;
}

static int32_t enabled(const cvr_profiler *p) {
    (void)p;
    return 1;
}
static unsigned long long seen;
static void begin(const cvr_profiler *p, uint64_t recording, uint64_t node) {
    (void)recording, (void)node;
    seen += cvr_session_program(p->ctx, recording) != NULL;
}
static void end(const cvr_profiler *p, uint64_t recording, uint64_t node) {
    (void)p, (void)recording, (void)node;
}

/* Everything is there before the first step, and a profiler that comes later costs no device and no memory. */
Test(programs, planned_before_the_first_step, .init = setup, .fini = teardown) {
    const char *const on[] = {"backend.name=counted"};
    cvr_session *s = open_session(CVR_FOR_TRAINING, on, 1), *plain = open_session(CVR_FOR_TRAINING, on, 1);
    cvr_session_info info;
    cvr_session_describe(s, &info);
    cr_assert_eq(info.steps_per_epoch, 3); /* two whole batches and one of six */
    cr_assert_eq(info.planned_bytes, info.store_bytes + info.arena_bytes);
    const counts planned = counts_of(s);
    train_steps(s, 0, 3);
    counts now = counts_of(s);
    cr_assert(now.opens == planned.opens && now.blocks == planned.blocks && now.recordings == planned.recordings,
              "a step made something that could have been planned");
    const cvr_profiler profiler = {
        .struct_size = sizeof profiler, .ctx = s, .enabled = enabled, .begin = begin, .end = end};
    cvr_plugins_offer(cvr_session_plugins(s), CVR_SERVICE_PROFILER, &profiler);
    good(cvr_session_record(s, &err));
    train_steps(s, 3, 3);
    now = counts_of(s);
    cr_assert(now.opens == planned.opens && now.blocks == planned.blocks, "a profiler opened the device again");
    cr_assert_gt(now.recordings, planned.recordings);
    cr_assert_gt(seen, 20, "the profiler was not told");
    train_steps(plain, 0, 6);
    same_weights(s, plain, "a profiler changed the numbers");
    cvr_session_close(&s);
    cvr_session_close(&plain);
}

/* A batch in parts is the batch, to rounding, on every backend; also the last, of six; also where pairs of the whole
 * batch are mixed. */
static void parts_on(const char *backend) {
    char name[64];
    (void)snprintf(name, sizeof name, "backend.name=%s", backend);
    for (int parts = 2; parts <= 8; parts *= 2) {
        char accum[64];
        (void)snprintf(accum, sizeof accum, "train.grad_accum=%d", parts);
        const char *const keys[] = {name, "augment.mixup=alpha=1", accum};
        cvr_session *whole = open_session(CVR_FOR_TRAINING, keys, 2), *cut = open_session(CVR_FOR_TRAINING, keys, 3);
        const double a = train_steps(whole, 0, 6), b = train_steps(cut, 0, 6);
        cr_assert(isfinite(a) && fabs(a - b) <= 2e-6 * fabs(a), "%s, %d parts: loss %.9g and %.9g", backend, parts, a,
                  b);
        cvr_session_info x, y;
        cvr_session_describe(whole, &x);
        cvr_session_describe(cut, &y);
        cr_assert_lt(y.arena_bytes, x.arena_bytes, "parts save no memory");
        cvr_session_close(&whole);
        cvr_session_close(&cut);
    }
}
Test(programs, parts_of_a_batch_cpu, .init = setup, .fini = teardown) {
    parts_on("cpu");
}
Test(programs, parts_of_a_batch_far, .init = setup, .fini = teardown) {
    parts_on("far");
}
Test(programs, parts_of_a_batch_reference, .init = setup, .fini = teardown) {
    parts_on("reference");
}

/* ---- moving ---- */

/* A target whose launches cannot be recorded: all is as it was, and the run goes on as if nothing had happened. */
Test(programs, failed_bind, .init = setup, .fini = teardown) {
    cvr_session *s = open_session(CVR_FOR_TRAINING, NULL, 0), *plain = open_session(CVR_FOR_TRAINING, NULL, 0);
    cvr_session_info info;
    train_steps(s, 0, 2);
    setenv("CVR_TEST_FAULT", "record", 1);
    cr_assert_neq(cvr_session_swap(s, "faulty", &err), CVR_OK);
    cr_assert_neq(cvr_session_swap(s, "nowhere", &err), CVR_OK);
    unsetenv("CVR_TEST_FAULT");
    cvr_session_describe(s, &info);
    cr_assert_str_eq(info.backend, "cpu");
    train_steps(s, 2, 3);
    train_steps(plain, 0, 5);
    same_weights(s, plain, "a move that failed changed the numbers");
    good(cvr_session_swap(s, "counted", &err));
    good(cvr_session_swap(s, "faulty", &err));
    train_steps(s, 5, 1);
    train_steps(plain, 5, 1);
    same_weights(s, plain, "moves changed the numbers");
    cvr_session_close(&s);
    cvr_session_close(&plain);
}

/* A target that binds but cannot compute: the first step there decides, and the run goes on where it was. */
Test(programs, failed_first_step, .init = setup, .fini = teardown) {
    const char *const keys[] = {"val.interval=0"};
    cvr_session *s = open_session(CVR_FOR_TRAINING, keys, 1), *plain = open_session(CVR_FOR_TRAINING, keys, 1);
    char run[200];
    (void)snprintf(run, sizeof run, "%s/run", folder);
    const cvr_swap swap = {"faulty", 3};
    const cvr_train_options moving = {.folder = run, .swaps = &swap, .n_swaps = 1}, staying = {.folder = run};
    cvr_train_result result;
    cvr_session_info info;
    setenv("CVR_TEST_FAULT", "replay", 1);
    good(cvr_train(s, &moving, &result, &err));
    unsetenv("CVR_TEST_FAULT");
    cvr_session_describe(s, &info);
    cr_assert_str_eq(info.backend, "cpu");
    good(cvr_train(plain, &staying, &result, &err));
    cr_assert_eq(result.steps, 6);
    same_weights(s, plain, "the step that failed left something behind");
    cvr_session_close(&s);
    cvr_session_close(&plain);
}

/* Each call of the target's fails once, on the way there or in the first step there: the run goes on where it was. */
Test(programs, every_failed_call_leaves_the_run, .init = setup, .fini = teardown) {
    const char *keys[] = {"val.interval=0", "run.seed=7"};
    cvr_session *plain = open_session(CVR_FOR_TRAINING, keys, 2);
    char run[200], key[64];
    int64_t failed = 0;
    bool stayed = true;
    cvr_train_result result;
    (void)snprintf(run, sizeof run, "%s/run", folder);
    good(cvr_train(plain, &(cvr_train_options){.folder = run}, &result, &err));
    keys[1] = key;
    for (int64_t call = 1; stayed; call += 1 + call / 6) {
        (void)snprintf(key, sizeof key, "backend.far_fail_call=%lld", (long long)call);
        cvr_session *s = open_session(CVR_FOR_TRAINING, keys, 2);
        const cvr_swap swap = {"far", 3};
        cvr_session_info info;
        const cvr_train_options moving = {.folder = run, .swaps = &swap, .n_swaps = 1};
        const int32_t status = cvr_train(s, &moving, &result, &err);
        cvr_session_describe(s, &info);
        stayed = strcmp(info.backend, "cpu") == 0;
        failed += stayed;
        if (stayed) cr_assert_eq(status, CVR_OK, "call %lld: %s", (long long)call, err.message);
        if (stayed) same_weights(s, plain, "a move that failed left something behind");
        cvr_session_close(&s); /* else the first step there was done */
    }
    cr_expect_gt(failed, 8, "only %lld calls failed", (long long)failed);
    cvr_session_close(&plain);
}

Test(programs, twenty_moves, .init = setup, .fini = teardown) {
    const char *const keys[] = {"val.interval=0", "backend.fallback=error", "backend.far_max_block=196608"};
    cvr_session *s = open_session(CVR_FOR_TRAINING, keys, 3), *plain = open_session(CVR_FOR_TRAINING, keys, 1);
    for (int64_t i = 0; i < 20; i++) {
        good(cvr_session_swap(s, i % 2 ? "cpu" : "far", &err));
        train_steps(s, i, 1);
        train_steps(plain, i, 1);
    }
    same_weights(s, plain, "twenty moves changed the numbers");
    cvr_session_close(&s);
    cvr_session_close(&plain);
}

/* From one device of a backend to the other, and back; without a device there is nowhere to go from either. */
Test(programs, devices_of_one_backend, .init = setup, .fini = teardown) {
    const char *const keys[] = {"val.interval=0", "backend.name=counted/1"};
    cvr_session *s = open_session(CVR_FOR_TRAINING, keys, 2), *plain = open_session(CVR_FOR_TRAINING, keys, 1);
    cr_assert_str_eq(cvr_config_get(cvr_session_config(s), "backend", "device", NULL), "1");
    for (int64_t i = 0; i < 3; i++) {
        const uint64_t opens = counts_of(s).opens;
        good(cvr_session_swap(s, i % 2 ? "counted/1" : "counted/0", &err));
        cr_assert_eq(counts_of(s).opens, opens + 1, "another device was not opened");
        train_steps(s, i, 1);
        train_steps(plain, i, 1);
    }
    same_weights(s, plain, "moves between devices changed the numbers");
    cr_assert_eq(cvr_session_swap(s, "counted/2", &err), CVR_ERR_USAGE);
    cr_assert_eq(cvr_session_swap(s, "counted/", &err), CVR_ERR_USAGE);
    cvr_session_close(&s);
    cvr_session_close(&plain);
}

/* ---- backend.name = auto ---- */

static void expect_auto(const char *wanted, const char *choose) {
    cvr_session *s = open_session(CVR_FOR_TRAINING, NULL, 0);
    const cvr_host *host = cvr_plugins_host(cvr_session_plugins(s));
    const cvr_tuning_service *tuning = host->get(host, CVR_SERVICE_TUNING);
    cvr_session_info info;
    cvr_session_describe(s, &info);
    cr_expect(!wanted || strcmp(info.backend, wanted) == 0, "auto is %s, not %s", info.backend, wanted);
    if (choose) good(tuning->put(tuning, "core/backend/counted_plain/cpu", choose, &err));
    cvr_session_close(&s);
}

/* One candidate is taken; of two one is measured and kept, here in the cache folder; software is none. */
Test(programs, auto_backend, .init = setup, .fini = teardown) {
    setenv("XDG_CACHE_HOME", folder, 1);
    expect_auto("cpu", NULL);
    cr_expect(!cvr_fs_exists(in_folder("cvrun/tuning")), "one candidate was measured");
    setenv("CVR_TEST_CANDIDATE", "software", 1);
    expect_auto("cpu", NULL);
    cr_expect(!cvr_fs_exists(in_folder("cvrun/tuning")), "software was measured");
    setenv("CVR_TEST_CANDIDATE", "device", 1);
    expect_auto(NULL, NULL);
    cr_expect(cvr_fs_exists(in_folder("cvrun/tuning")), "a choice was not kept");
    expect_auto(NULL, "counted_plain");
    expect_auto("counted_plain", "cpu");
    expect_auto("cpu", NULL);
}
