/* Schedulers against torch.optim's and timm's numbers (tests/golden/schedulers.safetensors), and Darknet's. */
#include "support/golden_fields.h"
#include <math.h>

static void check_schedule(cvr_plugins *plugins, golden *g, const char *label) {
    char name[64], settings[200];
    cvr_error err;
    const void *found;
    void *attrs;
    cvr_error_init(&err);
    golden_text(g, label, "scheduler", name, sizeof name);
    golden_text(g, label, "settings", settings, sizeof settings);
    const golden_tensor *lrs = golden_need(g, label, "lrs");
    const int64_t per_epoch = golden_i64(g, label, "steps_per_epoch"), n = golden_i64(g, label, "epochs") * per_epoch;
    const double lr = golden_f32(g, label, "lr"), lr_min = golden_f32(g, label, "lr_min");
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_SCHEDULER, name, &found, &err), CVR_OK, "%s", err.message);
    const cvr_scheduler_desc *scheduler = found;
    const cvr_schema schema = {scheduler->attrs, scheduler->n_attrs};
    cr_assert_eq(cvr_attrs_parse(&schema, settings, NULL, name, &attrs, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(lrs->bytes, (uint64_t)n * sizeof(float));
    const golden_tensor *metrics = golden_find(g, label, "metrics"); /* of each epoch; NULL: none */
    for (int64_t i = 0; i < n; i++) {
        const cvr_sched_args args = {.struct_size = sizeof args,
                                     .attrs = attrs,
                                     .step = i,
                                     .total_steps = n,
                                     .steps_per_epoch = per_epoch,
                                     .lr_min_factor = lr_min / lr,
                                     .lr = lr,
                                     .history = metrics ? (const double *)(const void *)metrics->data : NULL,
                                     .n_history = metrics ? (uint64_t)(i / per_epoch) : 0,
                                     .lower_is_better = metrics ? (uint32_t)golden_i64(g, label, "lower") : 0};
        const double have = lr * scheduler->factor(&args), want = ((const float *)lrs->data)[i];
        cr_expect_leq(fabs(have - want), 1e-6 * lr, "%s: step %d has lr %.9g, PyTorch %.9g", label, (int)i, have, want);
    }
    cvr_free(attrs);
}

Test(schedulers, as_pytorch) {
    cvr_plugins *plugins;
    golden g;
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(golden_open(&g, plugins, CVR_GOLDEN_DIR "/schedulers.safetensors", &err), CVR_OK, "%s", err.message);
    cr_assert_gt(g.n_cases, 0);
    for (size_t i = 0; i < g.n_cases; i++) check_schedule(plugins, &g, g.cases[i]);
    golden_close(&g);
    cvr_plugins_close(&plugins);
}

/* Darknet's: learning_rate = 1, burn_in = 10, policy = steps, steps = 20,30, scales = .1,.5; get_current_rate() sees
 * the number of the batch from 1 on. The last of fewer scales counts for the rest. */
Test(schedulers, steps_as_darknet) {
    static const struct {
        const char *settings;
        double after;
    } cases[] = {{"steps=20,30 scales=0.1,0.5", 0.05}, {"steps=20,30 scales=0.1", 0.01}};
    cvr_plugins *plugins;
    cvr_error err;
    const void *found;
    cvr_error_init(&err);
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_SCHEDULER, "steps", &found, &err), CVR_OK, "%s", err.message);
    const cvr_scheduler_desc *scheduler = found;
    const cvr_schema schema = {scheduler->attrs, scheduler->n_attrs};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *attrs;
        cr_assert_eq(cvr_attrs_parse(&schema, cases[i].settings, NULL, "steps", &attrs, &err), CVR_OK);
        for (int64_t batch = 11; batch <= 40; batch++) {
            const cvr_sched_args args = {
                .struct_size = sizeof args, .attrs = attrs, .step = batch - 11, .warmup = 10, .lr = 1};
            const double want = batch < 20 ? 1 : batch < 30 ? 0.1 : cases[i].after;
            cr_expect(fabs(scheduler->factor(&args) - want) < 1e-12, "batch %d: %g", (int)batch,
                      scheduler->factor(&args));
        }
        cvr_free(attrs);
    }
    cvr_plugins_close(&plugins);
}
