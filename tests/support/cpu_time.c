/*
 * cpu_time NAME BUDGET LOG COMMAND...: runs a test and holds its CPU seconds, user and system, those of its children
 * included, against its budget of tests/budget.txt.
 *
 * CPU seconds depend on the machine, and on what else it does. So a test over its budget is held against the budget
 * times what this machine needs, now, for a fixed loop, in units of what the loop takes where the budgets were
 * measured. Over that is written to LOG and named by tests/run.sh; over three times that fails, since other programs on
 * the same cores can double what a test needs. A machine that is faster gets no less, and half a second more is always
 * allowed. CVR_TEST_BUDGET=off only measures.
 *
 * The status is the command's; 1 where it passed and took more than three times its budget.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* CPU seconds of spin() where the budgets of tests/budget.txt were measured, both cores at work. */
#define SPIN_SECONDS 0.085
#define SPIN_STEPS 40000000u
#define ALLOWED 0.5

static double cpu_seconds(int who) {
    struct rusage u;
    if (getrusage(who, &u) != 0) return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* A chain of multiplications and reads of 1 MiB, so that neither the compiler nor the processor can do it at once. */
static double spin(void) {
    static volatile uint32_t table[1u << 18];
    const double start = cpu_seconds(RUSAGE_SELF);
    uint32_t x = 1;
    for (uint32_t i = 0; i < SPIN_STEPS; i++) x = x * 1664525u + 1013904223u + ((i & 3) ? 0 : table[x >> 14]);
    table[0] = x & 1;
    return cpu_seconds(RUSAGE_SELF) - start;
}

/* How much longer than the machine of the budgets this one takes: the middle of three, at least 1. */
static double slowness(void) {
    const double a = spin(), b = spin(), c = spin();
    const double low = a < b ? a : b, high = a < b ? b : a, middle = c < low ? low : c > high ? high : c;
    return middle > SPIN_SECONDS ? middle / SPIN_SECONDS : 1;
}

static int run(char **command) {
    int status = 0;
    const pid_t child = fork();
    if (child < 0) return 127;
    if (child == 0) {
        (void)execvp(command[0], command);
        fprintf(stderr, "cpu_time: cannot run %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* One line a test, written at once, since tests run side by side. */
static int note(const char *path, const char *name, double took, double budget) {
    FILE *log = fopen(path, "a");
    const int bad = !log || fprintf(log, "%s %.2f %.2f\n", name, took, budget) < 0;
    if (log && fclose(log) == 0 && !bad) return 0;
    fprintf(stderr, "cpu_time: cannot write %s\n", path);
    return 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--spin") == 0) {
        printf("%.4f\n", spin());
        return 0;
    }
    if (argc < 5) {
        fprintf(stderr, "usage: cpu_time NAME BUDGET LOG COMMAND...\n");
        return 2;
    }
    const char *name = argv[1], *judge = getenv("CVR_TEST_BUDGET");
    double budget = strtod(argv[2], NULL);
    const int status = run(argv + 4);
    const double took = cpu_seconds(RUSAGE_CHILDREN);
    if (took > budget + ALLOWED) budget *= slowness();
    if (note(argv[3], name, took, budget) != 0) return 1;
    if (status != 0 || took <= 3 * budget + ALLOWED || (judge && strcmp(judge, "off") == 0)) return status;
    fprintf(stderr,
            "%s took %.1f CPU seconds, more than three times its budget, which is %.1f on this machine; make it "
            "cheaper, or "
            "raise its line in tests/budget.txt and say why\n",
            name, took, budget);
    return 1;
}
