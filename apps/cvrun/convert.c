/* cvrun convert: a file of weights into another format. */
#include "cvrun.h"
#include <ctype.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The tensors of a file, held until all of them are written. */
typedef struct tensor_list {
    cvr_weight *weights;
    size_t n, capacity;
    uint64_t bytes;
} tensor_list;

static void free_list(tensor_list *l) {
    for (size_t i = 0; i < l->n; i++) {
        cvr_free((void *)(uintptr_t)l->weights[i].name);
        cvr_free((void *)(uintptr_t)l->weights[i].data);
    }
    cvr_free(l->weights);
}

/* cvr_weight_fn: what the plugin lends is copied. */
static int32_t keep(void *ctx, const cvr_weight *w, cvr_error *err) {
    tensor_list *l = ctx;
    CVR_TRY(cvr_weight_check(w, err));
    const size_t n_name = strlen(w->name) + 1;
    if (w->dtype == 0)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "tensor `%.160s` is %s, a type that cvrun has not; leave it out",
                        w->name, w->source_dtype ? w->source_dtype : "of no known type");
    cvr_weight *more = cvr_grow(l->weights, l->n, &l->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    l->weights = more;
    char *name = cvr_calloc(n_name, 1), *data = cvr_alloc_aligned(w->bytes + 1, 64);
    more[l->n] = *w;
    more[l->n].name = name;
    more[l->n].data = data;
    more[l->n].source_dtype = NULL;
    l->n++;
    if (!name || !data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for tensor `%.160s`", w->name);
    memcpy(name, w->name, n_name);
    if (w->bytes) memcpy(data, w->data, w->bytes);
    l->bytes += w->bytes;
    return CVR_OK;
}

static bool ends_with(const char *path, const char *ending) {
    const size_t n = strlen(path), k = strlen(ending);
    if (n < k) return false;
    for (size_t i = 0; i < k; i++) {
        if (tolower((unsigned char)path[n - k + i]) != tolower((unsigned char)ending[i])) return false;
    }
    return true;
}

/* The format of a file's first bytes (`m`), or else of its name's ending; NULL where no plugin knows it. */
static const cvr_weights_desc *find_format(cvr_plugins *p, const cvr_mapping *m, const char *path, cvr_text *known) {
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_WEIGHTS, i)); i++) {
        char copy[128];
        const void *desc;
        (void)snprintf(copy, sizeof copy, "%s", name);
        if (cvr_plugins_find(p, CVR_KIND_WEIGHTS, copy, &desc, NULL) != CVR_OK) continue;
        const cvr_weights_desc *w = desc;
        int32_t is_known = !m && ends_with(path, w->extension);
        if (m) CVR_CALL_TO(is_known, w, probe, NULL, m->bytes, m->n < 64 ? m->n : 64, m->n);
        if (is_known) return w;
        cvr_text_add(known, "%s%s", known->n ? ", " : "", w->extension);
    }
    return NULL;
}

typedef struct convert_settings {
    bool force;
    const char *network; /* the file of the network that the weights belong to; NULL: their names say enough */
    int64_t in_channels;
} convert_settings;

static bool is_counter(const char *name) {
    static const char end[] = ".num_batches_tracked";
    const size_t n = strlen(name);
    return n >= sizeof end - 1 && strcmp(name + n - (sizeof end - 1), end) == 0;
}

static const cvr_weight *find_tensor(const tensor_list *l, const char *name) {
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->weights[i].name, name) == 0) return &l->weights[i];
    return NULL;
}

static bool has_shape(const cvr_weight *w, const cvr_type *t) {
    bool same = w->rank == t->rank;
    for (uint32_t i = 0; same && i < t->rank; i++) same = w->shape[i] == t->shape[i];
    return same;
}

/* A file with names is the network's where it has a tensor of each name, in its shape. */
static int32_t check_names(const tensor_list *l, const cvr_store *store, const convert_settings *s, cvr_error *err) {
    for (size_t i = 0; i < cvr_store_count(store); i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        const cvr_weight *w = e->role <= CVR_STORE_BUFFER ? find_tensor(l, e->name) : NULL;
        if (e->role > CVR_STORE_BUFFER || (w && has_shape(w, &e->type)) || (!w && is_counter(e->name))) continue;
        return cvr_fail(err, CVR_ERR_FORMAT, "has %s `%.160s` of %.200s; give its own network, or leave out cfg",
                        w ? "another shape for the tensor" : "no tensor", e->name, s->network);
    }
    return CVR_OK;
}

