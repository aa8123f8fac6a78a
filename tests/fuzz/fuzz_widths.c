/* Fuzz target: lines of [widths], read for a small network; one that is taken must build. */
#include "fuzz.h"
#include <cvr/program.h>
#include <stdlib.h>

static const char *const network[][2] = {{"c1", "conv2d 8 kernel_size=3 padding=1"},
                                         {"b1", "batch_norm2d"},
                                         {"c2", "conv2d 12 kernel_size=3 groups=2"},
                                         {"r2", "relu"},
                                         {"c3", "conv2d 12 kernel_size=1 groups=12"},
                                         {"both", "concat dim=1 from=c3,r2"},
                                         {"f", "flatten"},
                                         {"fc1", "linear 16"},
                                         {"fc", "linear 3"}};
#define N_LAYERS (sizeof network / sizeof *network)

static cvr_plugins *plugins;

static void open_plugins(void) {
    static const char *const manifest = CVR_PLUGIN_DIR "/plugins.ini";
    cvr_error err = CVR_ERROR_INIT;
    fuzz_check(cvr_plugins_open(&plugins, &manifest, 1, &err) == CVR_OK, "%s: %s", err.file, err.message);
}

static cvr_graph *begin(cvr_store *store) {
    static const int64_t shape[] = {2, 3, 6, 6};
    cvr_error err = CVR_ERROR_INIT;
    cvr_graph *g;
    cvr_value image;
    cvr_type type;
    cvr_type_set(&type, CVR_F32, 4, shape);
    fuzz_check(cvr_graph_create(&g, plugins, store, true, &err) == CVR_OK, "%s", err.message);
    fuzz_check(cvr_graph_input(g, "image", &type, &image, &err) == CVR_OK, "%s", err.message);
    return g;
}

static void build(cvr_graph *g) {
    cvr_setting lines[N_LAYERS];
    const cvr_setting *pointers[N_LAYERS];
    cvr_error err = CVR_ERROR_INIT;
    const cvr_io *io = cvr_graph_io(g);
    cvr_value out;
    for (size_t i = 0; i < N_LAYERS; i++) {
        lines[i] = (cvr_setting){.section = "net", .key = network[i][0], .value = network[i][1]};
        pointers[i] = &lines[i];
    }
    const cvr_net net = {pointers, N_LAYERS, 3};
    fuzz_check(cvr_graph_net(g, &net, io->input(io, "image"), &out, &err) == CVR_OK, "%s", err.message);
    fuzz_check(io->put(io, "output", CVR_ROLE_RESULT, out, &err) == CVR_OK, "%s", err.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    cvr_error err = CVR_ERROR_INIT;
    cvr_store *store;
    cvr_graph *trace;
    cvr_channels *channels;
    bool taken = true;
    char *const text = malloc(n + 1), *save = NULL;
    fuzz_check(text != NULL, "out of memory");
    if (n) memcpy(text, bytes, n);
    text[n] = '\0';
    if (!plugins) open_plugins();
    fuzz_check(cvr_store_create(&store, 1, &err) == CVR_OK, "%s", err.message);
    cvr_graph *g = begin(store);
    fuzz_check(cvr_graph_trace(&trace, g, &err) == CVR_OK, "%s", err.message);
    build(trace);
    fuzz_check(cvr_channels_create(&channels, trace, &err) == CVR_OK, "%s", err.message);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const int32_t status = cvr_channels_read(channels, line, &err);
        fuzz_check_line(status, &err);
        taken = taken && status == CVR_OK;
    }
    if (taken) fuzz_check(cvr_graph_narrow(g, trace, channels, &err) == CVR_OK, "%s", err.message);
    cvr_channels_destroy(&channels);
    cvr_graph_destroy(&trace);
    cvr_graph_destroy(&g);
    cvr_store_destroy(&store);
    free(text);
    return 0;
}
