/*
 * Export: the network of a run as it is evaluated, built for two sizes of batch (what differs depends on the batch),
 * batch norms folded, and handed to the exporter that export.format names.
 */
#include "session_parts.h"

#define MOST_FILES 4

/* Files that all appear, or none. */
typedef struct export_files {
    const char *path;
    cvr_writer writers[MOST_FILES];
    size_t n;
} export_files;

static int32_t begin_file(void *ctx, const char *suffix, cvr_error *err) {
    export_files *f = ctx;
    cvr_text path = {0};
    if (f->n == MOST_FILES) return cvr_fail(err, CVR_ERR_PLUGIN, "it begins more than %d files", MOST_FILES);
    cvr_text_add(&path, "%s%s", f->path, suffix);
    const int32_t status =
        path.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : cvr_writer_open(&f->writers[f->n], path.s, err);
    if (status == CVR_OK) f->n++;
    cvr_text_clear(&path);
    return status;
}

static int32_t put_bytes(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    export_files *f = ctx;
    if (f->n == 0) return cvr_fail(err, CVR_ERR_PLUGIN, "it puts bytes into no file");
    return cvr_writer_put(&f->writers[f->n - 1], bytes, n, err);
}

/* In the order in which they were begun, so that the last, which names the others, comes when these are there. */
static int32_t end_files(export_files *f, int32_t status, cvr_error *err) {
    for (size_t i = 0; i < f->n; i++) {
        if (status == CVR_OK)
            status = cvr_writer_commit(&f->writers[i], false, err);
        else
            cvr_writer_abandon(&f->writers[i]);
    }
    return status;
}

/* ---- the size of pictures ---- */

static int32_t no_size(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_USAGE,
                    "the recipe does not say how large pictures are, and an exported network has one size; set "
                    "export.size=HEIGHT,WIDTH");
}

static int32_t check_stride(const cvr_session *s, cvr_canvas canvas, cvr_error *err) {
    const int64_t stride = data_stride(&s->set);
    if (canvas.height % stride == 0 && canvas.width % stride == 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "pictures of %lld,%lld: the sides of this network's are multiples of %lld; set export.size",
                    (long long)canvas.height, (long long)canvas.width, (long long)stride);
}

/* A grey picture goes the way of those that are predicted: what comes out has their size. */
static int32_t find_canvas(cvr_session *s, cvr_canvas *out, cvr_error *err) {
    const export_settings *e = s->set.export;
    const int64_t crop = s->set.val->crop_size, usual = crop > 0 ? crop : s->set.data->img_size,
                  height = e->n_size ? e->size[0] : usual, width = e->n_size > 1 ? e->size[1] : height;
    cvr_image image = {.struct_size = sizeof image, .width = width, .height = height, .channels = s->data.channels};
    cvr_batch b;
    if (height < 1 || width < 1) return no_size(err);
    image.data = cvr_calloc((size_t)(height * width), (size_t)image.channels);
    int32_t status = image.data ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (status == CVR_OK) status = cvr_batches_show(s->data.pictures, &image, "a grey picture", &b, err);
    cvr_free(image.data);
    CVR_TRY(status);
    *out = b.canvas;
    if (e->n_size) *out = (cvr_canvas){height, width};
    return check_stride(s, *out, err);
}

/* ---- graphs ---- */

static int32_t build(cvr_session *s, cvr_canvas canvas, int64_t batch, net_program **out, cvr_error *err) {
    net_program *p = *out = cvr_calloc(1, sizeof *p);
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    p->key = (program_key){.purpose = PROGRAM_EXPORT, .batch = batch, .canvas = canvas};
    CVR_TRY(net_program_build(&s->net, p, err));
    const cvr_value normalised = cvr_graph_input_value(p->graph, "image");
    const bool embed = s->set.export->preprocess == PREPROCESS_EMBED;
    if (embed && normalised == p->picture)
        return cvr_fail(
            err, CVR_ERR_UNSUPPORTED,
            "export.preprocess = embed: these pictures are made by transforms that no network can do; leave "
            "it out");
    CVR_TRY(cvr_graph_cut(p->graph, embed ? p->picture : normalised, "images", err));
    if (s->net.rewriting.compressor) return CVR_OK; /* its batch norms are folded */
    return s->set.export->fold ? cvr_graph_passes(p->graph, CVR_PASS_NETWORK, "fold_norm", err) : CVR_OK;
}

