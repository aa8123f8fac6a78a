/*
 * Darknet's .weights files: int32 major, minor, revision; how many pictures were learned from, 8 bytes since version
 * 0.2, 4 before; then float32 of each layer that has weights, in the order of the .cfg file. A convolution has its
 * bias, then scale, mean and variance where it is normalised, then its weights (out, in, kH, kW); a connected layer has
 * its bias and weights (out, in) first. There are no names: which is which follows from the network
 * (darknet_nodes.c says how its parameters are called).
 */
#include "darknet.h"
#include <pthread.h>
#include <stdlib.h>

#define MOST_LAYERS (DARKNET_MOST_SECTIONS - 1)
#define HEADER_MOST 20u
#define MOST_NUMBERS (65536u + 5u)

enum { WEIGHT, BIAS, SCALE, MEAN, VARIANCE, PARTS };

typedef struct layer_parts {
    const cvr_weight *parts[PARTS];
    uint32_t connected;
    uint32_t head;            /* the number of classes decides how many filters it has */
    darknet_head_shape shape; /* of a head */
} layer_parts;

/* ---- heads of networks that were built ---- */

/*
 * A network's tensors do not tell how many anchors a head has, and without them a file that is cut looks like one of
 * other classes. So the heads of the last networks that this process has built are kept here.
 */
#define MOST_SHAPES 256u
static struct {
    pthread_mutex_t lock;
    darknet_head_shape all[MOST_SHAPES]; /* of a layer and its filters the last one */
    uint64_t n;                          /* that were ever added; those before the last MOST_SHAPES are forgotten */
} shapes = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Under the lock; NULL where there is none. */
static darknet_head_shape *find_noted(uint32_t layer, int64_t filters) {
    for (uint64_t i = 0; i < shapes.n && i < MOST_SHAPES; i++)
        if (shapes.all[i].layer == layer && shapes.all[i].filters == filters) return &shapes.all[i];
    return NULL;
}

void darknet_note_head(const darknet_head_shape *shape) {
    (void)pthread_mutex_lock(&shapes.lock);
    darknet_head_shape *to = find_noted(shape->layer, shape->filters);
    if (!to) to = &shapes.all[shapes.n++ % MOST_SHAPES];
    *to = *shape;
    (void)pthread_mutex_unlock(&shapes.lock);
}

/* Of no anchors where none was noted. */
static darknet_head_shape shape_of(uint32_t layer, int64_t filters) {
    (void)pthread_mutex_lock(&shapes.lock);
    const darknet_head_shape *noted = find_noted(layer, filters);
    const darknet_head_shape found = noted ? *noted : (darknet_head_shape){layer, filters, 0, 0};
    (void)pthread_mutex_unlock(&shapes.lock);
    return found;
}

/* ---- the network's tensors by layers ---- */

/* "backbone.12.conv.weight": the layer's number, and what follows it. -1: no such name. */
static int64_t layer_of(const char *name, const char **part) {
    static const char *const stages[] = {"backbone.", "head."};
    for (size_t i = 0; i < NET_COUNT(stages); i++) {
        const size_t n = strlen(stages[i]);
        char *end;
        if (strncmp(name, stages[i], n) != 0 || name[n] < '0' || name[n] > '9') continue;
        const long number = strtol(name + n, &end, 10);
        *part = end + 1;
        return *end == '.' && number < (long)MOST_LAYERS ? number : -1;
    }
    return -1;
}

/* Which of a layer's tensors a name means; PARTS: none of the file's. */
static int part_of(const char *name, uint32_t *connected) {
    static const struct {
        const char *name;
        int part;
    } known[] = {{"conv.weight", WEIGHT},   {"fc.weight", WEIGHT},       {"conv.bias", BIAS},
                 {"fc.bias", BIAS},         {"bn.bias", BIAS},           {"bn.weight", SCALE},
                 {"bn.running_mean", MEAN}, {"bn.running_var", VARIANCE}};
    for (size_t i = 0; i < NET_COUNT(known); i++) {
        if (strcmp(name, known[i].name) != 0) continue;
        if (strncmp(name, "fc.", 3) == 0) *connected = 1;
        return known[i].part;
    }
    return PARTS;
}

