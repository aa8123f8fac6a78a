/* cvrun ctl: tells a run in progress what to do, and prints what came of it. */
#include "cvrun.h"
#include "run_folder.h"
#include <cvr/control.h>
#include <time.h>

#define LOOK_AGAIN_NS 20000000 /* 20 ms */
#define SAY_THAT_IT_WAITS 2.0  /* seconds */

static void rest(void) {
    const struct timespec t = {.tv_nsec = LOOK_AGAIN_NS};
    (void)nanosleep(&t, NULL);
}

/* Waits for the answer, while the run goes on; one that stops may have answered last. */
static int32_t wait_for(const char *folder, uint64_t id, cvr_text *said, cvr_error *err) {
    const double begun = cvr_now();
    bool told = false;
    for (bool busy = true; !said->n && busy;) {
        CVR_TRY(run_folder_busy(folder, &busy, err));
        CVR_TRY(cvr_control_answer(folder, id, said, err));
        if (said->n || !busy) break;
        if (!told && cvr_now() - begun > SAY_THAT_IT_WAITS) {
            print_line(stderr,
                       "cvrun: the run obeys between two steps; waiting for it (Ctrl-C: it obeys all the same)");
            told = true;
        }
        rest();
    }
    if (said->failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (said->n) return CVR_OK;
    cvr_control_withdraw(folder);
    cvr_fail(err, CVR_ERR_IO, "the run ended before it obeyed; go on with: cvrun train --resume %s", folder);
    return CVR_ERR_IO;
}

/* A line an order, those that were not obeyed to the error output. */
static int print_answers(char *lines) {
    int status = EXIT_OK;
    char *save = NULL;
    for (char *line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const bool obeyed = line[0] == '+' && line[1];
        if (obeyed)
            print_text("%s\n", line + 2);
        else
            print_line(stderr, "cvrun: error: %s", strlen(line) > 2 ? line + 2 : line);
        if (!obeyed) status = EXIT_FAILED;
    }
    return status;
}

static int32_t check(const char *folder, const char *const *orders, size_t n, cvr_error *err) {
    bool busy;
    if (n == 0)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "what shall the run do? backend=NAME[/DEVICE], lr=NUMBER, checkpoint, stop");
    if (n > CVR_CONTROL_MOST)
        return cvr_fail(err, CVR_ERR_USAGE, "%zu orders; at most %d at a time", n, CVR_CONTROL_MOST);
    for (size_t i = 0; i < n; i++) CVR_TRY(cvr_control_check(orders[i], err));
    if (!cvr_fs_is_folder(folder)) {
        cvr_fail(err, CVR_ERR_USAGE, "is no run folder; name one, such as runs/classify/NAME");
        return cvr_fail_at(err, folder, 0, CVR_ERR_USAGE);
    }
    CVR_TRY(run_folder_busy(folder, &busy, err));
    if (busy) return CVR_OK;
    cvr_fail(err, CVR_ERR_USAGE, "no run is in progress here; go on with: cvrun train --resume %s", folder);
    return cvr_fail_at(err, folder, 0, CVR_ERR_USAGE);
}

static int run_ctl(const arguments *a) {
    const char *orders[sizeof a->settings / sizeof *a->settings + sizeof a->words / sizeof *a->words];
    cvr_error err = CVR_ERROR_INIT;
    cvr_text said = {0};
    uint64_t id;
    size_t n = 0;
    int32_t status;
    for (size_t i = 0; i < a->n_settings; i++) orders[n++] = a->settings[i];
    for (size_t i = 0; i < a->n_words; i++) orders[n++] = a->words[i];
    CVR_TRY_OUT(check(a->path, orders, n, &err));
    CVR_TRY_OUT(cvr_control_ask(a->path, orders, n, &id, &err));
    CVR_TRY_OUT(wait_for(a->path, id, &said, &err));
out:;
    const int code = status == CVR_OK ? print_answers(said.s) : report_error(&err);
    cvr_text_clear(&said);
    return code;
}

const command ctl_command = {
    .name = "ctl",
    .usage = "RUN_DIR ORDER ...",
    .summary = "tell a run in progress what to do",
    .help = "Orders, obeyed between two steps and saved at once, so that a resumed run goes on with them:\n"
            "  backend=NAME[/DEVICE]   move there; where that cannot run the network, stay\n"
            "  lr=NUMBER               in place of optim.lr; the scheduler's factor stays\n"
            "  checkpoint              save now\n"
            "  stop                    save and leave, as after Ctrl-C\n"
            "`cvrun plugins -v` lists backends with their devices.\n",
    .run = run_ctl,
    .needs_path = true,
    .takes_words = true,
};
