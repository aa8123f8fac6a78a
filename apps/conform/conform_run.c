/* Starts the process that does the jobs, watches it, and writes down how it ended where it did not end by itself. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "conform_backend.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_NS 2000000 /* between two looks */
#define MOST_DEATHS 3u   /* of one row, until it is left alone */
#define START_SECONDS 60 /* to load the plugins */

/* A file without a name, for what the process prints. */
static int32_t open_output(int *out, cvr_error *err) {
    char path[] = "/tmp/cvr-conform-XXXXXX";
    *out = mkstemp(path);
    if (*out < 0) return cvr_fail(err, CVR_ERR_IO, "%s: %s", path, strerror(errno));
    (void)unlink(path);
    return CVR_OK;
}

/* The last line that it printed, as far as it is text. */
static void last_words(int output, char *buf, size_t size) {
    const off_t end = lseek(output, 0, SEEK_END), from = end > (off_t)size - 1 ? end - (off_t)size + 1 : 0;
    const ssize_t n = pread(output, buf, size - 1, from);
    buf[n > 0 ? n : 0] = '\0';
    for (size_t k = strlen(buf); k && buf[k - 1] == '\n'; k--) buf[k - 1] = '\0';
    const char *line = strrchr(buf, '\n');
    if (line) memmove(buf, line + 1, strlen(line + 1) + 1);
    for (char *c = buf; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) *c = '?';
}

static void write_down(conform_board *b, int status, bool slow, double limit, int output) {
    char how[160], words[200], doing[600];
    conform_row *row = b->doing_row >= 0 ? &b->rows[b->doing_row] : board_row(b, "plugin", "process");
    last_words(output, words, sizeof words);
    (void)snprintf(doing, sizeof doing, "%s", b->doing);
    if (slow)
        (void)snprintf(how, sizeof how, "has not returned after %g s", limit);
    else if (WIFSIGNALED(status))
        (void)snprintf(how, sizeof how, "ended the process by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else
        (void)snprintf(how, sizeof how, "ended the process with exit status %d", WEXITSTATUS(status));
    board_fail(b, row, "%s %s%s%s%s", how, doing, *words && !slow ? "; it printed `" : "", slow ? "" : words,
               *words && !slow ? "`" : "");
    row->cases++;
    row->deaths++;
    row->left = row->left || slow || row->deaths >= MOST_DEATHS;
    if (b->job_row >= 0) b->rows[b->job_row].left = b->rows[b->job_row].left || row->left;
}

/* Seconds that the process could have run and had no CPU, since others had them. */
static double starved(pid_t pid) {
    char path[64];
    unsigned long long ran, waited = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%llu %llu", &ran, &waited) != 2) waited = 0;
    if (f) fclose(f);
    return 1e-9 * (double)waited;
}

/* Waits for the process; false: it is not over, and was killed. What a busy machine takes from it does not count. */
static bool wait_for(pid_t pid, const conform_board *b, double limit, int *status) {
    const struct timespec pause = {0, PAUSE_NS};
    const double start = cvr_now();
    double since = start, starved_before = 0;
    for (;;) {
        const pid_t ended = waitpid(pid, status, WNOHANG);
        if (ended == pid || (ended < 0 && errno != EINTR)) return true;
        const double begun = b->started > 0 ? b->started : start, most = b->started > 0 ? limit : START_SECONDS;
        if (begun != since) {
            since = begun;
            starved_before = starved(pid);
        }
        const double took = cvr_now() - begun;
        if (took > most && took - (starved(pid) - starved_before) > most && !b->done) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, status, 0);
            return false;
        }
        (void)nanosleep(&pause, NULL);
    }
}

/* One process, from a job on. *over: all jobs are done. */
static int32_t one_process(const conform_options *o, conform_board *b, uint64_t *first, bool *over, cvr_error *err) {
    int output, status = 0;
    CVR_TRY(open_output(&output, err));
    b->ready = b->done = false;
    b->started = 0;
    b->job_row = -1;
    b->job = *first;
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0) {
        close(output);
        return cvr_fail(err, CVR_ERR_IO, "cannot start a process: %s", strerror(errno));
    }
    if (pid == 0) conform_work(o, b, *first, output);
    const bool ended = wait_for(pid, b, o->limit, &status);
    *over = b->done;
    if (!b->done) {
        write_down(b, status, !ended, b->ready ? o->limit : START_SECONDS, output);
        if (!b->ready) *over = true; /* it does not even load */
    }
    *first = b->job + 1;
    close(output);
    if (b->fatal.code == CVR_OK) return CVR_OK;
    *err = b->fatal;
    return (int32_t)b->fatal.code;
}

