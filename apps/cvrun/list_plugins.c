/* cvrun plugins */
#include "cvrun.h"
#include "list_devices.h"

static void print_words(const char *label, const char *words) {
    size_t width = 0;
    if (!*words) return;
    print_text("    %s", label);
    for (const char *p = words; *p;) {
        const size_t n = strcspn(p, " ");
        if (width + n > 90) {
            printf("\n    %*s", (int)strlen(label), "");
            width = 0;
        }
        print_text(" %.*s", (int)n, p);
        width += n + 1;
        p += n + strspn(p + n, " ");
    }
    printf("\n");
}

static void print_dormant(const cvr_plugins *plugins, const char *id) {
    cvr_text lines = {0};
    cvr_plugins_dormant(plugins, id, &lines);
    for (const char *p = lines.s; p && *p;) {
        const size_t n = strcspn(p, "\n");
        print_text("    dormant  %.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
    cvr_text_clear(&lines);
}

static void print_plugin(cvr_plugins *plugins, const cvr_plugin_info *p, bool verbose) {
    static const char *const states[] = {"listed", "loaded", "refused"};
    print_text("%-22s %-8s %-8s %s\n", p->id, p->version, states[p->state], verbose ? p->file : "");
    if (p->state == CVR_PLUGIN_REFUSED) print_text("    refused: %s\n", p->reason);
    if (!verbose) return;
    print_words("provides", p->provides);
    print_words("requires", p->requires_);
    print_words("isa", p->isa);
    print_dormant(plugins, p->id);
    print_devices(plugins, p);
    print_text("    manifest %s:%u\n", p->manifest, p->line);
}

static void print_json(cvr_plugins *plugins) {
    static const char *const states[] = {"listed", "loaded", "refused"};
    cvr_text t = {0};
    cvr_text_add(&t, "[");
    for (size_t i = 0; i < cvr_plugins_count(plugins); i++) {
        const cvr_plugin_info *p = cvr_plugins_info(plugins, i);
        const struct {
            const char *key, *value;
        } members[] = {
            {"id", p->id},     {"version", p->version},   {"state", states[p->state]}, {"reason", p->reason},
            {"file", p->file}, {"manifest", p->manifest}, {"provides", p->provides},   {"requires", p->requires_},
            {"isa", p->isa}};
        cvr_text_add(&t, "%s\n  {", i ? "," : "");
        for (size_t k = 0; k < sizeof members / sizeof *members; k++) {
            cvr_text_add(&t, "%s\"%s\": ", k ? ", " : "", members[k].key);
            cvr_text_add_json(&t, members[k].value);
        }
        cvr_text dormant = {0};
        cvr_plugins_dormant(plugins, p->id, &dormant);
        cvr_text_add(&t, ", \"dormant\": ");
        cvr_text_add_json(&t, dormant.s ? dormant.s : "");
        cvr_text_clear(&dormant);
        cvr_text_add(&t, ", \"devices\": ");
        add_devices(&t, plugins, p);
        cvr_text_add(&t, "}");
    }
    cvr_text_add(&t, "\n]\n");
    fputs(t.s ? t.s : "", stdout);
    cvr_text_clear(&t);
}

static int run_plugins(const arguments *a) {
    cvr_error err;
    cvr_plugins *plugins;
    cvr_error_init(&err);
    if (cvr_plugins_open(&plugins, NULL, 0, &err) != CVR_OK) return report_error(&err);
    cvr_plugins_load_all(plugins);
    for (size_t i = 0; !a->json && i < cvr_plugins_count(plugins); i++)
        print_plugin(plugins, cvr_plugins_info(plugins, i), a->verbose);
    if (a->json) print_json(plugins);
    (void)fflush(stdout); /* before the words of a plugin that fails in `shutdown` */
    cvr_plugins_close(&plugins);
    return EXIT_OK;
}

const command plugins_command = {
    .name = "plugins",
    .usage = "[-v] [--json]",
    .summary = "every plugin found, loaded or refused, and why",
    .help =
        "Manifests: plugins.ini beside the library, then those in CVR_PLUGIN_PATH (files or folders, separated by "
        "`:`).\n"
        "-v also prints what each provides, where it was found, which of its kernels nothing here can launch, and the "
        "devices that a backend has, with what they can do: any of them is one for backend.device, by its number, name "
        "or UUID.\n",
    .run = run_plugins,
};