/* ---- what a file says of itself ---- */

enum { MOST_METADATA = 24 };
typedef struct metadata {
    const char *pairs[2 * MOST_METADATA];
    cvr_text values[MOST_METADATA];
    size_t n;
} metadata;

static cvr_text *add(metadata *m, const char *key) {
    m->pairs[2 * m->n] = key;
    return &m->values[m->n++];
}

static void add_channels(metadata *m, const char *key, const double *values, int64_t channels) {
    cvr_text *t = add(m, key);
    for (int64_t i = 0; i < channels && i < 4; i++) cvr_text_add(t, "%s%.9g", i ? ", " : "[", values[i]);
    cvr_text_add(t, "]");
}

static void add_names(metadata *m, const cvr_task_info *task) {
    cvr_text *t = add(m, "names");
    cvr_text_add(t, "[");
    for (int64_t i = 0; i < task->n_classes && task->class_names; i++) {
        cvr_text_add(t, "%s", i ? ", " : "");
        cvr_text_add_json(t, task->class_names[i]);
    }
    cvr_text_add(t, "]");
}

/* Keys in byte order. Nothing in it says when or where: the same network has the same file. */
static int32_t describe(const cvr_session *s, cvr_canvas canvas, metadata *m, cvr_error *err) {
    static const char *const interpolations[] = {"nearest", "bilinear", "bicubic"};
    const settings *set = &s->set;
    const bool embed = set->export->preprocess == PREPROCESS_EMBED;
    if (set->val->crop_size > 0) cvr_text_add(add(m, "crop_size"), "%lld", (long long)set->val->crop_size);
    if (!set->export->decode) cvr_text_add(add(m, "decode"), "no");
    cvr_text_add(add(m, "imgsz"), "[%lld, %lld]", (long long)canvas.height, (long long)canvas.width);
    cvr_text_add(add(m, "interpolation"), "%s", interpolations[set->val->interpolation]);
    add_channels(m, "mean", set->mean, s->data.channels);
    cvr_text_add(add(m, "model"), "%s", set->model_desc ? set->model_desc->name : "net");
    add_names(m, &s->data.task);
    cvr_text_add(add(m, "preprocess"), "%s", embed ? "embed" : "none");
    if (set->val->resize_size > 0) cvr_text_add(add(m, "resize_size"), "%lld", (long long)set->val->resize_size);
    add_channels(m, "std", set->std, s->data.channels);
    cvr_text_add(add(m, "task"), "%s", set->task->name);
    for (size_t i = 0; i < m->n; i++) {
        if (m->values[i].failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        m->pairs[2 * i + 1] = m->values[i].s;
    }
    return CVR_OK;
}

/* ---- all of it ---- */

/* Which of the network's outputs are written. */
static int32_t find_role(const cvr_session *s, const net_program *p, uint32_t *role, cvr_error *err) {
    const cvr_io *io = cvr_graph_io(p->graph);
    const cvr_io_output *o;
    bool any = false;
    *role = s->set.export->decode ? CVR_ROLE_RESULT : CVR_ROLE_HEAD;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) any = any || o->role == *role;
    if (any) return CVR_OK;
    cvr_fail(err, CVR_ERR_USAGE, "export.decode = no: this network has nothing to decode; leave it out");
    return cvr_config_blame(s->set.config, "export", "decode", CVR_ERR_USAGE, err);
}