/* An op of which programs or its kernels had cases needs none of its own; nor does one of another plugin. */
static bool has_cases_elsewhere(const conform_board *b, const conform_row *r) {
    bool has = false;
    for (uint32_t i = 0; i < b->n_rows; i++) has = has || (b->rows[i].cases && strcmp(b->rows[i].name, r->name) == 0);
    return (has || r->foreign) && strcmp(r->what, "op") == 0;
}

/* A kernel of it ended the process, which its row says: others may have had no turn. */
static bool has_died(const conform_board *b, const char *name) {
    bool died = false;
    for (uint32_t i = 0; i < b->n_rows; i++) died = died || (b->rows[i].deaths && strcmp(b->rows[i].name, name) == 0);
    return died;
}

/* What no case reached, though it should have been. */
static void judge_empty(const conform_options *o, conform_board *b) {
    for (uint32_t i = 0; i < b->n_rows; i++) {
        conform_row *r = &b->rows[i];
        const bool not_run = strncmp(r->note, "not run", 7) == 0;
        *b->line = '\0';
        if (r->cases || not_run || r->left || has_died(b, r->name) || has_cases_elsewhere(b, r) ||
            !conform_is_asked(o, r))
            continue;
        const conform_row *drawn = r->drawn ? r : NULL;
        for (uint32_t k = 0; k < b->n_rows && !drawn; k++)
            if (b->rows[k].drawn && strcmp(b->rows[k].name, r->name) == 0) drawn = &b->rows[k];
        board_fail(b, r,
                   "no case could be run: %llu were drawn and %llu refused%s%s; write cases of it into a file and give "
                   "it by --cases FILE (docs/conform.md)",
                   (unsigned long long)(drawn ? drawn->drawn : 0), (unsigned long long)(drawn ? drawn->refused : 0),
                   drawn && *drawn->refusal ? ", the last since " : "", drawn ? drawn->refusal : "");
    }
}

/* Ops that are asked for and of which nothing was tried are no success: the first of them, and why. */
static int32_t judge_untried(const conform_options *o, const conform_board *b, cvr_error *err) {
    const conform_op *op = &b->ops[0];
    uint64_t cases = 0;
    for (uint32_t i = 0; i < b->n_rows; i++) cases += b->rows[i].cases * (strncmp(b->rows[i].what, "kernel", 6) == 0);
    if (cases || !conform_passed(b)) return CVR_OK;
    const conform_place place = conform_place_of(op);
    const char *const name = op->name, *const on = o->backend;
    if (b->n_large && place != PLACE_VIEW && place != PLACE_OF_HOST)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "--op: nothing was tried: all cases of %s are of more than %g operations (--flops)", name,
                        b->flops);
    if (place == PLACE_OTHER_OPS)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "--op: nothing was tried: %s has no kernel of its own on %s; it is computed by %s, of which no "
                        "kernel ran",
                        name, on, *op->parts ? op->parts : "no op at all");
    return cvr_fail(err, CVR_ERR_USAGE, "--op: nothing was tried: %s %s %s", name,
                    place == PLACE_VIEW      ? "is a view, of which nothing runs on"
                    : place == PLACE_OF_HOST ? "is the host's by nature, and has no kernel on"
                                             : "has no case that runs a kernel of it on",
                    on);
}

int32_t conform_run(const conform_options *o, conform_board **out, cvr_error *err) {
    uint64_t first = 0;
    bool over = false;
    int32_t status = CVR_OK;
    conform_board *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *out = NULL;
    if (b == MAP_FAILED) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    b->end = o->seconds > 0 ? cvr_now() + o->seconds : 0;
    while (!over) CVR_TRY_OUT(one_process(o, b, &first, &over, err));
    if (*b->replaced) cvr_log(CVR_LOG_INFO, "%s", b->replaced);
    o->backend ? backend_judge(b) : judge_empty(o, b);
    if (o->op && (o->backend ? !b->n_ops : !b->n_rows)) /* layers have rows, whatever they lead to */
        CVR_TRY_OUT(
            cvr_fail(err, CVR_ERR_USAGE, "--op: there is no op `%.200s`; `cvrun plugins -v` lists them", o->op));
    if (o->op && o->backend) CVR_TRY_OUT(judge_untried(o, b, err));
    *out = b;
out:
    if (status != CVR_OK) conform_free(&b);
    return status;
}

void conform_free(conform_board **board) {
    if (*board) munmap(*board, sizeof **board);
    *board = NULL;
}
