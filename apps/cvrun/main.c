/* cvrun: the command line. Words are read here, subcommands do the rest. */
#include "help.h"
#include <cvr/guard.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

double program_start;

const command *const commands[] = {&train_command,    &val_command,     &predict_command, &export_command,
                                   &quantize_command, &prune_command,   &distill_command, &info_command,
                                   &cfg_command,      &check_command,   &bench_command,   &pack_command,
                                   &plugins_command,  &convert_command, &conform_command, &ctl_command};
const size_t n_commands = sizeof commands / sizeof *commands;

static void print_log(void *ctx, uint32_t level, const char *text) {
    static const char *const names[] = {"error: ", "warning: ", "", "debug: "};
    (void)ctx;
    if (level == CVR_LOG_DEBUG && !getenv("CVRUN_DEBUG")) return;
    if (isatty(2)) fprintf(stderr, "\r\033[K");
    print_line(stderr, "cvrun: %s%s", names[level <= CVR_LOG_DEBUG ? level : CVR_LOG_DEBUG], text);
}

int report_error(const cvr_error *err) {
    if (isatty(2)) fprintf(stderr, "\r\033[K");
    const char *what = err->code == CVR_ERR_INTERRUPTED ? "" : "error: ";
    const char *message = err->message[0] ? err->message : "a plugin failed and did not say why";
    if (err->file[0] && err->line)
        print_line(stderr, "cvrun: %s%s:%u: %s", what, err->file, err->line, message);
    else if (err->file[0])
        print_line(stderr, "cvrun: %s%s: %s", what, err->file, message);
    else
        print_line(stderr, "cvrun: %s%s", what, message);
    if (err->code == CVR_ERR_INTERRUPTED) return EXIT_INTERRUPTED;
    return err->code == CVR_ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

static const cvr_attr_desc *const predict_keys[] = {
    CVR_ATTR(
        PATH, "source", "",
        "a picture, a folder of them, a .txt file that lists them, or a pattern, 'photos/*.jpg'; on the command line "
        "also several, a,b"),
    CVR_ATTR(PATH, "out", "", "where predictions go; default: runs/predict/NAME"),
    CVR_ATTR(BOOL, "raw", "no", "also write the network's raw outputs"),
    CVR_ATTR(
        INT, "tile", "0",
        "pictures that are larger are looked at in squares of this side that overlap, in their own pixels, and what "
        "is found there is merged; also by val; 0: whole",
        CVR_ATTR_BETWEEN(0, 65500)),
    CVR_ATTR(FLOAT, "overlap", "0.2", "share of a tile's side that it has in common with the next",
             CVR_ATTR_BETWEEN(0, 0.95)),
    CVR_ATTR(BOOL, "save", "yes", "also write pictures that show what was found, where the task has such"),
};
static const cvr_attr_desc *const log_keys[] = {
    CVR_ATTR(PATH, "trace", "", "file for a trace of every node of every step, for chrome://tracing or Perfetto"),
};
static const cvr_schema predict_schema = {predict_keys, sizeof predict_keys / sizeof *predict_keys},
                        log_schema = {log_keys, sizeof log_keys / sizeof *log_keys};
const predict_settings *predict_section;
const log_settings *log_section;

const cvr_recipe_section *help_section(size_t i) {
    static cvr_recipe_section own[] = {
        {.name = "predict", .doc = "what `cvrun predict` looks at, and what it tells; keys of the task join them"},
        {.name = "log", .doc = "what a run writes down of itself"}};
    size_t n = 0;
    while (cvr_session_section(n)) n++;
    own[0].schema = predict_schema;
    own[1].schema = log_schema;
    if (i < n) return cvr_session_section(i);
    return i - n < sizeof own / sizeof *own ? &own[i - n] : NULL;
}

int32_t try_session(const arguments *a, uint32_t purpose, cvr_session **out, cvr_error *err) {
    const void *predict, *log;
    const cvr_app_section sections[] = {{"predict", &predict_schema, &predict}, {"log", &log_schema, &log}};
    const cvr_session_options o = {.path = a->path,
                                   .overrides = a->settings,
                                   .n_overrides = a->n_settings,
                                   .purpose = purpose,
                                   .sections = sections,
                                   .n_sections = sizeof sections / sizeof *sections};
    const int32_t status = cvr_session_open(out, &o, err);
    for (size_t i = 0; status == CVR_ERR_USAGE && i < a->n_settings; i++) hint_at_section(a->settings[i], err);
    if (status != CVR_OK) hint_at_file(a->path, err);
    CVR_TRY(status);
    predict_section = predict;
    log_section = log;
    return CVR_OK;
}

int open_session(const arguments *a, uint32_t purpose, cvr_session **out) {
    cvr_error err = CVR_ERROR_INIT;
    return try_session(a, purpose, out, &err) == CVR_OK ? EXIT_OK : report_error(&err);
}

static void print_usage(FILE *to) {
    fprintf(to, "cvrun trains, runs and examines computer-vision networks.\n\n");
    for (size_t i = 0; i < n_commands; i++)
        fprintf(to, "  cvrun %s %s\n      %s\n", commands[i]->name, commands[i]->usage, commands[i]->summary);
    fprintf(to, "  cvrun help [TOPIC]\n      this, or all that there is on it\n");
    fprintf(to, "\nTopics of help: a command; layers augment optim sched data models tasks backends\n"
                "passes gradients codecs weights exporters compressors distillers reports\n"
                "sections; the name of any of them; a section of recipes, a setting such as\n"
                "train.batch.\n");
    fprintf(to, "\nSettings stand as key=value after the recipe: epochs=5 optim.momentum=0.9\n"
                "Without a recipe they are all there is: cvrun train data=my-data model=yolox_s\n");
}

static const command *find_command(const char *name) {
    for (size_t i = 0; i < n_commands; i++) {
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    }
    return NULL;
}

static int unknown(const char *what, const char *word, const char *const *known, size_t n) {
    const char *nearest = cvr_nearest(word, known, n);
    if (nearest)
        print_line(stderr, "cvrun: error: unknown %s `%s`; did you mean `%s`?", what, word, nearest);
    else
        print_line(stderr, "cvrun: error: unknown %s `%s`; `cvrun help` lists what there is", what, word);
    return EXIT_USAGE;
}

static int help(const char *topic) {
    if (topic && strcmp(topic, "--markdown") == 0) return help_all_markdown();
    if (topic) return help_topic(topic);
    print_usage(stdout);
    return EXIT_OK;
}

static int unknown_command(const char *word) {
    const char *names[32] = {"help"};
    for (size_t i = 0; i < n_commands; i++) names[i + 1] = commands[i]->name;
    return unknown("command", word, names, n_commands + 1);
}

/* Options of conform that have a value. */
static bool read_conform_option(arguments *a, const char *option, const char *value) {
    if (strcmp(option, "--plugin") == 0 && a->n_plugins < 16)
        a->plugins[a->n_plugins++] = value;
    else if (strcmp(option, "--cases") == 0 && a->n_cases < 64)
        a->cases[a->n_cases++] = value;
    else if (strcmp(option, "--op") == 0)
        a->op = value;
    else if (strcmp(option, "--draws") == 0)
        a->draws = strtoull(value, NULL, 10);
    else if (strcmp(option, "--seed") == 0)
        a->seed = strtoull(value, NULL, 10);
    else if (strcmp(option, "--limit") == 0)
        a->limit = strtod(value, NULL);
    else if (strcmp(option, "--backend") == 0)
        a->backend = value;
    else if (strcmp(option, "--flops") == 0)
        a->flops = strtod(value, NULL);
    else if (strcmp(option, "--seconds") == 0)
        a->seconds = strtod(value, NULL);
    else
        return false;
    return true;
}

/* An option and, for those that have one, its value. Returns words used, or 0. */
static int read_option(arguments *a, const command *c, char **words, int n) {
    const bool has_value = n > 1 && words[1][0] != '-';
    if (has_value && c == &conform_command && read_conform_option(a, words[0], words[1])) return 2;
    if (strcmp(words[0], "--json") == 0)
        a->json = true;
    else if (strcmp(words[0], "--inference") == 0)
        a->inference = true;
    else if (strcmp(words[0], "-v") == 0 || strcmp(words[0], "--verbose") == 0)
        a->verbose = true;
    else if (strcmp(words[0], "--resume") == 0 && has_value)
        a->resume = words[1];
    else if (strcmp(words[0], "--swap-to") == 0 && has_value && a->n_swaps < MOST_SWAPS)
        a->swap_to[a->n_swaps++] = words[1];
    else
        return 0;
    return words[0][1] == '-' && (words[0][2] == 'r' || words[0][2] == 's') ? 2 : 1;
}

/* An option at the end that wants a value, or one with another option behind it: said in its own words. */
static bool lacks_value(char **words, int n) {
    static const struct {
        const char *option, *wants;
    } with_value[] = {{"--resume", "a run folder, such as runs/classify/NAME"},
                      {"--swap-to", "BACKEND@STEP or BACKEND/DEVICE@STEP, such as cuda@1000"},
                      {"--plugin", "a plugin's file, such as build/lib/cvrun/shrink.so"},
                      {"--cases", "a file of cases"},
                      {"--op", "the name of an op or layer, with * and ?"},
                      {"--draws", "a number"},
                      {"--seed", "a number"},
                      {"--backend", "a backend's name; `cvrun help backends`"},
                      {"--seconds", "a number of seconds"},
                      {"--flops", "a number of operations"},
                      {"--limit", "a number of seconds"}};
    for (size_t i = 0; i < sizeof with_value / sizeof *with_value; i++) {
        if (strcmp(words[0], with_value[i].option) != 0 || (n > 1 && words[1][0] != '-' && words[1][0])) continue;
        print_line(stderr, "cvrun: error: %s wants %s", words[0], with_value[i].wants);
        return true;
    }
    return false;
}

/* Without a recipe the settings are all there is; one of them says which network. */
static bool has_recipe(const arguments *a, const command *c) {
    if (a->path) return true;
    for (size_t i = 0; i < a->n_settings && !c->needs_output; i++)
        if (strncmp(a->settings[i], "model=", 6) == 0 || strncmp(a->settings[i], "model.name=", 11) == 0) return true;
    return false;
}

static int no_recipe(const command *c) {
    if (c->takes_words)
        print_line(stderr, "cvrun: error: %s wants a run folder first: cvrun %s %s", c->name, c->name, c->usage);
    else
        print_line(stderr, "cvrun: error: what shall I %s? Usage: cvrun %s %s%s", c->name, c->name, c->usage,
                   c->needs_output ? "" : "; without a recipe, model=NAME and data=FOLDER as settings");
    return EXIT_USAGE;
}

/* No option at all, or another command's. */
static int unknown_option(const command *c, const char *word) {
    static const char *const options[] = {"--json",   "--verbose", "--inference", "--resume", "--swap-to",
                                          "--plugin", "--cases",   "--op",        "--draws",  "--seed",
                                          "--limit",  "--backend", "--seconds",   "--flops"};
    const size_t n = sizeof options / sizeof *options;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(options[i], word) != 0) continue;
        print_line(stderr, "cvrun: error: %s has no option `%s`; `cvrun help %s` says what it takes", c->name, word,
                   c->name);
        return EXIT_USAGE;
    }
    return unknown("option", word, options, n);
}

