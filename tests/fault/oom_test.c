/*
 * Out of memory: every allocation of one training run (a net of three layers: open, plan, one step, save) and of one
 * prediction fails once. What then happens must be an error with one line of text that speaks of memory, or, where the
 * memory was not needed, the same result; never a crash, a hang, or memory that nobody frees.
 *
 * Each scenario runs once to know its result, and once more, in which it forks at allocations: the child gets no memory
 * for this one, goes on to its end, and tells by its exit status how it ended; the parent gets its memory. So nothing
 * that lies before is computed again. A child writes to its parent's files, but takes none away.
 *
 * An allocation that comes from the same calls as one before it fails in the same place, and is passed over: 16 callers
 * tell them apart. OOM_ALL=1 passes over none; OOM_AT=NUMBER fails that one alone, without a fork, and tells who
 * called.
 */
#include <cvr/session.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* How a child ends. */
enum { WENT_ON = 0, SAID_SO = 10, SAID_NOTHING, SAID_ELSE, LEAKED, OTHER_RESULT };

#define CALLERS 16
#define MOST_PLACES 65536u

static bool is_child, watching, all_of_them;
static uint64_t count, only;                   /* allocations so far; the one that OOM_AT names */
static uint64_t places[MOST_PLACES], n_places; /* hashes of the calls that led to an allocation that failed */
static int64_t live;                           /* blocks */
static uint64_t wrong, went_on;                /* children */
static const char *scenario = "";              /* for messages */

static void judge(pid_t child) {
    static const char *const words[] = {"fails without a message", "fails with a message that is not about memory",
                                        "leaves memory behind", "goes on with another result"};
    int status = 0;
    if (waitpid(child, &status, 0) < 0) abort();
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    went_on += code == WENT_ON;
    if (code == WENT_ON || code == SAID_SO) return;
    wrong++;
    if (code > SAID_SO && code <= OTHER_RESULT)
        fprintf(stderr, "FAILED: %s without its allocation %llu %s\n", scenario, (unsigned long long)count,
                words[code - SAID_NOTHING]);
    else if (WIFSIGNALED(status))
        fprintf(stderr, "FAILED: %s without its allocation %llu ends by signal %d%s\n", scenario,
                (unsigned long long)count, WTERMSIG(status), WTERMSIG(status) == SIGALRM ? " (it hangs)" : "");
    else
        fprintf(stderr, "FAILED: %s without its allocation %llu ends with status %d\n", scenario,
                (unsigned long long)count, code);
}

/* Whether these calls led to an allocation before. */
static bool is_known(void) {
    void *callers[CALLERS];
    const int n = backtrace(callers, CALLERS);
    uint64_t h = 0xcbf29ce484222325u;
    for (int i = 0; i < n; i++) h = (h ^ (uint64_t)(uintptr_t)callers[i]) * 0x100000001b3u;
    for (uint64_t at = h % MOST_PLACES;; at = (at + 1) % MOST_PLACES) {
        if (places[at] == h) return true;
        if (places[at]) continue;
        if (++n_places == MOST_PLACES) abort();
        places[at] = h;
        return false;
    }
}

/* Whether this allocation is to fail: in a child, once. */
static bool fails(void) {
    if (!watching) return false;
    count++;
    if (only && count == only) {
        void *callers[CALLERS];
        backtrace_symbols_fd(callers, backtrace(callers, CALLERS), 2);
    }
    if (only || is_child) return count == only;
    if (!all_of_them && is_known()) return false;
    const pid_t child = fork();
    if (child < 0) abort();
    if (child > 0) {
        judge(child);
        return false;
    }
    is_child = true;
    (void)alarm(20);
    return true;
}

static void *give(void *ctx, size_t bytes, size_t align) {
    void *p = NULL;
    (void)ctx;
    if (fails() || posix_memalign(&p, align < sizeof p ? sizeof p : align, bytes ? bytes : 1) != 0) return NULL;
    live++;
    return p;
}

