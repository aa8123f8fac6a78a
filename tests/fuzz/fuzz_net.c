/*
 * Fuzz target: the lines of a recipe's [net], built with the layers of this build; an empty line begins another net.
 * Lines whose layer is none are left out: every name would be compared with all that there are.
 */
#include "fuzz.h"
#include <cvr/program.h>
#include <stdlib.h>

#define MOST_LINES 64u

static cvr_plugins *plugins;

static void open_plugins(void) {
    static const char *const manifest = CVR_PLUGIN_DIR "/plugins.ini";
    cvr_error err = CVR_ERROR_INIT;
    fuzz_check(cvr_plugins_open(&plugins, &manifest, 1, &err) == CVR_OK, "%s: %s", err.file, err.message);
}

static int is_layer(const char *value) {
    const size_t n = strcspn(value, " \t");
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(plugins, CVR_KIND_LAYER, i)); i++)
        if (strlen(name) == n && memcmp(name, value, n) == 0) return 1;
    return 0;
}

/* `text` is cut at its newlines and its first `=`s. */
static size_t read_lines(char *text, cvr_setting lines[MOST_LINES], const cvr_setting *pointers[MOST_LINES]) {
    size_t n = 0;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line && n < MOST_LINES; line = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(line, '=');
        if (!value || value == line) continue;
        for (char *end = value; end > line && (*end == '=' || *end == ' '); end--) *end = '\0';
        do value++;
        while (*value == ' ');
        if (!*line || strlen(line) > 48 || strlen(value) > 198 || !is_layer(value)) continue;
        lines[n] = (cvr_setting){.key = line, .value = value, .file = "recipe.ini", .line = (uint32_t)n + 1};
        lines[n].section = "net";
        pointers[n] = &lines[n];
        n++;
    }
    return n;
}

static void build(const cvr_net *net) {
    static const int64_t shape[] = {2, 3, 16, 16};
    cvr_store *store = NULL;
    cvr_graph *graph = NULL;
    cvr_value image, out;
    cvr_type type = {.struct_size = sizeof type};
    cvr_error err = CVR_ERROR_INIT;
    cvr_type_set(&type, CVR_F32, 4, shape);
    int32_t status = cvr_store_create(&store, 1, &err);
    if (status == CVR_OK) status = cvr_graph_create(&graph, plugins, store, true, &err);
    if (status == CVR_OK) status = cvr_graph_input(graph, "image", &type, &image, &err);
    fuzz_check(status == CVR_OK, "%s", err.message);
    fuzz_check_line(cvr_graph_net(graph, net, image, &out, &err), &err);
    cvr_graph_destroy(&graph);
    cvr_store_destroy(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static cvr_setting lines[MOST_LINES];
    static const cvr_setting *pointers[MOST_LINES];
    char *const text = malloc(n + 1);
    fuzz_check(text != NULL, "out of memory");
    if (n) memcpy(text, bytes, n);
    text[n] = '\0';
    if (!plugins) open_plugins();
    for (char *at = text, *next; at; at = next) {
        next = strstr(at, "\n\n");
        if (next) {
            *next = '\0';
            next += 2;
        }
        const cvr_net net = {pointers, read_lines(at, lines, pointers), 10};
        if (net.n) build(&net);
    }
    free(text);
    return 0;
}
