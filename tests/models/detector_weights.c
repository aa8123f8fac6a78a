/* Weights of classifiers in detectors; see the header. */
#include "detector_weights.h"
#include "../apps/session/session_parts.h"
#include "support/scratch.h"
#include <criterion/criterion.h>

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", detector_error.message);
}

/* The first numbers of a parameter. */
static void read_named(const detector_net *n, const char *name, float out[16]) {
    static float all[1 << 16];
    const int64_t i = cvr_store_find(n->store, name);
    cr_assert(i >= 0 && cvr_store_get(n->store, (size_t)i)->bytes <= sizeof all, "%s", name);
    memset(all, 0, sizeof all);
    good(cvr_store_read(n->store, (size_t)i, all, &detector_error));
    memcpy(out, all, 16 * sizeof *out);
}

void detector_check_file(const detector_subject *s, const detector_recipe *classifier, const detector_recipe *detector,
                         const char *const names[][2]) {
    detector_net file, net;
    cvr_device *device;
    scratch_open("detector");
    const char *const path = scratch_path("classifier.safetensors");
    good(detector_build(s, classifier, &file));
    good(detector_build(s, detector, &net));
    good(cvr_device_open(&device, s->c.plugins, &(cvr_device_choice){.backend = "cpu"}, s->c.pool, &detector_error));
    good(cvr_store_place(file.store, device, &detector_error));
    good(cvr_store_place(net.store, device, &detector_error));
    good(weights_save(s->c.plugins, file.store, path, &detector_error));
    weights_rules rules = {.network = "", .head = WEIGHTS_HEAD_KEEP, .alias = net.model->alias};
    cr_expect_neq(weights_load(s->c.plugins, net.store, &rules, path, &detector_error), CVR_OK);
    cr_expect(strstr(detector_error.message, "model.head = new"), "%s", detector_error.message);
    cvr_error_init(&detector_error);
    rules.head = WEIGHTS_HEAD_AUTO;
    good(weights_load(s->c.plugins, net.store, &rules, path, &detector_error));
    for (size_t i = 0; names[i][0]; i++) {
        float a[16], b[16];
        read_named(&file, names[i][0], a);
        read_named(&net, names[i][1], b);
        cr_expect_arr_eq(a, b, sizeof a, "%s of %s is not %s of the file", names[i][1], detector->model, names[i][0]);
    }
    detector_drop(&file);
    detector_drop(&net);
    cvr_device_close(&device);
    scratch_close();
}
