/*
 * Fuzz target: checkpoints, weights/last.state. The length of the header and the hash at the end are made right in most
 * inputs, so that what lies between them is read.
 */
#include "../../apps/session/session_parts.h"
#include "fuzz.h"
#include <stdlib.h>

static struct cvr_session session;

static void check(int32_t status, const cvr_error *err) {
    fuzz_check(status == CVR_OK, "%s: %s", err->file, err->message);
}

/* A store with fc.weight (3,4) and fc.bias (3). */
static void open_session(void) {
    static const char *const manifest = CVR_PLUGIN_DIR "/plugins.ini";
    static const cvr_setting line = {.section = "net", .key = "fc", .value = "linear 3"};
    static const cvr_setting *const lines[] = {&line};
    static const int64_t shape[] = {2, 4};
    const cvr_net net = {lines, 1, 3};
    cvr_graph *graph = NULL;
    cvr_device *device = NULL;
    cvr_value image, out;
    cvr_type type = {.struct_size = sizeof type};
    cvr_error err = CVR_ERROR_INIT;
    cvr_type_set(&type, CVR_F32, 2, shape);
    check(cvr_plugins_open(&session.plugins, &manifest, 1, &err), &err);
    check(cvr_device_open(&device, session.plugins, &(cvr_device_choice){.backend = "reference"}, NULL, &err), &err);
    check(cvr_store_create(&session.net.store, 1, &err), &err);
    check(cvr_graph_create(&graph, session.plugins, session.net.store, true, &err), &err);
    check(cvr_graph_input(graph, "image", &type, &image, &err), &err);
    check(cvr_graph_net(graph, &net, image, &out, &err), &err);
    check(cvr_store_place(session.net.store, device, &err), &err);
    cvr_graph_destroy(&graph);
}

/* As checkpoint.c writes it. */
static uint64_t hash_of(const uint8_t *p, uint64_t n) {
    uint64_t h = 0xcbf29ce484222325u, word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * 0x100000001b3u;
        h ^= h >> 29;
    }
    for (; n; n--) h = (h ^ *p++) * 0x100000001b3u;
    return h;
}

/* The header goes up to the last newline. */
static void mend(uint8_t *f, size_t n, int header) {
    if (n < 24) return;
    uint64_t end = n - 8;
    while (end > 16 && f[end - 1] != '\n') end--;
    const uint64_t length = end - 16;
    if (header && length) memcpy(f + 8, &length, 8);
    const uint64_t hash = hash_of(f, n - 8);
    memcpy(f + n - 8, &hash, 8);
}

static void check_state(const train_state *t) {
    const int64_t counts[] = {t->step, t->epoch, t->batch, t->epoch_samples, t->images};
    const double reals[] = {t->seconds, t->wait_seconds, t->epoch_seconds, t->epoch_wait};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        fuzz_check(counts[i] >= 0, "count %zu is %lld", i, (long long)counts[i]);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        fuzz_check(reals[i] >= 0 && reals[i] < 1e18, "time %zu is %g", i, reals[i]);
    fuzz_check(t->finished == 0 || t->finished == 1, "finished is %lld", (long long)t->finished);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const uint64_t number = fuzz_number(bytes, n);
    uint8_t *const file = malloc(n ? n : 1);
    train_state state = {0};
    cvr_error err = CVR_ERROR_INIT;
    fuzz_check(file != NULL, "out of memory");
    if (n) memcpy(file, bytes, n);
    if (number % 8) mend(file, n, number / 8 % 2 == 0);
    if (!session.plugins) open_session();
    (void)fuzz_file("weights/last.state", file, n);
    const int32_t status = checkpoint_load(&session, fuzz_folder(), &state, &err);
    fuzz_check_line(status, &err);
    if (status == CVR_OK) check_state(&state);
    train_state_clear(&state);
    plugin_state_clear(&session.plugin_state);
    free(file);
    return 0;
}