static int is_counter(const cvr_weight *w) {
    static const char end[] = ".num_batches_tracked";
    const size_t n = strlen(w->name);
    return n >= sizeof end && strcmp(w->name + n - (sizeof end - 1), end) == 0;
}

static uint64_t numel(const cvr_weight *w) {
    uint64_t n = 1;
    for (uint32_t i = 0; i < w->rank; i++) n *= (uint64_t)w->shape[i]; /* of a network that there is, or of its file */
    return n;
}

static int32_t sort_parts(const cvr_weight *const *weights, uint64_t n, layer_parts *layers, cvr_error *err) {
    for (uint64_t i = 0; i < n; i++) {
        const cvr_weight *w = weights[i];
        const char *rest = "";
        if (is_counter(w)) continue;
        const int64_t layer = layer_of(w->name, &rest);
        const int part = layer >= 0 ? part_of(rest, &layers[layer].connected) : PARTS;
        if (part == PARTS || w->dtype != CVR_F32)
            return cvr_fail(err, CVR_ERR_FORMAT,
                            "`%.120s` (%s) is no tensor of a .weights file, which only has those of networks from .cfg "
                            "files, as f32; set model.name = darknet",
                            w->name, cvr_dtype_name(w->dtype));
        if (layers[layer].parts[part])
            return cvr_fail(err, CVR_ERR_FORMAT, "`%.120s` and `%.120s` are the same part of layer %lld; leave one out",
                            w->name, layers[layer].parts[part]->name, (long long)layer);
        layers[layer].parts[part] = w;
        layers[layer].head = strncmp(w->name, "head.", 5) == 0;
    }
    return CVR_OK;
}

/* Weight and bias, and either all of a norm's numbers or none. */
static int32_t check_layer(const layer_parts *l, int64_t number, cvr_error *err) {
    const cvr_weight *const *p = l->parts;
    if (!p[WEIGHT] && !p[BIAS] && !p[SCALE] && !p[MEAN] && !p[VARIANCE]) return CVR_OK;
    const int norms = (p[SCALE] != NULL) + (p[MEAN] != NULL) + (p[VARIANCE] != NULL);
    if (p[WEIGHT] && p[BIAS] && (norms == 0 || norms == 3)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_FORMAT,
                    "layer %lld has not all of its tensors (weight and bias; scale, mean and variance of a norm); give "
                    "a whole network",
                    (long long)number);
}

/* Tensors of a layer in the file's order; returns how many. */
static uint32_t in_order(const layer_parts *l, const cvr_weight **out) {
    static const int orders[2][PARTS] = {{BIAS, SCALE, MEAN, VARIANCE, WEIGHT}, {BIAS, WEIGHT, SCALE, MEAN, VARIANCE}};
    uint32_t n = 0;
    for (int i = 0; i < PARTS; i++) {
        const cvr_weight *w = l->parts[orders[l->connected != 0][i]];
        if (w) out[n++] = w;
    }
    return n;
}

/* Free with the host. */
static int32_t open_layers(const cvr_host *host, const cvr_weight *const *weights, uint64_t n, layer_parts **out,
                           cvr_error *err) {
    layer_parts *layers = *out = host->alloc(host, MOST_LAYERS * sizeof *layers, 64);
    if (!layers) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(layers, 0, MOST_LAYERS * sizeof *layers);
    CVR_TRY(sort_parts(weights, n, layers, err));
    for (uint32_t i = 0; i < MOST_LAYERS; i++) {
        CVR_TRY(check_layer(&layers[i], i, err));
        const cvr_weight *w = layers[i].parts[WEIGHT];
        if (layers[i].head && w) layers[i].shape = shape_of(i, w->shape[0]);
    }
    return CVR_OK;
}

/* ---- the header ---- */

static int32_t number_at(const uint8_t *bytes) {
    int32_t x;
    memcpy(&x, bytes, sizeof x);
    return x;
}

static uint64_t header_bytes(const uint8_t *bytes) {
    const int32_t major = number_at(bytes), minor = number_at(bytes + 4);
    return major * 10 + minor >= 2 ? 20 : 16;
}