static int32_t read_all(cvr_plugins *p, const char *path, const convert_settings *s, tensor_list *l, cvr_error *err) {
    cvr_mapping map = {0};
    cvr_store *store = NULL;
    cvr_text known = {0};
    int32_t status;
    if (s->network) CVR_TRY_OUT(cvr_network_file_store(p, s->network, s->in_channels, &store, err));
    CVR_TRY_OUT(cvr_fs_map(path, &map, err));
    const cvr_weights_desc *format = find_format(p, &map, NULL, &known);
    const cvr_weights_reading r = {format, cvr_plugins_host(p), &map, store, ""};
    CVR_TRY_OUT(format ? cvr_weights_read(&r, keep, l, err)
                       : cvr_fail(err, CVR_ERR_FORMAT, "is no file of weights that any plugin knows (%s)",
                                  known.s ? known.s : "there is none"));
    if (store && !format->read_for) CVR_TRY_OUT(check_names(l, store, s, err));
out:
    cvr_fs_unmap(&map);
    cvr_store_destroy(&store);
    cvr_text_clear(&known);
    return status == CVR_OK ? CVR_OK : cvr_fail_at(err, path, 0, status);
}

static int32_t to_writer(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    return cvr_writer_put(ctx, bytes, n, err);
}

static int32_t write_list(cvr_plugins *p, const cvr_weights_desc *format, const char *path, const tensor_list *l,
                          cvr_error *err) {
    static const char *const metadata[] = {"format", "pt"};
    cvr_writer w;
    const cvr_weight **pointers = cvr_calloc(l->n + 1, sizeof *pointers);
    if (!pointers) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < l->n; i++) pointers[i] = &l->weights[i];
    int32_t status;
    CVR_TRY_OUT(cvr_writer_open(&w, path, err));
    status = CVR_CALL(format, write, NULL, err, cvr_plugins_host(p), pointers, l->n, metadata, 1, to_writer, &w);
    if (status == CVR_OK)
        status = cvr_writer_commit(&w, false, err);
    else
        cvr_writer_abandon(&w);
out:
    cvr_free((void *)(uintptr_t)pointers);
    return status;
}

static int32_t write_all(cvr_plugins *p, const char *path, const tensor_list *l, cvr_error *err) {
    cvr_text known = {0};
    const cvr_weights_desc *format = find_format(p, NULL, path, &known);
    const int32_t status = format ? write_list(p, format, path, l, err)
                                  : cvr_fail(err, CVR_ERR_USAGE, "its ending is none of a format of weights (%s)",
                                             known.s ? known.s : "there is none");
    cvr_text_clear(&known);
    return status == CVR_OK ? CVR_OK : cvr_fail_at(err, path, 0, status);
}

static int32_t read_channels(const char *text, int64_t *out, cvr_error *err) {
    char *end;
    *out = strtoll(text, &end, 10);
    if (end != text && !*end && *out >= 1 && *out <= 16) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "in_channels=%s: give a number from 1 to 16", text);
}

static int32_t read_settings(const arguments *a, convert_settings *s, cvr_error *err) {
    *s = (convert_settings){.in_channels = 3};
    for (size_t i = 0; i < a->n_settings; i++) {
        const char *given = a->settings[i];
        if (strncmp(given, "cfg=", 4) == 0)
            s->network = given + 4;
        else if (strncmp(given, "in_channels=", 12) == 0)
            CVR_TRY(read_channels(given + 12, &s->in_channels, err));
        else if (strcmp(given, "force=yes") == 0)
            s->force = true;
        else if (strcmp(given, "force=no") == 0)
            s->force = false;
        else
            return cvr_fail(err, CVR_ERR_USAGE,
                            "`%s`: convert has the settings cfg=FILE, in_channels=N and force=yes|no", given);
    }
    return CVR_OK;
}

static int32_t convert(cvr_plugins *p, const arguments *a, tensor_list *l, cvr_error *err) {
    convert_settings s;
    char size[32];
    CVR_TRY(read_settings(a, &s, err));
    struct stat there;
    if (!s.force && lstat(a->output, &there) == 0) /* a link that leads nowhere is there, too */
        return cvr_fail_at(err, a->output, 0,
                           cvr_fail(err, CVR_ERR_USAGE, "is there already; give force=yes to replace it"));
    CVR_TRY(read_all(p, a->path, &s, l, err));
    CVR_TRY(write_all(p, a->output, l, err));
    print_text("%s: %zu tensors, %s\n", a->output, l->n, cvr_bytes_text(l->bytes, size));
    return CVR_OK;
}

static int run_convert(const arguments *a) {
    cvr_error err;
    cvr_plugins *plugins;
    tensor_list l = {0};
    cvr_error_init(&err);
    if (cvr_plugins_open(&plugins, NULL, 0, &err) != CVR_OK) return report_error(&err);
    const int32_t status = convert(plugins, a, &l, &err);
    free_list(&l);
    cvr_plugins_close(&plugins);
    return status == CVR_OK ? EXIT_OK : report_error(&err);
}

const command convert_command = {
    .name = "convert",
    .usage = "IN OUT [cfg=FILE] [force=yes]",
    .summary = "a file of weights into another format",
    .help =
        "IN is known by its first bytes (PyTorch's .pth and .pt, safetensors, Darknet's .weights), OUT by its ending "
        "(.safetensors, .weights). Nothing in IN is run. A file that is there is kept, unless force=yes.\n"
        "A .weights file has no names: cfg=FILE.cfg is the network that it belongs to, in_channels=1 that of grey "
        "pictures.\n",
    .run = run_convert,
    .needs_path = true,
    .needs_output = true,
};