static void take(void *ctx, void *p) {
    (void)ctx;
    live--;
    free(p);
}

/*
 * In place of the C library's: a child would take its parent's files away. It finds a file under the new name all the
 * same.
 */
int rename(const char *from, const char *to) {
    if (!is_child) return renameat(AT_FDCWD, from, AT_FDCWD, to);
    const int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    return fd < 0 ? -1 : close(fd);
}
int unlink(const char *path) {
    return is_child ? 0 : unlinkat(AT_FDCWD, path, 0);
}

static void leave(int code) {
    if (is_child) _exit(code);
    if (!only || !watching) return;
    fprintf(stderr, "%s without its allocation %llu: %d\n", scenario, (unsigned long long)only, code);
    exit(code);
}

/* The end of a child that could not go on. `before`: blocks that were live when the scenario began. */
static void end_in_error(const cvr_error *err, int64_t before) {
    if (!is_child && (!only || !watching)) {
        fprintf(stderr, "FAILED: %s: %s\n", scenario, err->message);
        exit(1);
    }
    if (only) fprintf(stderr, "%s\n", err->message);
    if (!err->message[0] || strchr(err->message, '\n')) leave(SAID_NOTHING);
    if (!strstr(err->message, "memory")) {
        fprintf(stderr, "%s\n", err->message);
        leave(SAID_ELSE);
    }
    leave(live == before ? SAID_SO : LEAKED);
}

static void end_well(double result, double *wanted, int64_t before) {
    if (!watching) *wanted = result;
    if (live != before) {
        if (!is_child) fprintf(stderr, "FAILED: %s leaves %lld blocks\n", scenario, (long long)(live - before));
        if (!is_child) wrong++;
        leave(LEAKED);
    }
    leave(memcmp(&result, wanted, sizeof result) == 0 ? WENT_ON : OTHER_RESULT);
}

static const char recipe[] = "[run]\nname = oom\nseed = 7\n"
                             "[data]\nformat = fake\nsize = 4\nclasses = 3\nimg_size = 8\nworkers = 0\n"
                             "[augment]\nrandom_horizontal_flip = p=0.5\n"
                             "[net]\nc = conv2d 4 kernel_size=3 padding=1\nb = batch_norm2d\nr = relu\n"
                             "f = flatten\nfc = linear num_classes\n"
                             "[train]\nepochs = 1\nbatch = 4\n[optim]\nname = sgd\nmomentum = 0.9\n"
                             "[backend]\nthreads = 1\n";

static int32_t open_for(cvr_session **s, uint32_t purpose, cvr_error *err) {
    static const char *const classes[] = {"model.num_classes=3"};
    const cvr_session_options o = {
        .path = "oom.ini", .overrides = classes, .n_overrides = purpose == CVR_FOR_PREDICTION, .purpose = purpose};
    return cvr_session_open(s, &o, err);
}

/* A reporter of the test's own, which sees the loss, and all that plugins provide. */
static double loss;

static int32_t tell_open(const cvr_run_info *info, void **self, cvr_error *err) {
    (void)info, (void)err;
    *self = NULL;
    return CVR_OK;
}
static int32_t tell_step(void *self, const cvr_step_event *e, cvr_error *err) {
    (void)self, (void)err;
    loss = e->loss;
    return CVR_OK;
}
static void tell_close(void *self) {
    (void)self;
}
static const cvr_reporter_desc tell = {.struct_size = sizeof tell,
                                       .name = "tell",
                                       .doc = "the loss",
                                       .open = tell_open,
                                       .step = tell_step,
                                       .close = tell_close};

#define MOST_REPORTERS 8u

static int32_t find_reporters(cvr_plugins *plugins, const cvr_reporter_desc **all, size_t *n, cvr_error *err) {
    const char *name;
    all[0] = &tell;
    *n = 1;
    for (size_t i = 0; *n < MOST_REPORTERS && (name = cvr_plugins_name(plugins, CVR_KIND_REPORTER, i)); i++) {
        const void *desc;
        CVR_TRY(cvr_plugins_find(plugins, CVR_KIND_REPORTER, name, &desc, err));
        all[(*n)++] = desc;
    }
    return CVR_OK;
}

