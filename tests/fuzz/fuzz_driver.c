/*
 * Runs a fuzz target on mutations of seed files: FUZZ_TARGET COUNT SEED... (files, or folders of files).
 *
 * Mutation number i depends on i and the seeds only, so a failure is made again by its number: FUZZ_TARGET @i SEED...,
 * which also writes the input to fuzz.input. Each input has one second of processor time. The input lies in memory that
 * ends where it does, for the address sanitizer.
 */
#include "fuzz.h"
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAX_INPUT 4096u /* larger seeds are left out: they would make each input slow */
#define SECONDS_EACH 1

typedef struct seed {
    char *name;
    uint8_t *bytes;
    size_t n;
} seed;

static struct {
    seed *seeds;
    size_t n_seeds;
    uint64_t number; /* of the input that is being run */
    const seed *of;
} run;

/* ---- telling which input it was ---- */

static void put(const char *s) {
    const ssize_t ignored = write(2, s, strlen(s));
    (void)ignored;
}

/* Only what may be called from a signal's handler. */
static void say_input(void) {
    char digits[24];
    size_t at = sizeof digits - 1;
    uint64_t v = run.number;
    digits[at] = '\0';
    do digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    put("fuzz: mutation @");
    put(digits + at);
    put(" of ");
    put(run.of ? run.of->name : "?");
    put("; give @NUMBER in place of the count to make it again\n");
}

static void on_timer(int signal_number) {
    (void)signal_number;
    put("fuzz: no answer within a second of processor time\n");
    say_input();
    _exit(1);
}

static void on_abort(int signal_number) {
    say_input();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

/* Of the sanitizers' run time, where there is one: called before it ends the program. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(void) {
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(say_input);
    else
        (void)signal(SIGSEGV, on_abort);
    (void)signal(SIGABRT, on_abort);
    (void)signal(SIGPROF, on_timer);
}

static void set_timer(time_t seconds) {
    const struct itimerval t = {{0, 0}, {seconds, 0}};
    (void)setitimer(ITIMER_PROF, &t, NULL);
}

/* ---- random numbers and mutations ---- */

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t n) {
    return n ? (size_t)(next_random(state) % n) : 0;
}

/* Numbers at which sizes and offsets go wrong. */
static uint64_t bad_number(uint64_t *state) {
    static const uint64_t known[] = {0,          1,          2,         0x7f,       0x80,       0xff,
                                     0x100,      0x7fff,     0x8000,    0xffff,     0x7fffffff, 0x80000000,
                                     0xffffffff, UINT64_MAX, INT64_MAX, 1ull << 63, 1ull << 40, 4096};
    const uint64_t r = next_random(state);
    return r % 4 == 0 ? r >> 8 : known[(r >> 8) % (sizeof known / sizeof *known)] + (r >> 32) % 3 - 1;
}

static void remove_range(uint8_t *b, size_t *n, size_t at, size_t count) {
    memmove(b + at, b + at + count, *n - at - count);
    *n -= count;
}

/* Makes room for `count` bytes at `at` and copies them there; `from` is not part of `b`. */
static void insert(uint8_t *b, size_t *n, size_t at, const uint8_t *from, size_t count) {
    if (count > MAX_INPUT - *n) count = MAX_INPUT - *n;
    memmove(b + at + count, b + at, *n - at);
    if (count) memcpy(b + at, from, count);
    *n += count;
}

static void mutate_once(uint8_t *b, size_t *n, uint64_t *state) {
    const uint64_t kind = next_random(state) % 10;
    const size_t at = below(state, *n + 1), left = *n - at;
    const size_t width = (size_t)1 << below(state, 4), count = 1 + below(state, below(state, 2) ? 4 : 64);
    const uint64_t number = bad_number(state);
    const seed *const other = &run.seeds[below(state, run.n_seeds)];
    const size_t from = below(state, other->n);
    uint8_t piece[64];
    switch (kind) {
    case 0:
    case 1:
        if (left) b[at] ^= (uint8_t)(1u << below(state, 8));
        break;
    case 2:
        if (left) b[at] = (uint8_t)next_random(state);
        break;
    case 3:
    case 4: /* a number, low byte first or last */
        for (size_t i = 0; i < width && i < left; i++)
            b[at + i] = (uint8_t)(number >> 8 * (kind == 3 ? i : width - 1 - i));
        break;
    case 5: remove_range(b, n, at, count < left ? count : left); break;
    case 6: /* what lies here once more */
        memcpy(piece, b + at, count < left ? count : left);
        insert(b, n, at, piece, count < left ? count : left);
        break;
    case 7: insert(b, n, at, other->bytes + from, count < other->n - from ? count : other->n - from); break;
    case 8: /* a piece of another seed in place of this */
        for (size_t i = 0; i < count && i < left && from + i < other->n; i++) b[at + i] = other->bytes[from + i];
        break;
    default:
        if (below(state, 8) == 0) *n = at;
        break;
    }
}