/* There is no magic number: versions 0.1 and 0.2 are all that Darknet has written. A cut file still counts. */
static int32_t probe(const uint8_t *bytes, uint64_t n, uint64_t file_size) {
    (void)file_size;
    if (n < 16) return 0;
    const int32_t major = number_at(bytes), minor = number_at(bytes + 4), revision = number_at(bytes + 8);
    return major == 0 && minor >= 1 && minor <= 9 && revision >= 0 && revision <= 99;
}

/* ---- reading ---- */

static int32_t read_without(const cvr_host *host, const uint8_t *bytes, uint64_t n, cvr_weight_fn each, void *ctx,
                            cvr_error *err) {
    (void)host, (void)bytes, (void)n, (void)each, (void)ctx;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "a .weights file has no names, so that the network must be known; give cfg=FILE.cfg");
}

/* Where the file ends: `whole` layers of `all` lie in its first `reach` numbers. */
typedef struct file_end {
    uint64_t have, want, reach; /* numbers: of the file, of the network, of whole layers */
    uint64_t heads;             /* of `want`, those of layers that the number of classes decides about */
    uint32_t whole, all;        /* layers with weights */
} file_end;

static file_end find_end(const layer_parts *layers, uint64_t have) {
    file_end e = {.have = have};
    for (uint32_t i = 0; i < MOST_LAYERS; i++) {
        const cvr_weight *parts[PARTS];
        const uint32_t n = in_order(&layers[i], parts);
        const uint64_t before = e.want;
        for (uint32_t k = 0; k < n; k++) e.want += numel(parts[k]);
        if (layers[i].head) e.heads += e.want - before;
        e.all += n > 0;
        if (n && e.want <= have) {
            e.reach = e.want;
            e.whole = e.all;
        }
    }
    return e;
}

/*
 * How many numbers each anchor of a head has in a file that is the network's but for the number of classes; it ends in
 * no place where a layer does. Every head has the same, at least what a box and one class need, and the file ends with
 * the last layer's last number. 0: it is no such file.
 */
static int64_t find_numbers(const layer_parts *layers, const file_end *e) {
    uint64_t of_one = 0; /* numbers of the file for each of an anchor's */
    int64_t least = 1;
    if (!e->heads || e->have == e->reach || e->have <= e->want - e->heads) return 0;
    for (uint32_t i = 0; i < MOST_LAYERS; i++) {
        const darknet_head_shape *s = &layers[i].shape;
        if (!layers[i].head) continue;
        if (layers[i].parts[SCALE] || !s->anchors || s->filters < 1) return 0;
        of_one +=
            (uint64_t)s->anchors * ((numel(layers[i].parts[WEIGHT]) + (uint64_t)s->filters) / (uint64_t)s->filters);
        if (s->box_numbers + 1 > least) least = s->box_numbers + 1;
    }
    const uint64_t rest = e->have - (e->want - e->heads), numbers = rest / of_one;
    return rest % of_one == 0 && numbers >= (uint64_t)least && numbers <= MOST_NUMBERS ? (int64_t)numbers : 0;
}

/* The file is the network's to the byte, or that of its first layers (darknet53.conv.74), or has other classes; `text`
 * says so where it is not the first. */
static int32_t check_end(const file_end *e, uint64_t rest, int other_classes, char text[200], cvr_error *err) {
    *text = '\0';
    if (rest || (!other_classes && (e->have > e->want || e->reach != e->have || !e->whole)))
        return cvr_fail(err, CVR_ERR_FORMAT,
                        "has %llu numbers%s, the network %llu in %u layers, of which %u would fit; the file is cut, or "
                        "belongs to another .cfg",
                        (unsigned long long)e->have, rest ? " and a part of one" : "", (unsigned long long)e->want,
                        e->all, e->whole);
    if (other_classes)
        (void)snprintf(text, 200, "the file is this network's with another number of classes");
    else if (e->whole < e->all)
        (void)snprintf(text, 200,
                       "the file has the first %u of %u layers with weights; model.strict = no leaves the others as "
                       "they start",
                       e->whole, e->all);
    return CVR_OK;
}