static int32_t train(cvr_session **s, cvr_error *err) {
    const cvr_reporter_desc *reporters[MOST_REPORTERS];
    cvr_train_options o = {.folder = watching ? "second" : "first", .reporters = reporters};
    cvr_train_result result;
    CVR_TRY(open_for(s, CVR_FOR_TRAINING, err));
    CVR_TRY(find_reporters(cvr_session_plugins(*s), reporters, &o.n_reporters, err));
    return cvr_train(*s, &o, &result, err);
}

static void train_once(void) {
    static double wanted;
    const int64_t before = live;
    cvr_session *s = NULL;
    cvr_error err;
    cvr_error_init(&err);
    scenario = "training";
    const int32_t status = train(&s, &err);
    cvr_session_close(&s);
    if (status != CVR_OK) end_in_error(&err, before);
    end_well(loss, &wanted, before);
}

static void on_text(void *ctx, const char *text) {
    for (; *text; text++) *(double *)ctx = *(double *)ctx * 31 + *text;
}
static void sink_text(const cvr_prediction_sink *s, const char *text) {
    on_text(s->ctx, text);
}

static void on_picture(void *ctx, const char *path, int64_t width, int64_t height) {
    (void)path;
    *(double *)ctx = (double)(width * height);
}

static void predict_once(void) {
    static double wanted;
    const int64_t before = live;
    double sum = 0;
    cvr_session *s = NULL;
    cvr_error err;
    cvr_error_init(&err);
    const cvr_prediction_sink sink = {
        .struct_size = sizeof sink, .ctx = &sum, .json = sink_text, .csv = sink_text, .line = sink_text};
    const cvr_predict_options o = {.sink = &sink, .begin = on_picture, .ctx = &sum};
    scenario = "predicting";
    int32_t status;
    CVR_TRY_OUT(open_for(&s, CVR_FOR_PREDICTION, &err));
    CVR_TRY_OUT(cvr_predict_file(s, CVR_TEST_DIR "/../docs/images/results.png", &o, &err));
out:
    cvr_session_close(&s);
    if (status != CVR_OK) end_in_error(&err, before);
    end_well(sum, &wanted, before);
}

static void quiet(void *ctx, uint32_t level, const char *text) {
    (void)ctx;
    if (only) fprintf(stderr, "log %u: %s\n", level, text);
}

int main(void) {
    static const cvr_allocator failing = {NULL, give, take};
    char folder[] = "/tmp/oom.XXXXXX", clear[64];
    cvr_error err;
    const char *at = getenv("OOM_AT");
    cvr_error_init(&err);
    only = at ? strtoull(at, NULL, 10) : 0;
    if (!mkdtemp(folder) || chdir(folder) != 0) return 1;
    if (cvr_fs_mkdirs("first/weights", &err) != CVR_OK || cvr_fs_mkdirs("second/weights", &err) != CVR_OK) return 1;
    if (cvr_fs_write("oom.ini", recipe, strlen(recipe), &err) != CVR_OK) return 1;
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0) return 1;
    all_of_them = getenv("OOM_ALL") != NULL;
    cvr_set_log(quiet, NULL);
    cvr_set_allocator(&failing);
    train_once();
    predict_once();
    watching = true;
    train_once();
    const uint64_t of_training = count;
    predict_once();
    cvr_set_allocator(NULL);
    (void)snprintf(clear, sizeof clear, "rm -rf %s", folder);
    if (system(clear) != 0) wrong++;
    printf("%llu allocations of a training run and %llu of a prediction, from %llu places: %llu runs went on without, "
           "%llu are wrong\n",
           (unsigned long long)of_training, (unsigned long long)(count - of_training), (unsigned long long)n_places,
           (unsigned long long)went_on, (unsigned long long)wrong);
    return wrong || of_training < 100 || count == of_training;
}