static void run_input(const uint8_t *bytes, size_t n) {
    uint8_t *const exact = malloc(n ? n : 1);
    if (!exact) exit(2);
    if (n) memcpy(exact, bytes, n);
    set_timer(SECONDS_EACH);
    (void)LLVMFuzzerTestOneInput(exact, n);
    set_timer(0);
    free(exact);
}

/* The first inputs are the seeds themselves. */
static size_t make_input(uint64_t number, uint8_t b[MAX_INPUT]) {
    uint64_t state = number * 0x2545f4914f6cdd1du;
    const int mutated = number >= run.n_seeds;
    run.number = number;
    run.of = &run.seeds[mutated ? below(&state, run.n_seeds) : (size_t)number];
    size_t n = run.of->n;
    memcpy(b, run.of->bytes, n);
    for (size_t times = mutated ? 1 + below(&state, 6) : 0; times > 0; times--) mutate_once(b, &n, &state);
    return n;
}

/* ---- seeds ---- */

static void add_file(const char *path) {
    uint8_t b[MAX_INPUT + 1];
    FILE *const f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "fuzz: cannot open %s\n", path);
        exit(2);
    }
    const size_t n = fread(b, 1, sizeof b, f);
    (void)fclose(f);
    if (n == 0 || n > MAX_INPUT) return;
    seed *const more = realloc(run.seeds, (run.n_seeds + 1) * sizeof *more);
    uint8_t *const bytes = malloc(n);
    if (!more || !bytes) exit(2);
    memcpy(bytes, b, n);
    run.seeds = more;
    run.seeds[run.n_seeds++] = (seed){strdup(path), bytes, n};
}

static void add_path(const char *path) {
    struct stat st;
    DIR *const d = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? opendir(path) : NULL;
    if (!d) {
        add_file(path);
        return;
    }
    for (struct dirent *e; (e = readdir(d));) {
        char name[4096];
        if (e->d_name[0] == '.') continue;
        (void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        add_file(name);
    }
    (void)closedir(d);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const seed *)a)->name, ((const seed *)b)->name);
}

static int run_one(uint64_t number) {
    static uint8_t b[MAX_INPUT];
    const size_t n = make_input(number, b);
    FILE *const f = fopen("fuzz.input", "wb");
    if (!f || fwrite(b, 1, n, f) != n || fclose(f) != 0) {
        fprintf(stderr, "fuzz: cannot write fuzz.input\n");
        return 2;
    }
    run_input(b, n);
    printf("mutation @%llu of %s, %zu bytes: answered\n", (unsigned long long)number, run.of->name, n);
    return 0;
}

int main(int argc, char **argv) {
    static uint8_t b[MAX_INPUT];
    char *end = NULL;
    const int one = argc > 1 && argv[1][0] == '@';
    const uint64_t count = argc > 1 ? strtoull(argv[1] + one, &end, 10) : 0;
    for (int i = 2; i < argc; i++) add_path(argv[i]);
    if (argc < 3 || *end || run.n_seeds == 0) {
        fprintf(stderr, "usage: %s COUNT|@NUMBER SEED_FILE_OR_FOLDER... (seeds of at most %u bytes)\n", argv[0],
                MAX_INPUT);
        return 2;
    }
    qsort(run.seeds, run.n_seeds, sizeof *run.seeds, by_name);
    watch();
    if (one) return run_one(count);
    const clock_t start = clock();
    for (uint64_t i = 0; i < count; i++) {
        const size_t n = make_input(i, b);
        run_input(b, n);
    }
    printf("%llu inputs from %zu seeds, %.1f s\n", (unsigned long long)count, run.n_seeds,
           (double)(clock() - start) / CLOCKS_PER_SEC);
    for (size_t i = 0; i < run.n_seeds; i++) {
        free(run.seeds[i].name);
        free(run.seeds[i].bytes);
    }
    free(run.seeds);
    return 0;
}
