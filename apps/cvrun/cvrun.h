/* What the subcommands share. One file a subcommand. */
#ifndef CVRUN_H
#define CVRUN_H

#include <cvr/session.h>

#define CVRUN_VERSION "0.1.0"

#define EXIT_OK 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2
#define EXIT_INTERRUPTED 75

#define MOST_SWAPS 32 /* moves to another backend that one command may name */

/* The words after the subcommand. */
typedef struct arguments {
    const char *path;          /* the first word that is neither an option nor a setting */
    const char *output;        /* the second such word, for commands that need one */
    const char *settings[128]; /* key=value */
    size_t n_settings;
    const char *sources[128]; /* predict: source=PATH, each time that it stands there */
    size_t n_sources;
    const char *words[32]; /* others, for commands that take them */
    size_t n_words;
    const char *resume;              /* --resume RUN_DIR */
    const char *swap_to[MOST_SWAPS]; /* --swap-to BACKEND[/DEVICE]@STEP */
    size_t n_swaps;
    bool json, verbose;
    bool inference; /* bench: --inference */
    /* conform */
    const char *plugins[16], *cases[64], *op, *backend;
    size_t n_plugins, n_cases;
    uint64_t draws, seed;
    double limit, seconds, flops;
} arguments;

typedef struct command {
    const char *name;
    const char *usage;
    const char *summary;
    const char *help; /* the rest of its help page */
    int (*run)(const arguments *a);
    bool needs_path;
    bool needs_output; /* a second path */
    bool takes_words;  /* others behind the path */
    bool forks;        /* it has limits of its own, and no watchdog */
    bool resumes;      /* it trains, and goes on by --resume */
} command;

extern const command train_command, val_command, predict_command, info_command, cfg_command, check_command,
    bench_command, pack_command, plugins_command, convert_command, conform_command, ctl_command, export_command,
    quantize_command, prune_command, distill_command;
extern const command *const commands[];
extern const size_t n_commands;

/* Sections of recipes that are cvrun's own; set once a session is open. */
typedef struct predict_settings {
    const char *source, *out;
    int64_t raw, tile;
    double overlap;
    int64_t save;
} predict_settings;
typedef struct log_settings {
    const char *trace;
} log_settings;
extern const predict_settings *predict_section;
extern const log_settings *log_section;

/* When the program began, for the time to the first step. */
extern double program_start;

/* Prints `cvrun: error: FILE:LINE: ...` and returns the exit status that fits. */
int report_error(const cvr_error *err);
/* Opens a session from the path and settings. */
int32_t try_session(const arguments *a, uint32_t purpose, cvr_session **out, cvr_error *err);
/* The same; on failure prints why and returns the exit status. */
int open_session(const arguments *a, uint32_t purpose, cvr_session **out);

/* The backend, the device and the precision that a session computes with, as a line on standard output. */
void print_backend(const cvr_session_info *i);

/* Trains in a run folder that is there, of whose options folder, resume and swaps are given; all who listen are told. A
 * signal ends it with CVR_ERR_INTERRUPTED. */
int32_t train_in_folder(cvr_session *s, const cvr_train_options *given, cvr_train_result *result, cvr_error *err);

/* Gives bare settings the command's own section: "opset=13" becomes "export.opset=13", in the memory of `own`, one for
 * each setting. */
int32_t take_own_settings(arguments *a, const char *section, cvr_text *own, cvr_error *err);

/* Prints a line in which names from files may stand: control characters, which could move a terminal's cursor or
 * colour it, become `?`. */
void print_line(FILE *to, const char *format, ...) CVR_PRINTF(2, 3);
/* The same to standard output, with the lines that it has; and a page of any length, which is cleaned in place. */
void print_text(const char *format, ...) CVR_PRINTF(1, 2);
void print_page(char *page);

/* "1,234,567" */
const char *human_count(int64_t n, char buf[32]);
/* "1 epoch", "1,234 epochs", "10 classes" */
const char *human_many(int64_t n, const char *one, char buf[64]);
/* Of pictures a second: "1234", "7.3", "0.42" */
const char *human_speed(double v, char buf[32]);
/* "59 s", "2 min 05 s", "1 h 02 min" */
const char *human_seconds(double s, char buf[32]);

/* A bar on a terminal, at most ten times a second; elsewhere (a log, a pipe) a line a minute. */
typedef struct progress {
    const char *what; /* is done: "validation" */
    double shown;
    bool terminal, open;
} progress;
void progress_start(progress *p, const char *what);
bool progress_due(progress *p, bool last);
void progress_show(progress *p, double fraction, const char *text);
void progress_clear(progress *p);
/* cvr_progress_fn over a progress. */
void progress_count(void *ctx, int64_t done, int64_t total);

#endif
