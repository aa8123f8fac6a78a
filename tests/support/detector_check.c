/* Checks of detectors against golden files; see the header. */
#include "detector_check.h"
#include <criterion/criterion.h>
#include <cvr/plugin/bf16.h>
#include <math.h>
#include <stdlib.h>

cvr_error detector_error = CVR_ERROR_INIT;

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", detector_error.message);
}

/* A picture of which every pixel stands for enlarge x enlarge ones, cut to the canvas: random pixels take room. */
static void enlarge(golden *g, const char *label) {
    const golden_tensor *how = golden_find(g, label, "enlarge");
    golden_tensor *t = (golden_tensor *)(uintptr_t)golden_find(g, label, "image");
    if (!how) return;
    const int64_t *n = (const int64_t *)(const void *)how->data, planes = t->type.shape[0] * t->type.shape[1],
                  height = t->type.shape[2], width = t->type.shape[3], shape[4] = {t->type.shape[0], 3, n[1], n[2]};
    uint8_t *large = malloc((size_t)(planes * n[1] * n[2]) + 8);
    for (int64_t p = 0; p < planes; p++)
        for (int64_t y = 0; y < n[1]; y++)
            for (int64_t x = 0; x < n[2]; x++)
                large[(p * n[1] + y) * n[2] + x] = t->data[(p * height + y / n[0]) * width + x / n[0]];
    free(t->data);
    t->data = large;
    t->bytes = (uint64_t)(planes * n[1] * n[2]);
    cvr_type_set(&t->type, CVR_U8, 4, shape);
}

void detector_open(detector_subject *s, const char *file) {
    char path[512];
    memset(s, 0, sizeof *s);
    (void)snprintf(path, sizeof path, "%s/%s", CVR_GOLDEN_DIR, file);
    good(cvr_plugins_open(&s->c.plugins, NULL, 0, &detector_error));
    good(golden_open(&s->g, s->c.plugins, path, &detector_error));
    good(cvr_pool_create(&s->c.pool, 2, &detector_error));
    for (size_t i = 0; i < s->g.n_cases; i++) enlarge(&s->g, s->g.cases[i]);
    s->c.g = &s->g;
    s->c.backend = "cpu";
}

void detector_close(detector_subject *s) {
    detector_clear(&s->r);
    golden_close(&s->g);
    cvr_plugins_close(&s->c.plugins);
    cvr_pool_destroy(&s->c.pool);
}

void detector_try(detector_subject *s, bool training, bool targets) {
    detector_clear(&s->r);
    s->c.training = training;
    s->c.targets = targets;
    good(detector_run(&s->c, &s->r, &detector_error));
}

const detector_tensor *detector_gave(const detector_subject *s, const char *name) {
    const detector_tensor *t = detector_find(&s->r, name);
    cr_assert_not_null(t, "%s gives no %s", s->c.label, name);
    return t;
}

const golden_tensor *detector_wants(detector_subject *s, const char *name) {
    const golden_tensor *t = golden_find(&s->g, s->c.label, name);
    cr_assert_not_null(t, "%s has no %s", s->c.label, name);
    return t;
}

double detector_number(uint32_t dtype, const void *data, int64_t i) {
    if (dtype == CVR_I64) return (double)((const int64_t *)data)[i];
    return dtype == CVR_BF16 ? (double)cvr_f32_of_bf16(((const uint16_t *)data)[i]) : (double)((const float *)data)[i];
}

/* ---- detections ---- */

/* Rows of picture n, each of `size` numbers, are as the file has them; past them there are none. */
static void check_rows(detector_subject *s, int64_t n, const char *name, double tolerance) {
    char field[64];
    (void)snprintf(field, sizeof field, "expect.%s.%lld", name, (long long)n);
    const golden_tensor *want = detector_wants(s, field);
    const detector_tensor *have = detector_gave(s, name);
    const int64_t rows = want->type.shape[0], room = have->type.shape[1],
                  size = cvr_numel(have->type.rank, have->type.shape) / (have->type.shape[0] * room);
    cr_assert_eq(cvr_numel(want->type.rank, want->type.shape), rows * size, "%s: %s", s->c.label, field);
    for (int64_t i = 0; i < rows * size; i++) {
        const double a = detector_number(have->type.dtype, have->data, n * room * size + i),
                     b = detector_number(want->type.dtype, want->data, i);
        cr_assert(fabs(a - b) <= tolerance, "%s: %s of picture %lld, number %lld: %g instead of %g", s->c.label, name,
                  (long long)n, (long long)i, a, b);
    }
    for (int64_t i = rows; strcmp(name, "labels") == 0 && i < room; i++)
        cr_assert_eq(detector_number(CVR_I64, have->data, n * room + i), -1, "%s: detections past the last",
                     s->c.label);
}

