/* cvrun train */
#include "cvrun.h"
#include "run_folder.h"
#include "screen.h"
#include "trace.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t stop_asked;

/* The first signal asks for a clean stop; the second is for those who cannot wait. */
static void on_signal(int number) {
    static const char text[] = "\ncvrun: stopping, and saving what is done; once more to leave at once\n";
    if (stop_asked) _exit(128 + number);
    stop_asked = 1;
    const ssize_t written = write(2, text, sizeof text - 1); /* a line that cannot be written changes nothing */
    (void)written;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal}, before;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* the terminal was closed; who started the run by nohup does not mind */
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);
}

static int parse_swaps(const arguments *a, cvr_swap *swaps, char places[MOST_SWAPS][sizeof(cvr_place)]) {
    for (size_t i = 0; i < a->n_swaps; i++) {
        const char *const at = strrchr(a->swap_to[i], '@'); /* a device's name may have one as well */
        char *end = NULL;
        cvr_error err = CVR_ERROR_INIT;
        cvr_place place;
        errno = 0;
        const long long step = at ? strtoll(at + 1, &end, 10) : -1;
        if (errno || !at || at == a->swap_to[i] || (size_t)(at - a->swap_to[i]) >= sizeof places[i] || step < 0 ||
            !end || *end || end == at + 1) {
            print_line(stderr,
                       "cvrun: error: --swap-to %s: write BACKEND@STEP or BACKEND/DEVICE@STEP, such as cuda@1000",
                       a->swap_to[i]);
            return EXIT_USAGE;
        }
        (void)snprintf(places[i], sizeof places[i], "%.*s", (int)(at - a->swap_to[i]), a->swap_to[i]);
        if (cvr_place_parse(&place, places[i], &err) != CVR_OK) {
            (void)cvr_fail_at(&err, "--swap-to", 0, err.code);
            return report_error(&err);
        }
        swaps[i] = (cvr_swap){places[i], step};
    }
    return EXIT_OK;
}

/* ---- who is told ---- */

typedef struct listeners {
    const cvr_reporter_desc **all;
    size_t n, capacity;
} listeners;

static int32_t add_listener(listeners *l, const cvr_reporter_desc *r, cvr_error *err) {
    const cvr_reporter_desc **more = cvr_grow(l->all, l->n, &l->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    l->all = more;
    more[l->n++] = r;
    return CVR_OK;
}

static int32_t add_plugin(listeners *l, cvr_plugins *p, const char *name, cvr_error *err) {
    const void *desc;
    CVR_TRY(cvr_plugins_find(p, CVR_KIND_REPORTER, name, &desc, err));
    return add_listener(l, desc, err);
}

/* cvrun's own, then every reporter that a plugin brings. */
static int32_t find_listeners(listeners *l, cvr_session *s, cvr_error *err) {
    cvr_plugins *p = cvr_session_plugins(s);
    const char *name;
    CVR_TRY(add_listener(l, run_folder_reporter(s), err));
    CVR_TRY(add_listener(l, screen_reporter(s), err));
    if (*log_section->trace) CVR_TRY(add_listener(l, trace_reporter(s, log_section->trace), err));
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_REPORTER, i)); i++) {
        char *copy = cvr_strdup(name); /* the answer lasts until the next question */
        const int32_t status = copy ? add_plugin(l, p, copy, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        cvr_free(copy);
        CVR_TRY(status);
    }
    return CVR_OK;
}

/* ---- the command ---- */

static void print_result(const cvr_train_result *r, const char *folder) {
    char seconds[32], epochs[64], speed[32];
    if (r->finished_by) {
        print_text("%s has finished already, after epoch %lld; another %s extends it\n", folder, (long long)r->epochs,
                   r->finished_by);
        return;
    }
    print_text("%s in %s, %s images/s", human_many(r->epochs, "epoch", epochs), human_seconds(r->seconds, seconds),
               human_speed(r->images_per_second, speed));
    if (r->best_epoch) printf("; best %s %.4f in epoch %lld", r->best_metric, r->best_value, (long long)r->best_epoch);
    print_text("\nrun folder: %s\n", folder);
}

