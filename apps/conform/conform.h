/*
 * Conformance: every op, kernel and layer of a plugin on random cases, against what they must be (`cvrun conform
 * --plugin`), or every op that is registered on a backend's device (`cvrun conform --backend`).
 *
 * A process of its own works through a list of jobs, a case each, and writes what it finds to a board that it shares
 * with the process that started it. Where it dies or hangs, the other one writes down what it was about, and starts a
 * new one behind that job. The jobs follow from the options alone, so that both count them alike.
 */
#ifndef CVR_CONFORM_H
#define CVR_CONFORM_H

#include <cvr/plugins.h>

typedef struct conform_options {
    const char *const *files; /* plugins, or none where a backend is tried */
    size_t n_files;
    const char *backend, *device,
        *settings;            /* backend.name, backend.device, and keys of its own: "emu_order=backward" */
    const char *op;           /* names of ops and layers that are looked at, with * and ?, "relu,conv2d*"; NULL: all */
    const char *const *cases; /* files of cases (draw.h) */
    size_t n_cases;
    uint64_t draws, seed; /* draws: of each op, layer and line of a file */
    double limit;         /* seconds that a case may take */
    double seconds;       /* that all may take; 0: as long as it needs */
    /* Floating-point operations of a case, at most, forward and backward; 0: any number, but few on a backend that is
     * there for tests, whose devices are slow. */
    double flops;
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

#define CONFORM_MOST_ROWS 4096u
#define CONFORM_MOST_OPS 1024u
#define CONFORM_MOST_FAILURES 200u
#define CONFORM_LINES_A_ROW 3u

/* Where a backend under test runs an op. */
typedef struct conform_op {
    char name[72];
    bool view, of_host; /* nothing runs; it is the host's by nature */
    bool itself;        /* by a kernel of its own, in some case */
    char parts[240];    /* other ops that compute it on the device, "elementwise, reduce" */
    uint64_t planned;   /* times that it was planned alone, */
    uint64_t on_host;   /* and those of them in which it, or a part of what it means, was left to the host, */
    char reason[240];   /* and why the first time */
    char trouble[240];  /* why it could not be planned at all, the last time */
    uint32_t probes[3]; /* cases that were met, in f32, bf16 and f16 */
} conform_op;

/* What becomes of an op there. */
typedef enum conform_place {
    PLACE_ITSELF,    /* a kernel of its own */
    PLACE_OTHER_OPS, /* other ops that stay on the device */
    PLACE_VIEW,
    PLACE_OF_HOST,
    PLACE_MISS,  /* every case of it was left to the host */
    PLACE_UNSEEN /* it was never planned */
} conform_place;
conform_place conform_place_of(const conform_op *o);

/* Lies in memory that both processes see. */
typedef struct conform_board {
    uint64_t n_jobs, job; /* job: the one that is being done */
    double started;       /* when it began (cvr_now) */
    double end;           /* when all is over, whatever is left (cvr_now); 0: never */
    bool ready, done;
    double flops;     /* the bound that holds; 0: none */
    uint64_t n_large; /* cases that were left out for it */
    bool stopped;     /* at `end`, with jobs left */
    uint32_t n_ops;
    conform_op ops[CONFORM_MOST_OPS];
    char device[200];                    /* what the backend says of its device */
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
/* Whether a row is of what the options name, tells of kernels that compute it, or has a failure: others are of programs
 * that its cases are a part of. */
bool conform_is_asked(const conform_options *o, const conform_row *r);
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