static int read_arguments(arguments *a, const command *c, char **words, int n) {
    for (int i = 0; i < n; i++) {
        if (words[i][0] == '-') {
            if (lacks_value(words + i, n - i)) return EXIT_USAGE;
            if (a->n_swaps == MOST_SWAPS && strcmp(words[i], "--swap-to") == 0) {
                print_line(stderr, "cvrun: error: more than %d --swap-to", MOST_SWAPS);
                return EXIT_USAGE;
            }
            const int used = read_option(a, c, words + i, n - i);
            if (used == 0) return unknown_option(c, words[i]);
            i += used - 1;
        } else if (strchr(words[i], '=') && strchr(words[i], '=') != words[i] && !cvr_fs_exists(words[i])) {
            if (a->n_settings == 128) {
                print_line(stderr, "cvrun: error: more than 128 settings; write them into the recipe");
                return EXIT_USAGE;
            }
            a->settings[a->n_settings++] = words[i];
        } else if (!a->path) {
            a->path = words[i];
        } else if (!a->output && c->needs_output) {
            a->output = words[i];
        } else if (c->takes_words && a->n_words < sizeof a->words / sizeof *a->words) {
            a->words[a->n_words++] = words[i];
        } else {
            print_line(stderr, "cvrun: error: `%s` is one word too many; settings are written key=value", words[i]);
            return EXIT_USAGE;
        }
    }
    if (a->resume && a->path) {
        print_line(stderr,
                   "cvrun: error: `%s` beside --resume %s: a run goes on with its own recipe; give one of the two, and "
                   "settings as key=value",
                   a->path, a->resume);
        return EXIT_USAGE;
    }
    if (a->resume && !c->resumes) {
        print_line(
            stderr,
            "cvrun: error: %s has no --resume; training that was interrupted goes on by: cvrun train --resume %s",
            c->name, a->resume);
        return EXIT_USAGE;
    }
    if (a->resume) a->path = a->resume;
    if (c->takes_words && !a->path) return no_recipe(c);
    if ((c->needs_path && !has_recipe(a, c)) || (!a->output && c->needs_output)) return no_recipe(c);
    return EXIT_OK;
}