/* A new folder, or the one to go on in. Free with cvr_free. */
static int32_t open_folder(cvr_session *s, const char *resume, char **folder, cvr_error *err) {
    char made[4096];
    if (!resume) CVR_TRY(run_folder_make(s, made, sizeof made, err));
    *folder = cvr_fs_absolute(".", resume ? resume : made);
    return *folder ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

/* Backends to move to must be there before the first step, not hours later. */
static int32_t check_swaps(cvr_session *s, const cvr_swap *swaps, size_t n, cvr_error *err) {
    const void *desc;
    for (size_t i = 0; i < n; i++) {
        cvr_place to;
        CVR_TRY(cvr_place_parse(&to, swaps[i].backend, err));
        const int32_t status = cvr_plugins_find(cvr_session_plugins(s), CVR_KIND_BACKEND, to.backend, &desc, err);
        if (status != CVR_OK) return cvr_fail_at(err, "--swap-to", 0, cvr_fail_as(err, CVR_ERR_USAGE));
        const int32_t tried = cvr_session_try_backend(s, swaps[i].backend, err);
        if (tried != CVR_OK) return cvr_fail_at(err, "--swap-to", 0, tried);
    }
    return CVR_OK;
}

static void add_remedy(const char *folder, cvr_error *err) {
    const size_t n = strlen(err->message);
    (void)snprintf(err->message + n, sizeof err->message - n, "; go on with: cvrun train --resume %s", folder);
}

int32_t train_in_folder(cvr_session *s, const cvr_train_options *given, cvr_train_result *result, cvr_error *err) {
    listeners l = {0};
    int lock = -1;
    int32_t status;
    CVR_TRY_OUT(find_listeners(&l, s, err));
    CVR_TRY_OUT(run_folder_lock(given->folder, &lock, err));
    cvr_train_options o = *given;
    o.stop = &stop_asked;
    o.reporters = l.all;
    o.n_reporters = l.n;
    o.on_validate = screen_validating;
    catch_signals();
    status = cvr_train(s, &o, result, err);
    if (status == CVR_ERR_DEVICE && run_folder_can_go_on(o.folder)) add_remedy(o.folder, err);
out:
    if (lock >= 0) close(lock);
    cvr_free(l.all);
    return status;
}

static int32_t train(const arguments *a, cvr_session *s, const cvr_swap *swaps, cvr_error *err) {
    cvr_train_result result;
    char *folder = NULL;
    int32_t status;
    CVR_TRY_OUT(check_swaps(s, swaps, a->n_swaps, err));
    CVR_TRY_OUT(open_folder(s, a->resume, &folder, err));
    const cvr_train_options o = {.folder = folder, .resume = a->resume != NULL, .swaps = swaps, .n_swaps = a->n_swaps};
    status = train_in_folder(s, &o, &result, err);
    /* Steps before a loss that is not finite may tell why. */
    if (status != CVR_OK && status != CVR_ERR_NUMERIC && !a->resume) run_folder_discard(folder);
    CVR_TRY_OUT(status);
    for (size_t i = 0; i < a->n_swaps; i++)
        if (swaps[i].step > result.steps)
            cvr_log(CVR_LOG_WARNING, "--swap-to %s: the run ended at step %lld", a->swap_to[i],
                    (long long)result.steps);
    print_result(&result, folder);
out:
    cvr_free(folder);
    return status;
}

/* What the settings alone have come to, as the recipe that says the same. */
static void print_recipe(cvr_session *s) {
    cvr_text t = {0};
    cvr_config_print_given(cvr_session_config(s), &t);
    if (t.s && !t.failed) print_page(t.s);
    print_text("\n");
    cvr_text_clear(&t);
}

static int run_train(const arguments *a) {
    cvr_error err = CVR_ERROR_INIT;
    cvr_session *session;
    cvr_swap swaps[MOST_SWAPS];
    char places[MOST_SWAPS][sizeof(cvr_place)];
    arguments with_folder = *a;
    int status = parse_swaps(a, swaps, places);
    if (status != EXIT_OK) return status;
    catch_signals();
    if (a->resume && !cvr_fs_is_folder(a->resume)) {
        print_line(stderr, "cvrun: error: --resume %s: %s; name a run folder, such as runs/classify/NAME", a->resume,
                   cvr_fs_exists(a->resume) ? "is a file" : "is not there");
        return EXIT_USAGE;
    }
    if (a->resume) with_folder.path = a->resume;
    status = open_session(&with_folder, CVR_FOR_TRAINING, &session);
    if (status != EXIT_OK) return status;
    if (!with_folder.path) print_recipe(session);
    if (train(a, session, swaps, &err) != CVR_OK) status = report_error(&err);
    cvr_session_close(&session);
    return status;
}

const command train_command = {
    .name = "train",
    .usage = "RECIPE.ini|model=NAME data=PATH [key=value ...]",
    .summary = "train a network",
    .help = "  cvrun train RECIPE.ini [key=value ...]\n"
            "      train; the run folder is runs/TASK/NAME\n"
            "  cvrun train --resume RUN_DIR [key=value ...]\n"
            "      go on, bit for bit, also in mid-epoch\n"
            "  cvrun train RECIPE.ini --swap-to BACKEND[/DEVICE]@STEP\n"
            "      move to another backend after STEP steps; `cvrun plugins -v` lists them with their devices\n"
            "  cvrun train data=PATH model=NAME [key=value ...]\n"
            "      without a recipe: what the data is, is guessed, the model says what it is trained with, and the "
            "recipe\n"
            "      that says the same is printed\n\n"
            "Short keys: epochs batch imgsz lr device workers name seed weights data model backend. Any other: "
            "section.key=value.\n"
            "Sections: run backend model net data augment train optim sched val predict; `cvrun help SECTION` lists "
            "their keys.\n"
            "SIGINT, SIGTERM and SIGHUP save everything and leave with status 75.\n",
    .run = run_train,
    .needs_path = true,
    .resumes = true,
};
