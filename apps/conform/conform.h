/*
 * Conformance of plugins: every op, kernel and layer of a plugin on random cases, against what they must be. What
 * `cvrun conform --plugin` does.
 *
 * A process of its own works through a list of jobs, a case each, and writes what it finds to a board that it shares
 * with the process that started it. Where it dies or hangs, the other one writes down what it was about, and starts a
 * new one behind that job. The jobs follow from the options alone, so that both count them alike.
 */
#ifndef CVR_CONFORM_H
#define CVR_CONFORM_H

#include <cvr/plugins.h>

typedef struct conform_options {
    const char *const *files; /* plugins */
    size_t n_files;
    const char *op;           /* names of ops and layers that are looked at, with * and ?; NULL: all */
    const char *const *cases; /* files of cases (draw.h) */
    size_t n_cases;
    uint64_t draws, seed; /* draws: of each op, layer and line of a file */
    double limit;         /* seconds that a case may take */
} conform_options;

/* What is said of one kernel, one op's gradient or one layer. */
typedef struct conform_row {
    char name[72]; /* op or layer */
    char what[88]; /* "kernel cpu (avx2 fma)", "gradient", "layer" */
    uint64_t cases, passed;
    uint64_t drawn, refused; /* of `drawn` cases that were tried `refused` were no case of it */
    double worst;            /* relative error */
    char note[240], refusal[200];
    uint32_t lines; /* of failures */
    uint32_t deaths;
    bool compared; /* worst means something */
    bool foreign;  /* an op that the plugin has kernels for, and does not own */
    bool left;     /* its op hangs or dies, and is left alone */
} conform_row;

#define CONFORM_MOST_ROWS 1024u
#define CONFORM_MOST_FAILURES 200u
#define CONFORM_LINES_A_ROW 3u

/* Lies in memory that both processes see. */
typedef struct conform_board {
    uint64_t n_jobs, job; /* job: the one that is being done */
    double started;       /* when it began (cvr_now) */
    bool ready, done;
    uint32_t n_rows, n_failures, unsaid; /* unsaid: failures without a line */
    conform_row rows[CONFORM_MOST_ROWS];
    char failures[CONFORM_MOST_FAILURES][1300];
    char doing[600];    /* what to say where the process ends */
    char line[700];     /* the case, as a file of cases would have it */
    char replaced[600]; /* a plugin that was given took the place of one that was listed; "" where none did */
    int64_t doing_row;  /* that what ends the process is said of, */
    int64_t job_row;    /* and that of the op or layer whose case it is; -1: none */
    cvr_error fatal;    /* why nothing could be done at all */
} conform_board;

/* Does all of it. CVR_OK: the board says how it went. Free it with conform_free. */
int32_t conform_run(const conform_options *o, conform_board **out, cvr_error *err);
void conform_free(conform_board **board);
/* Whether there is nothing to complain about. */
bool conform_passed(const conform_board *b);

/* ---- the board ---- */

conform_row *board_row(conform_board *b, const char *name, const char *what);
/* A failure of a row: a line that says what is wrong with which case. */
void board_fail(conform_board *b, conform_row *r, const char *format, ...) CVR_PRINTF(3, 4);
/* What the process is about from here on. */
void board_doing(conform_board *b, const conform_row *r, const char *format, ...) CVR_PRINTF(3, 4);

/* The process that does the jobs from `first` on; does not return. */
_Noreturn void conform_work(const conform_options *o, conform_board *b, uint64_t first, int output);

#endif
