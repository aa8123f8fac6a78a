/*
 * Who ended the process? Handlers of faults write one line that names the plugin, callback and node, by write(2) alone,
 * and give the signal back to whoever had it (the system, a sanitizer). Each thread that calls plugins gets a stack for
 * the handler, so that endless recursion has a line, too. A thread of its own looks for calls that do not return.
 */
#define _GNU_SOURCE /* on_exit */
#include <cvr/guard.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HANDLER_STACK (64u << 10)
#define MOST_DEPTH 48
#define NEVER_AGAIN 0x80000000u
#define TICKS 4 /* looks in one period of the watchdog */

static const char *program_name = "program";
static atomic_bool closed, told;

static const struct fault {
    int signal;
    const char *name;
} faults[] = {{SIGSEGV, "a segmentation fault (SIGSEGV)"},
              {SIGBUS, "a bus error (SIGBUS)"},
              {SIGFPE, "an arithmetic fault (SIGFPE)"},
              {SIGILL, "an illegal instruction (SIGILL)"},
              {SIGTRAP, "a trap (SIGTRAP)"},
              {SIGABRT, "abort() (SIGABRT): an uncaught exception, a failed assertion, or damaged memory"}};
#define N_FAULTS (sizeof faults / sizeof *faults)
static struct sigaction before[N_FAULTS];

static size_t put(char *line, size_t at, size_t size, const char *text) {
    for (; *text && at + 1 < size; text++) line[at++] = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
    return at;
}

/* Once in a process: "cvrun: error: WHO: what". Nothing where no plugin is being called. */
static void tell(const char *what) {
    char line[800], who[500];
    if (!cvr_call_describe(who, sizeof who) || atomic_exchange(&told, true)) return;
    size_t n = put(line, 0, sizeof line, program_name);
    n = put(line, n, sizeof line, ": error: ");
    n = put(line, n, sizeof line, who);
    n = put(line, n, sizeof line, ": ");
    n = put(line, n, sizeof line, what);
    line[n++] = '\n';
    if (write(2, line, n) < 0) return;
}

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    for (size_t i = 0; i < N_FAULTS; i++) {
        if (faults[i].signal != signal) continue;
        tell(faults[i].name);
        (void)sigaction(signal, &before[i], NULL);
    }
    /* A faulting instruction runs, and faults, once more; a signal that was sent is sent again. */
    if (info->si_code <= 0) (void)raise(signal);
}

static void on_exit_called(int status, void *arg) {
    (void)arg;
    char who[8];
    if (atomic_load(&closed) || !cvr_call_describe(who, sizeof who)) return;
    tell("it called exit(); a plugin returns a status");
    if (status == 0) {
        (void)fflush(NULL);
        _exit(1);
    }
}

/* A stack for the handler, unless a sanitizer gave the thread one. */
static void on_thread(size_t thread) {
    static void *stacks[1024];
    stack_t has;
    if (thread >= sizeof stacks / sizeof *stacks || sigaltstack(NULL, &has) != 0 || !(has.ss_flags & SS_DISABLE))
        return;
    if (!stacks[thread]) {
        void *p = mmap(NULL, HANDLER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        stacks[thread] = p == MAP_FAILED ? NULL : p;
    }
    const stack_t own = {.ss_sp = stacks[thread], .ss_size = HANDLER_STACK};
    if (own.ss_sp) (void)sigaltstack(&own, NULL);
}

/* ---- the watchdog ---- */

typedef struct watched {
    cvr_call_view calls[MOST_DEPTH];
    uint32_t ticks[MOST_DEPTH]; /* for how many looks it was the same */
} watched;

/* The innermost call that has been the same for a whole period, or -1. */
static int look(size_t thread, watched *w) {
    cvr_call_view now[MOST_DEPTH];
    const size_t n = cvr_call_look(thread, now, MOST_DEPTH);
    int stuck = -1;
    for (size_t i = 0; i < MOST_DEPTH; i++) {
        const cvr_call_view none = {0, 0}, v = i < n ? now[i] : none;
        const bool same = v.serial && v.serial == w->calls[i].serial && v.launch == w->calls[i].launch;
        w->ticks[i] = same ? w->ticks[i] + 1 : 0;
        w->calls[i] = v;
        if (same && w->ticks[i] >= TICKS) stuck = (int)i;
    }
    return stuck;
}

/* Names it, and neither it nor those around it again; nor the same callback at the same place, in a later step. */
static void name_stuck(size_t thread, watched *w, int depth, unsigned seconds) {
    static uint64_t named[64];
    static size_t n_named;
    char who[500];
    uint64_t hash = 0xcbf29ce484222325ull;
    for (int i = 0; i <= depth; i++) w->ticks[i] = NEVER_AGAIN;
    const size_t n = cvr_call_describe_at(thread, (size_t)depth, who, sizeof who);
    for (size_t i = 0; i < n; i++) hash = (hash ^ (unsigned char)who[i]) * 0x100000001b3ull;
    for (size_t i = 0; i < n_named && i < 64; i++)
        if (named[i] == hash) return;
    named[n_named++ % 64] = hash;
    if (n) cvr_log(CVR_LOG_WARNING, "%s has not returned for %u s; it goes on running", who, seconds);
}

static void *watch(void *arg) {
    const unsigned seconds = (unsigned)(uintptr_t)arg;
    const size_t n = cvr_call_threads();
    const struct timespec tick = {seconds / TICKS, (long)(seconds % TICKS) * (1000000000L / TICKS)};
    watched *all = calloc(n, sizeof *all);
    while (all && !atomic_load(&closed)) {
        (void)nanosleep(&tick, NULL);
        for (size_t i = 0; i < n; i++) {
            const int stuck = look(i, &all[i]);
            if (stuck >= 0 && all[i].ticks[stuck] < NEVER_AGAIN) name_stuck(i, &all[i], stuck, seconds);
        }
    }
    free(all);
    return NULL;
}

void cvr_guard_watch(void) {
    const char *text = getenv("CVR_WATCHDOG_S");
    char *end = NULL;
    const unsigned long seconds = text && *text ? strtoul(text, &end, 10) : 60;
    pthread_t thread;
    sigset_t all, old;
    if (seconds == 0 || seconds > 1000000) return;
    sigfillset(&all); /* signals are for the other threads */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&thread, NULL, watch, (void *)(uintptr_t)seconds) == 0) (void)pthread_detach(thread);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void cvr_guard_open(const char *program) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    program_name = program;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < N_FAULTS; i++) (void)sigaction(faults[i].signal, &action, &before[i]);
    cvr_call_on_thread(on_thread);
    (void)on_exit(on_exit_called, NULL);
}

void cvr_guard_close(void) {
    atomic_store(&closed, true);
}
