/* cvrun conform */
#include "conform.h"
#include "cvrun.h"

#define DRAWS 8
#define SECONDS 10

static const char *worst_text(const conform_row *r, char buf[24]) {
    (void)snprintf(buf, 24, r->compared ? "%.2g" : "-", r->worst);
    return buf;
}

static void print_table(const conform_board *b) {
    char worst[24];
    printf("%-28s %-34s %7s %7s  %-10s %s\n", "op or layer", "what", "cases", "passed", "worst", "drawn/refused");
    for (uint32_t i = 0; i < b->n_rows; i++) {
        const conform_row *r = &b->rows[i];
        printf("%-28s %-34s %7llu %7llu  %-10s", r->name, r->what, (unsigned long long)r->cases,
               (unsigned long long)r->passed, worst_text(r, worst));
        if (r->drawn) printf(" %llu/%llu", (unsigned long long)r->drawn, (unsigned long long)r->refused);
        if (*r->note)
            print_line(stdout, "\n    %s", r->note);
        else
            printf("\n");
    }
}

static void print_findings(const conform_board *b) {
    for (uint32_t i = 0; i < b->n_failures; i++) print_line(stdout, "failed: %s", b->failures[i]);
    if (b->unsaid) printf("failed: %u more of the same rows\n", b->unsaid);
    printf("%s\n", conform_passed(b) ? "all passed" : "not all passed");
}

static void print_json(const conform_board *b) {
    cvr_text t = {0};
    cvr_text_add(&t, "{\"rows\": [");
    for (uint32_t i = 0; i < b->n_rows; i++) {
        const conform_row *r = &b->rows[i];
        cvr_text_add(&t, "%s\n  {\"name\": ", i ? "," : "");
        cvr_text_add_json(&t, r->name);
        cvr_text_add(&t, ", \"what\": ");
        cvr_text_add_json(&t, r->what);
        cvr_text_add(&t, ", \"cases\": %llu, \"passed\": %llu, \"drawn\": %llu, \"refused\": %llu, \"worst\": ",
                     (unsigned long long)r->cases, (unsigned long long)r->passed, (unsigned long long)r->drawn,
                     (unsigned long long)r->refused);
        if (r->compared && r->worst < 1e300)
            cvr_text_add(&t, "%.9g", r->worst);
        else
            cvr_text_add(&t, "null");
        cvr_text_add(&t, ", \"note\": ");
        cvr_text_add_json(&t, r->note);
        cvr_text_add(&t, "}");
    }
    cvr_text_add(&t, "\n], \"failures\": [");
    for (uint32_t i = 0; i < b->n_failures; i++) {
        cvr_text_add(&t, "%s\n  ", i ? "," : "");
        cvr_text_add_json(&t, b->failures[i]);
    }
    cvr_text_add(&t, "\n], \"more_failures\": %u, \"passed\": %s}\n", b->unsaid, conform_passed(b) ? "true" : "false");
    fputs(t.s ? t.s : "", stdout);
    cvr_text_clear(&t);
}

static int run_conform(const arguments *a) {
    cvr_error err = CVR_ERROR_INIT;
    conform_board *b;
    if (!a->n_plugins) {
        fprintf(stderr, "cvrun: error: which plugin? Usage: cvrun conform %s\n", conform_command.usage);
        return EXIT_USAGE;
    }
    const conform_options o = {.files = a->plugins,
                               .n_files = a->n_plugins,
                               .op = a->op,
                               .cases = a->cases,
                               .n_cases = a->n_cases,
                               .draws = a->draws ? a->draws : DRAWS,
                               .seed = a->seed,
                               .limit = a->limit > 0 ? a->limit : SECONDS};
    if (conform_run(&o, &b, &err) != CVR_OK) return report_error(&err);
    if (a->json)
        print_json(b);
    else
        print_table(b), print_findings(b);
    const int status = conform_passed(b) ? EXIT_OK : EXIT_FAILED;
    conform_free(&b);
    return status;
}

const command conform_command = {
    .name = "conform",
    .usage = "--plugin FILE.so [--op PATTERN] [--cases FILE] [--json]",
    .summary = "every op, kernel and layer of a plugin, tried on random cases",
    .help = "The plugin need be in no manifest; those that it needs are found as ever, by CVR_PLUGIN_PATH.\n"
            "Every kernel is compared with the op's reference kernel or with what the op decomposes into, run "
            "twice, with one thread and with three, in place and not, between guard bytes and between guard "
            "pages; every gradient is compared with differences; layers run in training and in evaluation.\n"
            "--plugin may be given several times.\n"
            "--op PATTERN  only ops and layers of these names, with * and ?\n"
            "--cases FILE  cases besides those that are drawn, one a line: `acme.shrink lambd=0.{1-9} | "
            "{1-3},{2-7}`\n"
            "--draws N     cases of each op, layer and line (8)\n"
            "--seed N      other cases (0)\n"
            "--limit N     seconds that a case may take (10)\n"
            "Exit status 1: something is wrong, and a line says what, with the case that shows it.\n",
    .run = run_conform,
    .forks = true,
};