void detector_check_found(detector_subject *s) {
    const int64_t pictures = detector_wants(s, "image_size")->type.shape[0];
    for (int64_t n = 0; n < pictures; n++) {
        check_rows(s, n, "labels", 0);
        check_rows(s, n, "boxes", 0.01);
        check_rows(s, n, "scores", 1e-4);
        if (golden_find(&s->g, s->c.label, "masks")) check_rows(s, n, "masks", 1e-4);
    }
}

/* ---- a step ---- */

void detector_check_losses(detector_subject *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->r.n; i++) n += strncmp(s->r.all[i].name, "loss_", 5) == 0;
    cr_assert_gt(n, 0, "%s has no loss", s->c.label);
    for (size_t i = 0; i < s->g.n; i++) {
        const golden_tensor *t = &s->g.tensors[i];
        if (strcmp(t->label, s->c.label) != 0 || strncmp(t->field, "expect.loss_", 12) != 0) continue;
        const double have = detector_number(CVR_F32, detector_gave(s, t->field + 7)->data, 0),
                     want = detector_number(CVR_F32, t->data, 0);
        cr_assert(fabs(have - want) <= 1e-4 * fmax(want, 1e-3), "%s: %s is %g instead of %g", s->c.label, t->field + 7,
                  have, want);
        n--;
    }
    cr_assert_eq(n, 0, "%s: losses that the file has not", s->c.label);
}

/* Root of the mean square of the change that has the largest one, of parameters with more than one axis. */
static double largest_change(const detector_subject *s) {
    double largest = 0;
    for (size_t i = 0; i < s->g.n; i++) {
        const golden_tensor *t = &s->g.tensors[i];
        if (strcmp(t->label, s->c.label) != 0 || strncmp(t->field, "change.", 7) != 0 || t->type.rank < 2) continue;
        const int64_t n = cvr_numel(t->type.rank, t->type.shape);
        double sum = 0;
        for (int64_t k = 0; k < n; k++) sum += pow(detector_number(CVR_F32, t->data, k), 2);
        largest = fmax(largest, sqrt(sum / (double)n));
    }
    return largest;
}

static void check_change(detector_subject *s, const detector_tensor *after, double floor_) {
    const char *name = after->name + strlen("after.");
    const int64_t n = cvr_numel(after->type.rank, after->type.shape);
    char before[240], change[240];
    double distance = 0, size = 0;
    (void)snprintf(before, sizeof before, "param.%s", name);
    (void)snprintf(change, sizeof change, "change.%s", name);
    const golden_tensor *start = detector_wants(s, before), *want = detector_wants(s, change);
    for (int64_t k = 0; k < n; k++) {
        const double d =
            detector_number(after->type.dtype, after->data, k) - detector_number(start->type.dtype, start->data, k);
        const double w = detector_number(CVR_F32, want->data, k);
        distance += (d - w) * (d - w);
        size += w * w;
    }
    const double error = sqrt(distance) / fmax(sqrt(size), floor_ * sqrt((double)n));
    cr_assert(error <= 2e-3, "%s: %s changes by something else, to %g", s->c.label, name, error);
}

void detector_check_changes(detector_subject *s) {
    const double floor_ = 1e-4 * largest_change(s);
    cr_assert_gt(floor_, 0, "%s", s->c.label);
    for (size_t i = 0; i < s->r.n; i++)
        if (strncmp(s->r.all[i].name, "after.", 6) == 0) check_change(s, &s->r.all[i], floor_);
}

/* ---- files of cases ---- */

static void open_cases(detector_subject *s, const char *file, size_t least) {
    detector_open(s, file);
    cr_assert_geq(s->g.n_cases, least);
}

void detector_check_all_found(const char *file, size_t least) {
    static detector_subject s;
    open_cases(&s, file, least);
    for (size_t i = 0; i < s.g.n_cases; i++) {
        s.c.label = s.g.cases[i];
        detector_try(&s, false, false);
        detector_check_found(&s);
    }
    detector_close(&s);
}

void detector_check_all_learned(const char *file, size_t least) {
    static detector_subject s;
    open_cases(&s, file, least);
    for (size_t i = 0; i < s.g.n_cases; i++) {
        s.c.label = s.g.cases[i];
        detector_try(&s, true, true);
        detector_check_losses(&s);
        detector_check_changes(&s);
    }
    detector_close(&s);
}

void detector_try_without_objects(detector_subject *s) {
    const golden_tensor *counts = detector_wants(s, "counts");
    memset(counts->data, 0, counts->bytes);
    detector_try(s, true, true);
    for (size_t i = 0; i < s->r.n; i++) {
        const detector_tensor *t = &s->r.all[i];
        for (int64_t e = 0; e < cvr_numel(t->type.rank, t->type.shape) && t->type.dtype == CVR_F32; e++)
            cr_assert(isfinite(((const float *)t->data)[e]), "%s: %s", s->c.label, t->name);
    }
}

