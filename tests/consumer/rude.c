/*
 * acme.rude: a data set, a transform, a pass and a gradient plugin that break the contract, each in the way that its
 * setting names. Every one of them must end in a line that names it, and none may crash the host.
 */
#include <cvr/plugin/plugin.h>

#define SIDE 8

static int is(const void *attrs, const char *mode) {
    const char *said;
    memcpy(&said, attrs, sizeof said);
    return strcmp(said, mode) == 0;
}

static const cvr_attr_desc *const attrs[] = {CVR_ATTR(STRING, "mode", "", "which rule is broken")};

/* ---- the data: 8 pictures; it is the sixth that is bad ---- */

static int32_t data_open(const cvr_dataset_args *args, void **self, cvr_error *err) {
    void *copy = args->host->alloc(args->host, 2 * sizeof(void *), 16);
    if (!copy) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(copy, args->attrs, sizeof(char *)); /* the host keeps the settings while the data is open */
    memcpy((char *)copy + sizeof(char *), &args->host, sizeof args->host);
    *self = copy;
    return CVR_OK;
}

static void data_close(void *self) {
    const cvr_host *host;
    memcpy(&host, (char *)self + sizeof(char *), sizeof host);
    host->free(host, self);
}

static int64_t data_count(const void *self) {
    return is(self, "count") ? INT64_MAX : 8;
}

static int64_t data_classes(const void *self) {
    (void)self;
    return 2;
}

static const char *data_class(const void *self, int64_t i) {
    return is(self, "class") ? NULL : i ? "b" : "a";
}

static int32_t data_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    cvr_field image = {.name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3, .shape = {SIDE, SIDE, 3}};
    cvr_field label = {.name = "label", .kind = CVR_FIELD_LABEL, .dtype = CVR_I64};
    cvr_field *field;
    const int bad = index == 5;
    if (bad && is(self, "silent")) return 12345;
    if (bad && is(self, "nameless")) label.name = NULL;
    CVR_TRY(out->add(out, &image, &field, err));
    memset(field->data, (int)index, SIDE * SIDE * 3);
    if (bad && is(self, "no pixels")) field->data = NULL;
    CVR_TRY(out->add(out, &label, &field, err));
    *(int64_t *)field->data = index % 2;
    return bad && is(self, "twice") ? out->add(out, &label, &field, err) : CVR_OK;
}

static void data_describe(const void *self, int64_t i, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "rude-%lld", (long long)i);
}

static int64_t data_label(const void *self, int64_t i) {
    (void)self;
    return i % 2;
}

static const char *data_kind(const void *self, uint32_t i) {
    return is(self, "kinds") || i == 0 ? CVR_FIELD_IMAGE : i == 1 ? CVR_FIELD_LABEL : NULL;
}

static const cvr_dataset_desc data = {.struct_size = sizeof data,
                                      .name = "acme.rude",
                                      .doc = "samples that break the contract",
                                      .n_attrs = 1,
                                      .attrs = attrs,
                                      .open = data_open,
                                      .close = data_close,
                                      .count = data_count,
                                      .n_classes = data_classes,
                                      .class_name = data_class,
                                      .read = data_read,
                                      .describe = data_describe,
                                      .label = data_label,
                                      .kind = data_kind};

/* ---- the transform ---- */

static int32_t augment_apply(const void *settings, const double *params, cvr_sample *s, cvr_error *err) {
    cvr_field *image = cvr_sample_find(s, CVR_FIELD_IMAGE);
    (void)params, (void)err;
    if (is(settings, "silent")) return -7;
    if (is(settings, "shape")) image->shape[0] = -SIDE;
    if (is(settings, "kind")) image->kind = "acme.nothing";
    if (is(settings, "fields")) s->n_fields = 99;
    return CVR_OK;
}

static const cvr_augment_desc augment = {.struct_size = sizeof augment,
                                         .name = "acme.rude",
                                         .doc = "leaves samples that break the contract",
                                         .n_attrs = 1,
                                         .attrs = attrs,
                                         .apply = augment_apply};

/* ---- the pass ---- */

static int32_t pass_run(const cvr_rewriter *r, cvr_error *err) {
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n = {.struct_size = sizeof n};
        r->node(r, i, &n);
        if (is(r->attrs, "silent")) return -7;
        if (is(r->attrs, "enter")) CVR_TRY(r->enter(r, r->n_nodes + 7, err));
        if (is(r->attrs, "order") && i == 0) {
            CVR_TRY(r->keep(r, 1, err));
            CVR_TRY(r->keep(r, 0, err));
            i = 1;
            continue;
        }
        if (i == 1 && (is(r->attrs, "drop") || is(r->attrs, "drops"))) {
            r->drop(r, i);
            if (is(r->attrs, "drops")) r->drop(r, i);
            continue;
        }
        CVR_TRY(r->keep(r, i, err));
        if (i == 1 && is(r->attrs, "cycle")) CVR_TRY(r->replace(r, n.outputs[0], n.outputs[0], err));
    }
    return CVR_OK;
}

static const cvr_pass_desc pass = {.struct_size = sizeof pass,
                                   .name = "acme.rude",
                                   .doc = "breaks the rules of rewriting",
                                   .stage = CVR_PASS_STEP,
                                   .flags = CVR_PASS_OPT_IN,
                                   .n_attrs = 1,
                                   .attrs = attrs,
                                   .run = pass_run};

/* ---- the gradient plugin ---- */

static int32_t gradient_run(const cvr_gradients *g, cvr_error *err) {
    cvr_value lr;
    if (is(g->attrs, "")) return CVR_OK;
    CVR_TRY(g->builder->scalar(g->builder, "lr", CVR_F32, &lr, err));
    if (is(g->attrs, "nameless")) return g->veto(g, NULL, lr, err);
    return is(g->attrs, "taken") ? g->output(g, "total loss", lr, err) : -7;
}

static const cvr_attr_desc *const gradient_attrs[] = {CVR_ATTR(STRING, "acme_rude", "", "which rule is broken")};
static const cvr_gradient_desc gradient = {.struct_size = sizeof gradient,
                                           .name = "acme.rude",
                                           .doc = "breaks the rules of gradient plugins",
                                           .n_attrs = 1,
                                           .attrs = gradient_attrs,
                                           .run = gradient_run};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_DATASET, &data, err));
    CVR_TRY(r->add(r, CVR_KIND_AUGMENT, &augment, err));
    CVR_TRY(r->add(r, CVR_KIND_PASS, &pass, err));
    return r->add(r, CVR_KIND_GRADIENT, &gradient, err);
}

CVR_DEFINE_PLUGIN("com.acme.rude", "1.0.0", "", load)
