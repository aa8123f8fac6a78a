/* Darknet's networks as programs; see the header. */
#include "darknet_case.h"

void darknet_good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s: %s", detector_error.file, detector_error.message);
}

const char *darknet_golden(const char *name) {
    static char path[4][512];
    static int i;
    i = (i + 1) % 4;
    (void)snprintf(path[i], sizeof path[i], "%s/darknet/%s", CVR_GOLDEN_DIR, name);
    return path[i];
}

void darknet_open(detector_subject *s) {
    memset(s, 0, sizeof *s);
    darknet_good(cvr_plugins_open(&s->c.plugins, NULL, 0, &detector_error));
    darknet_good(cvr_pool_create(&s->c.pool, 2, &detector_error));
}

void darknet_close(detector_subject *s) {
    cvr_plugins_close(&s->c.plugins);
    cvr_pool_destroy(&s->c.pool);
}

void darknet_net_open(const detector_subject *s, const char *name, int64_t side, darknet_net *n) {
    char settings[600], file[64];
    (void)snprintf(file, sizeof file, "%s.cfg", name);
    (void)snprintf(settings, sizeof settings, "cfg=%s topk_candidates=100000", darknet_golden(file));
    memset(n, 0, sizeof *n);
    darknet_good(detector_build(s, &(detector_recipe){"darknet", settings, "", side}, &n->net));
    darknet_good(
        cvr_device_open(&n->device, s->c.plugins, &(cvr_device_choice){.backend = "cpu"}, s->c.pool, &detector_error));
    darknet_good(cvr_store_place(n->net.store, n->device, &detector_error));
}

void darknet_net_close(darknet_net *n) {
    cvr_program_destroy(&n->program);
    cvr_arena_destroy(&n->arena);
    detector_drop(&n->net);
    cvr_device_close(&n->device);
}

int32_t darknet_load(const detector_subject *s, darknet_net *n, const char *path) {
    const weights_rules rules = {.network = "", .head = WEIGHTS_HEAD_KEEP};
    cvr_error_init(&detector_error);
    return weights_load(s->c.plugins, n->net.store, &rules, path, &detector_error);
}

void darknet_plan_net(const detector_subject *s, darknet_net *n) {
    darknet_good(
        cvr_program_plan(&n->program, n->net.graph, n->device, s->c.pool, CVR_FALLBACK_ERROR, &detector_error));
    darknet_good(cvr_arena_create(&n->arena, n->device, &n->program, 1, 0, &detector_error));
    darknet_good(cvr_program_bind(n->program, n->arena, &detector_error));
}

/* As in tests/parity/darknet.py. */
static float pixel(int number, int y, int x, int c) {
    uint32_t n = (uint32_t)(((number * 64 + y / 8) * 64 + x / 8) * 3 + c + 1) * 2654435761u;
    n ^= n >> 15;
    n *= 2246822519u;
    return (float)(n >> 24) / 255.0f;
}

void darknet_run(darknet_net *n, int number, int side) {
    static float image[64 * 64 * 3]; /* NHWC, as memory has it */
    for (int i = 0; i < side * side * 3; i++) image[i] = pixel(number, i / 3 / side, i / 3 % side, i % 3);
    darknet_good(cvr_program_write(n->program, cvr_program_slot(n->program, "image"), image, &detector_error));
    darknet_good(cvr_program_run(n->program, &detector_error));
}

/* Numbers of a result, as doubles; returns how many. */
int64_t darknet_result(const darknet_net *n, const char *name, double *out) {
    static char memory[DARKNET_MOST_NUMBERS * 8];
    const cvr_io *io = cvr_graph_io(n->net.graph);
    const cvr_io_output *o;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        if (strcmp(o->name, name) != 0) continue;
        const int32_t slot = cvr_program_slot_of(n->program, o->value);
        const cvr_type *t = cvr_program_slot_type(n->program, slot);
        const int64_t count = cvr_numel(t->rank, t->shape);
        cr_assert_leq(count, DARKNET_MOST_NUMBERS);
        darknet_good(cvr_program_read(n->program, slot, memory, &detector_error));
        for (int64_t k = 0; k < count; k++) out[k] = detector_number(t->dtype, memory, k);
        return count;
    }
    cr_assert_fail("there is no result %s", name);
    return 0;
}

size_t darknet_read_file(const char *path, uint8_t *bytes, size_t most) {
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    const size_t n = fread(bytes, 1, most, f);
    (void)fclose(f);
    return n;
}

void darknet_write_file(const char *path, const uint8_t *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0, "%s", path);
}