static const char *name_in(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int32_t write_graphs(cvr_session *s, cvr_canvas canvas, const char *path, cvr_error *err) {
    const export_settings *e = s->set.export;
    const int64_t batch = e->batch ? e->batch : 2;
    net_program *network = NULL, *another = NULL;
    export_files files = {.path = path};
    metadata m = {.n = 0};
    uint32_t role;
    int32_t status;
    CVR_TRY_OUT(build(s, canvas, batch, &network, err));
    CVR_TRY_OUT(find_role(s, network, &role, err));
    CVR_TRY_OUT(build(s, canvas, batch + 1, &another, err));
    CVR_TRY_OUT(cvr_store_place(s->net.store, s->net.device, err));
    CVR_TRY_OUT(describe(s, canvas, &m, err));
    const cvr_export_job job = {.exporter = s->set.exporter,
                                .attrs = s->set.exporter_attrs,
                                .network = network->graph,
                                .another = another->graph,
                                .batch = batch,
                                .another_batch = batch + 1,
                                .free = e->batch == 0,
                                .role = role,
                                .device = s->net.device,
                                .pool = s->pool,
                                .file = name_in(path),
                                .metadata = m.pairs,
                                .n_metadata = m.n,
                                .files = {&files, begin_file, put_bytes}};
    CVR_TRY_OUT(end_files(&files, cvr_graph_export(&job, err), err));
out:
    for (size_t i = 0; i < m.n; i++) cvr_text_clear(&m.values[i]);
    net_program_destroy(&network);
    net_program_destroy(&another);
    return status;
}

static int32_t no_format(const cvr_session *s, cvr_error *err) {
    cvr_text known = {0};
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(s->plugins, CVR_KIND_EXPORTER, i)); i++)
        cvr_text_add(&known, "%s%s", known.n ? ", " : "", name);
    for (size_t i = 0; (name = cvr_plugins_name(s->plugins, CVR_KIND_WEIGHTS, i)); i++)
        cvr_text_add(&known, "%s%s", known.n ? ", " : "", name);
    cvr_fail(err, CVR_ERR_USAGE, "export.format = %s: there is no such format; there are %s", s->set.export->format,
             known.s ? known.s : "none");
    cvr_text_clear(&known);
    return cvr_config_blame(s->set.config, "export", "format", CVR_ERR_USAGE, err);
}

/* The exporter's ending, or that of a format of weights that can be written. */
static int32_t find_extension(const cvr_session *s, const char **extension, cvr_error *err) {
    cvr_error why = CVR_ERROR_INIT;
    const void *desc;
    if (s->set.exporter) {
        *extension = s->set.exporter->extension;
        return CVR_OK;
    }
    if (cvr_plugins_find(s->plugins, CVR_KIND_WEIGHTS, s->set.export->format, &desc, &why) != CVR_OK)
        return no_format(s, err);
    const cvr_weights_desc *w = desc;
    *extension = w->extension;
    return CVR_OK;
}

/* export.out; else beside the weights of the run; else the recipe's name, here. */
static int32_t find_path(const cvr_session *s, char *path, size_t size, cvr_error *err) {
    const char *extension, *out = s->set.export->out, *recipe = name_in(cvr_config_path(s->set.config));
    const char *dot = strrchr(recipe, '.'), *model = s->set.model_desc ? s->set.model_desc->name : "net";
    char *best = s->set.run_folder ? cvr_fs_join(s->set.run_folder, "weights/best.safetensors") : NULL;
    int n;
    CVR_TRY(find_extension(s, &extension, err));
    if (*out)
        n = snprintf(path, size, "%s", out);
    else if (s->set.run_folder)
        n = snprintf(path, size, "%s/weights/%s%s", s->set.run_folder, best && cvr_fs_exists(best) ? "best" : "last",
                     extension);
    else if (s->set.recipe)
        n = snprintf(path, size, "%.*s%s", (int)(dot && dot != recipe ? (size_t)(dot - recipe) : strlen(recipe)),
                     recipe, extension);
    else
        n = snprintf(path, size, "%s%s", model, extension);
    cvr_free(best);
    return n > 0 && (size_t)n < size ? CVR_OK : cvr_fail(err, CVR_ERR_USAGE, "export.out: too long for a path");
}

int32_t cvr_session_export(cvr_session *s, char *path, size_t size, cvr_error *err) {
    cvr_canvas canvas;
    CVR_TRY(find_path(s, path, size, err));
    CVR_TRY(settings_blame(&s->set, find_canvas(s, &canvas, err), err));
    const program_key key = {.purpose = PROGRAM_PREDICT, .batch = 1, .canvas = canvas};
    CVR_TRY(session_open_network(s, &key, 1, err));
    if (!s->set.exporter) return cvr_session_save_weights(s, path, err);
    return write_graphs(s, canvas, path, err);
}