/* A norm takes the root of its variances: what is below 0 was never written as one. */
static int32_t check_variance(const cvr_weight *w, cvr_error *err) {
    float v;
    for (uint64_t i = 0; i < w->bytes; i += sizeof v) {
        memcpy(&v, (const uint8_t *)w->data + i, sizeof v);
        if (v < 0)
            return cvr_fail(err, CVR_ERR_FORMAT,
                            "has a variance of %g in `%.120s`; the file is damaged, or belongs to another .cfg",
                            (double)v, w->name);
    }
    return CVR_OK;
}

/* `numbers`: that each anchor of a head has in the file, in place of the network's own; 0: as the network has them. */
static int32_t give_layers(const layer_parts *layers, const uint8_t *data, uint64_t n, int64_t numbers,
                           cvr_weight_fn each, void *ctx, cvr_error *err) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < MOST_LAYERS && at < n; i++) {
        const cvr_weight *parts[PARTS];
        const uint32_t count = in_order(&layers[i], parts);
        for (uint32_t k = 0; k < count; k++) {
            cvr_weight w = *parts[k];
            if (numbers && layers[i].head) w.shape[0] = layers[i].shape.anchors * numbers;
            w.data = data + at;
            w.bytes = numel(&w) * sizeof(float);
            w.source_dtype = "float32";
            at += w.bytes;
            if (parts[k] == layers[i].parts[VARIANCE]) CVR_TRY(check_variance(&w, err));
            CVR_TRY(each(ctx, &w, err));
        }
    }
    return CVR_OK;
}

static int32_t read_for(const cvr_host *host, const uint8_t *bytes, uint64_t n, const cvr_weight *const *layout,
                        uint64_t n_layout, cvr_weight_fn each, void *ctx, cvr_error *err) {
    layer_parts *layers = NULL;
    char text[200];
    int32_t status = CVR_OK;
    if (!probe(bytes, n, n) || n < header_bytes(bytes))
        return cvr_fail(err, CVR_ERR_FORMAT, "ends within its first %u bytes; the file is cut", HEADER_MOST);
    const uint64_t header = header_bytes(bytes), size = n - header;
    CVR_TRY_OUT(open_layers(host, layout, n_layout, &layers, err));
    const file_end e = find_end(layers, size / sizeof(float));
    const int64_t numbers = find_numbers(layers, &e);
    CVR_TRY_OUT(check_end(&e, size % sizeof(float), numbers != 0, text, err));
    if (*text) host->log(host, CVR_LOG_INFO, text);
    CVR_TRY_OUT(give_layers(layers, bytes + header, size, numbers, each, ctx, err));
out:
    if (layers) host->free(host, layers);
    return status;
}

/* ---- writing ---- */

/* Version 0.2.5, and no pictures seen: Darknet goes on from its first burn-in. */
static int32_t write_header(cvr_sink_fn sink, void *ctx, cvr_error *err) {
    static const int32_t version[3] = {0, 2, 5};
    static const uint64_t seen = 0;
    CVR_TRY(sink(ctx, version, sizeof version, err));
    return sink(ctx, &seen, sizeof seen, err);
}

static int32_t write_file(const cvr_host *host, const cvr_weight *const *weights, uint64_t n_weights,
                          const char *const *metadata, uint64_t n_metadata, cvr_sink_fn sink, void *sink_ctx,
                          cvr_error *err) {
    layer_parts *layers = NULL;
    int32_t status;
    (void)metadata, (void)n_metadata;
    CVR_TRY_OUT(open_layers(host, weights, n_weights, &layers, err));
    CVR_TRY_OUT(write_header(sink, sink_ctx, err));
    for (uint32_t i = 0; i < MOST_LAYERS; i++) {
        const cvr_weight *parts[PARTS];
        const uint32_t count = in_order(&layers[i], parts);
        for (uint32_t k = 0; k < count; k++) CVR_TRY_OUT(sink(sink_ctx, parts[k]->data, parts[k]->bytes, err));
    }
out:
    if (layers) host->free(host, layers);
    return status;
}

const cvr_weights_desc darknet_weights = {
    .struct_size = sizeof(cvr_weights_desc),
    .name = "darknet",
    .extension = ".weights",
    .doc = "Darknet's .weights: numbers without names, in the order of the layers of a .cfg file",
    .probe = probe,
    .read = read_without,
    .write = write_file,
    .read_for = read_for,
};