double detector_loss(const detector_subject *s, const char *name) {
    return detector_number(CVR_F32, detector_gave(s, name)->data, 0);
}

/* ---- models by themselves ---- */

int32_t detector_build(const detector_subject *s, const detector_recipe *recipe, detector_net *out) {
    return detector_build_for(s, recipe, &(detector_use){3, 0}, out);
}

/* Objects of a picture, as many as `counts` says. */
static void add_targets(cvr_graph *g, int64_t room) {
    const cvr_builder *b = cvr_graph_builder(g);
    cvr_value counts, v;
    cvr_type t;
    cvr_type_set(&t, CVR_I64, 1, (const int64_t[]){1});
    good(cvr_graph_input(g, "counts", &t, &counts, &detector_error));
    cvr_type_set(&t, CVR_F32, 3, (const int64_t[]){1, room, 4});
    good(cvr_graph_input(g, "boxes", &t, &v, &detector_error));
    good(b->set_counts(b, v, 1, counts, &detector_error));
    cvr_type_set(&t, CVR_I64, 2, (const int64_t[]){1, room});
    good(cvr_graph_input(g, "box_labels", &t, &v, &detector_error));
    good(b->set_counts(b, v, 1, counts, &detector_error));
}

int32_t detector_build_for(const detector_subject *s, const detector_recipe *recipe, const detector_use *use,
                           detector_net *out) {
    const void *found;
    void *attrs;
    cvr_type type;
    cvr_value image;
    cvr_error_init(&detector_error);
    good(cvr_plugins_find(s->c.plugins, CVR_KIND_MODEL, recipe->model, &found, &detector_error));
    out->model = found;
    const cvr_schema schema = {out->model->attrs, out->model->n_attrs};
    const cvr_param_rules rules = {
        .stages = out->model->stages, .n_stages = out->model->n_stages, .freeze = recipe->freeze};
    good(cvr_attrs_parse(&schema, recipe->settings, NULL, recipe->model, &attrs, &detector_error));
    good(cvr_store_create(&out->store, 0, &detector_error));
    good(cvr_store_rules(out->store, &rules, &detector_error));
    good(cvr_graph_create(&out->graph, s->c.plugins, out->store, use->objects > 0, &detector_error));
    cvr_type_set(&type, CVR_F32, 4, (const int64_t[]){1, 3, recipe->side, recipe->side});
    good(cvr_graph_input(out->graph, "image", &type, &image, &detector_error));
    if (use->objects) add_targets(out->graph, use->objects);
    const cvr_model_args args = {sizeof args, attrs, use->classes, 3};
    const int32_t status =
        out->model->build(cvr_graph_builder(out->graph), &args, cvr_graph_io(out->graph), &detector_error);
    cvr_free(attrs);
    return status;
}

void detector_drop(detector_net *n) {
    cvr_graph_destroy(&n->graph);
    cvr_store_destroy(&n->store);
}

void detector_check_refusal(const detector_subject *s, const detector_recipe *recipe, const char *says) {
    detector_net n;
    cr_expect_neq(detector_build(s, recipe, &n), CVR_OK, "%s %s", recipe->model, recipe->settings);
    cr_expect(strstr(detector_error.message, says) && !strchr(detector_error.message, '\n'), "%s %s: %s", recipe->model,
              recipe->settings, detector_error.message);
    cvr_error_init(&detector_error);
    detector_drop(&n);
}

void detector_check_stages(const detector_subject *s, const detector_recipe *recipe) {
    char every[512] = "";
    detector_net n;
    detector_recipe all = *recipe;
    good(detector_build(s, recipe, &n));
    for (uint32_t i = 0; i < n.model->n_stages; i++)
        (void)snprintf(every + strlen(every), sizeof every - strlen(every), "%s%s", i ? "," : "",
                       n.model->stages[i]->name);
    detector_drop(&n);
    all.freeze = every;
    good(detector_build(s, &all, &n));
    for (size_t i = 0; i < cvr_store_count(n.store); i++)
        cr_expect_neq(cvr_store_get(n.store, i)->role, CVR_STORE_TRAINED, "%s has no stage",
                      cvr_store_get(n.store, i)->name);
    detector_drop(&n);
}

void detector_check_names(const detector_subject *s, const detector_recipe *recipe, const char *const names[][2],
                          size_t n) {
    detector_net net;
    good(detector_build(s, recipe, &net));
    for (size_t i = 0; i < n; i++) {
        char out[200] = "";
        cr_expect(net.model->alias(names[i][0], out, sizeof out) && strcmp(out, names[i][1]) == 0, "%s is %s",
                  names[i][0], out);
        cr_expect_geq(cvr_store_find(net.store, out), 0, "there is no %s", out);
    }
    detector_drop(&net);
}
