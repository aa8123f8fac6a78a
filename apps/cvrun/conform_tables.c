/* What `cvrun conform` found, as tables and as JSON. */
#include "conform_tables.h"
#include "cvrun.h"

static const char *worst_text(const conform_row *r, char buf[24]) {
    (void)snprintf(buf, 24, r->compared ? "%.2g" : "-", r->worst);
    return buf;
}

static void print_row(const conform_row *r) {
    char worst[24];
    printf("%-28s %-34s %7llu %7llu  %-10s", r->name, r->what, (unsigned long long)r->cases,
           (unsigned long long)r->passed, worst_text(r, worst));
    if (r->drawn) printf(" %llu/%llu", (unsigned long long)r->drawn, (unsigned long long)r->refused);
    if (*r->note)
        print_line(stdout, "\n    %s", r->note);
    else
        printf("\n");
}

static void print_head(void) {
    printf("%-28s %-34s %7s %7s  %-10s %s\n", "op or layer", "what", "cases", "passed", "worst", "drawn/refused");
}

/* What is not asked for is not told, nor of an op whose cases are all programs' that it had none of its own. */
static bool is_told(const conform_options *o, const conform_row *r) {
    const bool empty = !r->cases && !r->drawn && !r->lines && !*r->note && strcmp(r->what, "op") == 0;
    return conform_is_asked(o, r) && !empty;
}

void conform_print_rows(const conform_board *b, const conform_options *o) {
    print_head();
    for (uint32_t i = 0; i < b->n_rows; i++)
        if (is_told(o, &b->rows[i])) print_row(&b->rows[i]);
}

/* ---- of a backend ---- */

static void print_places(const conform_board *b) {
    static const char *const words[] = {"by a kernel of its own", "in other ops", "a view",
                                        "the host's by nature",   "on the host",  "no case reached it"};
    printf("%-34s %s\n", "op", "runs");
    for (uint32_t i = 0; i < b->n_ops; i++)
        print_line(stdout, "%-34s %s%s%s", b->ops[i].name, words[conform_place_of(&b->ops[i])],
                   *b->ops[i].parts ? ": " : "", b->ops[i].parts);
}

/* Ops that were named, and whose kernels are those of others. */
static void print_parts(const conform_board *b) {
    for (uint32_t i = 0; i < b->n_ops; i++)
        if (conform_place_of(&b->ops[i]) == PLACE_OTHER_OPS)
            print_line(
                stdout,
                "%s has no kernel of its own there; it is computed by %s, whose kernels are tried with its cases",
                b->ops[i].name, b->ops[i].parts);
}

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

/* Ops of which the device leaves cases to the host, all of them or some, with the first reason. */
static void print_left(const conform_board *b, bool all) {
    bool any = false;
    for (uint32_t i = 0; i < b->n_ops; i++) {
        const conform_op *o = &b->ops[i];
        const conform_place place = conform_place_of(o);
        if (!o->on_host || place == PLACE_VIEW || place == PLACE_OF_HOST || (place == PLACE_MISS) != all) continue;
        if (!any) printf("\n%-34s %8s  %s\n", all ? "left to the host" : "left to it in some cases", "cases", "why");
        any = true;
        print_line(stdout, "%-34s %3llu/%-4llu  %s", o->name, (unsigned long long)o->on_host,
                   (unsigned long long)o->planned, o->reason);
    }
}

void conform_print_ops(const conform_board *b, const conform_options *o, bool verbose) {
    unsigned count[PLACE_UNSEEN + 1] = {0};
    uint64_t cases = 0, kernels = 0;
    print_line(stdout, "backend %s: %s", o->backend, b->device);
    if (verbose) print_places(b), print_head();
    for (uint32_t i = 0; i < b->n_rows; i++) {
        const conform_row *r = &b->rows[i];
        const bool kernel = strncmp(r->what, "kernel", 6) == 0;
        if (kernel) cases += r->cases;
        if (kernel && r->cases) kernels++;
        if (verbose && strcmp(r->what, "place") != 0 && is_told(o, r)) print_row(r);
    }
    for (uint32_t i = 0; i < b->n_ops; i++) count[conform_place_of(&b->ops[i])]++;
    print_left(b, false);
    print_left(b, true);
    if (o->op && !verbose) print_parts(b);
    printf("\n%u op%s: %u by kernels of their own, %u in other ops, %u views, %u the host's by nature, %u left to the "
           "host, %u that no case reached\n%llu kernel%s in %llu case%s\n",
           b->n_ops, plural(b->n_ops), count[PLACE_ITSELF], count[PLACE_OTHER_OPS], count[PLACE_VIEW],
           count[PLACE_OF_HOST], count[PLACE_MISS], count[PLACE_UNSEEN], (unsigned long long)kernels, plural(kernels),
           (unsigned long long)cases, plural(cases));
    if (b->n_large)
        printf("%llu cases were left out, being of more than %g operations (--flops)\n", (unsigned long long)b->n_large,
               b->flops);
    if (b->stopped)
        printf("stopped after %g seconds, %llu of %llu jobs done\n", o->seconds, (unsigned long long)b->job,
               (unsigned long long)b->n_jobs);
}

void conform_print_findings(const conform_board *b) {
    for (uint32_t i = 0; i < b->n_failures; i++) print_line(stdout, "failed: %s", b->failures[i]);
    if (b->unsaid) printf("failed: %u more of the same rows\n", b->unsaid);
    printf("%s\n", !conform_passed(b) ? "not all passed" : b->stopped ? "all that was tried passed" : "all passed");
}

static void add_places(cvr_text *t, const conform_board *b) {
    static const char *const words[] = {"kernel", "other ops", "view", "host by nature", "host", "unseen"};
    for (uint32_t i = 0; i < b->n_ops; i++) {
        cvr_text_add(t, "%s\n  {\"name\": ", i ? "," : "");
        cvr_text_add_json(t, b->ops[i].name);
        cvr_text_add(t, ", \"runs\": \"%s\", \"planned\": %llu, \"on_host\": %llu, \"reason\": ",
                     words[conform_place_of(&b->ops[i])], (unsigned long long)b->ops[i].planned,
                     (unsigned long long)b->ops[i].on_host);
        cvr_text_add_json(t, b->ops[i].reason);
        cvr_text_add(t, ", \"parts\": ");
        cvr_text_add_json(t, b->ops[i].parts);
        cvr_text_add(t, "}");
    }
}

void conform_print_json(const conform_board *b, const conform_options *o) {
    cvr_text t = {0};
    cvr_text_add(&t, "{");
    if (o->backend) {
        cvr_text_add(&t, "\"backend\": ");
        cvr_text_add_json(&t, o->backend);
        cvr_text_add(&t, ", \"stopped\": %s, \"ops\": [", b->stopped ? "true" : "false");
        add_places(&t, b);
        cvr_text_add(&t, "\n], ");
    }
    cvr_text_add(&t, "\"rows\": [");
    const char *between = "";
    for (uint32_t i = 0; i < b->n_rows; i++) {
        const conform_row *r = &b->rows[i];
        if (!is_told(o, r)) continue;
        cvr_text_add(&t, "%s\n  {\"name\": ", between);
        between = ",";
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
