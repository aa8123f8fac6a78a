/* cvrun conform */
#include "conform_tables.h"
#include "cvrun.h"

#define DRAWS 8
#define DRAWS_OF_BACKEND 2
#define SECONDS 10
#define SECONDS_OF_BACKEND 60 /* devices that are emulated are slow */
#define SECONDS_OF_ALL 600    /* of a backend */

/* The keys of a backend of its own as one line, and backend.device, which may stand there without its section. */
static void gather_settings(const arguments *a, const char **device, cvr_text *line) {
    for (size_t i = 0; i < a->n_settings; i++) {
        const char *s = a->settings[i];
        if (strncmp(s, "backend.", 8) == 0) s += 8;
        if (strncmp(s, "device=", 7) == 0)
            *device = s + 7;
        else
            cvr_text_add(line, "%s%s", line->n ? " " : "", s);
    }
}

static int try_all(const arguments *a, const conform_options *o) {
    cvr_error err = CVR_ERROR_INIT;
    conform_board *b;
    if (conform_run(o, &b, &err) != CVR_OK) return report_error(&err);
    if (a->json)
        conform_print_json(b, o);
    else if (o->backend)
        conform_print_ops(b, o, a->verbose);
    else
        conform_print_rows(b, o);
    if (!a->json) conform_print_findings(b);
    const int status = conform_passed(b) ? EXIT_OK : EXIT_FAILED;
    conform_free(&b);
    return status;
}

static int run_conform(const arguments *a) {
    cvr_text settings = {0};
    const char *device = NULL;
    if (!a->n_plugins == !a->backend) {
        fprintf(stderr, "cvrun: error: which plugin, or which backend? Usage: cvrun conform %s\n",
                conform_command.usage);
        return EXIT_USAGE;
    }
    if (a->n_settings && !a->backend) {
        print_line(stderr, "cvrun: error: `%s`: settings are a backend's; give --backend", a->settings[0]);
        return EXIT_USAGE;
    }
    gather_settings(a, &device, &settings);
    conform_options o = {.files = a->plugins,
                         .n_files = a->n_plugins,
                         .backend = a->backend,
                         .device = device,
                         .settings = settings.s ? settings.s : "",
                         .op = a->op,
                         .cases = a->cases,
                         .n_cases = a->n_cases,
                         .draws = a->draws     ? a->draws
                                  : a->backend ? DRAWS_OF_BACKEND
                                               : DRAWS,
                         .seed = a->seed,
                         .flops = a->flops,
                         .limit = a->limit > 0 ? a->limit
                                  : a->backend ? SECONDS_OF_BACKEND
                                               : SECONDS,
                         .seconds = a->seconds > 0 || !a->backend ? a->seconds : SECONDS_OF_ALL};
    const int status = try_all(a, &o);
    cvr_text_clear(&settings);
    return status;
}

const command conform_command = {
    .name = "conform",
    .usage = "--plugin FILE.so | --backend NAME [--op PATTERN] [--json] [-v]",
    .summary = "every op, kernel and layer of a plugin or backend, on random cases",
    .help =
        "--plugin FILE.so: the plugin need be in no manifest; those that it needs are found as ever, by "
        "CVR_PLUGIN_PATH. "
        "Every kernel is compared with the op's reference kernel or with what the op decomposes into, run "
        "twice, with one thread and with three, in place and not, between guard bytes and between guard "
        "pages; every gradient is compared with differences; layers run in training and in evaluation. "
        "May be given several times.\n"
        "--backend NAME: every op that is registered runs on the backend's device, forward and backward, in f32, bf16 "
        "and f16 as far as its kernels take them, each kernel against the reference. An op that would run on the host "
        "is a miss. device=NAME and the backend's own keys may follow: `emu_order=backward`. -v also lists what "
        "is right.\n"
        "--op PATTERN  only ops and layers of these names, with * and ?: `relu,conv2d*`; of a backend also the ops "
        "that compute them there\n"
        "--cases FILE  cases besides those that are drawn, one a line: `acme.shrink lambd=0.{1-9} | "
        "{1-3},{2-7}`\n"
        "--draws N     cases of each op, layer and line (8; of a backend 2)\n"
        "--seed N      other cases (0)\n"
        "--limit N     seconds that a case may take (10; on a backend 60)\n"
        "--flops N     leave cases of more floating-point operations out (of a backend that is there for tests 5e6)\n"
        "--seconds N   seconds that all may take; what has had no case by then is named (of a backend 600)\n"
        "Exit status 1: something is wrong, and a line says what, with the case that shows it; 2: nothing could be "
        "tried.\n",
    .run = run_conform,
    .forks = true,
};