/* What was printed has arrived, or the command has failed. */
static int finish_output(int status) {
    const bool broken = ferror(stdout) != 0;
    errno = broken ? EIO : 0;
    if (fflush(stdout) == 0 && !broken) return status;
    print_line(stderr, "cvrun: error: standard output: cannot write what there is to say: %s", strerror(errno));
    return status == EXIT_OK ? EXIT_FAILED : status;
}

static int run(int argc, char **argv) {
    arguments a = {0};
    program_start = cvr_now();
    cvr_set_log(print_log, NULL);
    cvr_guard_open("cvrun");
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is an error of write(), not a death */
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(argc > 2 ? argv[2] : NULL);
    if (strcmp(argv[1], "--version") == 0) {
        printf("cvrun %s (plugin ABI %u.%u)\n", CVRUN_VERSION, CVR_ABI_MAJOR, CVR_ABI_MINOR);
        return EXIT_OK;
    }
    const command *c = find_command(argv[1]);
    if (!c) return unknown_command(argv[1]);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return help_command(c);
    }
    if (!c->forks) cvr_guard_watch();
    const int status = read_arguments(&a, c, argv + 2, argc - 2);
    return status == EXIT_OK ? c->run(&a) : status;
}

int main(int argc, char **argv) {
    const int status = finish_output(run(argc, argv));
    cvr_guard_close();
    return status;
}
