/*
 * data.yaml: a map with path, train, val, names and nc. Read by libyaml, event by event; keys that are not of interest
 * are passed over, whatever they hold.
 */
#include "../dataset_file.h"
#include "yolo.h"
#include <stdlib.h>
#include <yaml.h>

#define MOST_BYTES (UINT64_C(1) << 24)
#define DEEPEST 64u

enum key { OTHER, PATH, TRAIN, VAL, NAMES, NC };
static const char *const keys[] = {"", "path", "train", "val", "names", "nc"};

typedef struct reading {
    yolo_plan *p;
    cvr_error *err;
    const char *path;
    dataset_file *f;
    uint64_t bytes;
    int32_t status; /* of reading the file */
    uint32_t depth;
    enum key key;
    int32_t want_value; /* in a map: its key is known */
    int32_t in_map;     /* names are a map */
    int64_t number;     /* of the next name */
    uint32_t seen;      /* bit i: key i */
} reading;

static int read_bytes(void *ctx, unsigned char *to, size_t size, size_t *got) {
    reading *const r = ctx;
    uint64_t n = 0;
    r->status = dataset_file_read(r->f, to, size, &n, r->err);
    r->bytes += n;
    if (r->status == CVR_OK && r->bytes > MOST_BYTES)
        r->status = dataset_file_fail(r->f, r->err, "over 16 MB; is this the file that describes the data?");
    *got = n;
    return r->status == CVR_OK;
}

static int32_t fail(const reading *r, const yaml_event_t *e, const char *what) {
    return cvr_fail_at(r->err, r->path, (uint32_t)e->start_mark.line + 1, cvr_fail(r->err, CVR_ERR_FORMAT, "%s", what));
}

/* "val:" without a value, "~" and "null" are as if they were not there. */
static int32_t is_nothing(const yaml_event_t *e) {
    const char *const s = (const char *)e->data.scalar.value;
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && (!*s || strcmp(s, "~") == 0 || strcmp(s, "null") == 0);
}

static int32_t take_name(reading *r, const yaml_event_t *e, const char *s) {
    int64_t number;
    const uint64_t n = r->p->names.n;
    if (!*s) return fail(r, e, "a class without a name");
    if (n == YOLO_MOST_CLASSES) return fail(r, e, "more than 65536 classes");
    CVR_TRY(name_table_put(&r->p->names, s, &number, r->err));
    return r->p->names.n > n ? CVR_OK : fail(r, e, "two classes of the same name; rename one of them");
}

static int32_t take_count(reading *r, const yaml_event_t *e, const char *s) {
    char *end;
    r->p->n_classes = strtoll(s, &end, 10);
    return end != s && !*end && r->p->n_classes > 0 && r->p->n_classes <= YOLO_MOST_CLASSES
               ? CVR_OK
               : fail(r, e, "`nc` is a whole number from 1 to 65536");
}

static int32_t take_value(reading *r, const yaml_event_t *e) {
    const char *const s = (const char *)e->data.scalar.value;
    if (strlen(s) != e->data.scalar.length) return fail(r, e, "a value with a byte of 0");
    if (r->key == NAMES && r->depth > 1 && is_nothing(e)) return fail(r, e, "a class without a name");
    if (is_nothing(e) || r->key == OTHER) return CVR_OK;
    if (r->key == NC) return take_count(r, e, s);
    if (r->key == NAMES)
        return r->depth > 1 ? take_name(r, e, s) : fail(r, e, "`names` is a list, or a map from numbers");
    if (strlen(s) >= YOLO_PATH) return fail(r, e, "a path of over 4095 bytes");
    if (r->key == PATH) return dataset_path(r->p->path, sizeof r->p->path, "", s, r->err);
    const int32_t status = yolo_plan_add(r->p, r->key == TRAIN ? CVR_SPLIT_TRAIN : CVR_SPLIT_VAL, s, r->err);
    return status == CVR_OK ? status : cvr_fail_at(r->err, r->path, (uint32_t)e->start_mark.line + 1, status);
}

static int32_t take_key(reading *r, const yaml_event_t *e) {
    const char *const s = (const char *)e->data.scalar.value;
    r->want_value = 1;
    r->key = OTHER;
    for (size_t i = 1; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(s, keys[i]) == 0) r->key = (enum key)i;
    if (r->key != OTHER && r->seen >> r->key & 1) return fail(r, e, "this key stands here twice; keep one");
    r->seen |= 1u << r->key;
    return CVR_OK;
}

/* The numbers that names have in a map: from 0 on, in order. */
static int32_t take_number(reading *r, const yaml_event_t *e) {
    const char *const s = (const char *)e->data.scalar.value;
    char *end;
    const long long number = strtoll(s, &end, 10);
    r->want_value = 1;
    if (end != s && !*end && number == r->number++) return CVR_OK;
    return fail(r, e, "the keys of `names` are 0, 1, 2, ... in this order");
}

static int32_t on_scalar(reading *r, const yaml_event_t *e) {
    if (r->depth == 0) return fail(r, e, "no map of keys and values");
    if (r->depth == 1) {
        if (!r->want_value) return take_key(r, e);
        r->want_value = 0;
        return take_value(r, e);
    }
    if (r->key == OTHER) return CVR_OK;
    if (r->key == NC || r->key == PATH || r->depth > 2) return fail(r, e, "a list or a map where one value is to be");
    if (r->in_map && !r->want_value) return take_number(r, e);
    if (r->in_map) r->want_value = 0;
    return take_value(r, e);
}

static int32_t on_begin(reading *r, const yaml_event_t *e) {
    const int32_t map = e->type == YAML_MAPPING_START_EVENT;
    if (r->depth == DEEPEST) return fail(r, e, "lists and maps nested 64 deep");
    if (r->depth == 0 && !map) return fail(r, e, "no map of keys and values");
    if (r->depth == 1 && !r->want_value) return fail(r, e, "a key that is a list or a map");
    if (r->depth == 1) {
        if (map && r->key != NAMES && r->key != OTHER) return fail(r, e, "a map where a path or a number is to be");
        r->in_map = map;
        r->want_value = 0;
    }
    r->depth++;
    return CVR_OK;
}

static int32_t on_event(reading *r, const yaml_event_t *e) {
    switch (e->type) {
    case YAML_SCALAR_EVENT: return on_scalar(r, e);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT: return on_begin(r, e);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        if (--r->depth == 1) r->want_value = r->in_map = 0;
        return CVR_OK;
    case YAML_ALIAS_EVENT:
        return r->depth <= 1 || r->key != OTHER ? fail(r, e, "an alias (*name); write the value itself") : CVR_OK;
    default: return CVR_OK;
    }
}

static int32_t fail_syntax(const reading *r, const yaml_parser_t *y) {
    char what[200];
    if (r->status != CVR_OK) return r->status;
    if (y->error == YAML_MEMORY_ERROR) return cvr_fail(r->err, CVR_ERR_NOMEM, "out of memory for reading YAML");
    (void)snprintf(what, sizeof what, "this is no YAML (%.150s)", y->problem ? y->problem : "damaged");
    return cvr_fail_at(r->err, r->path, (uint32_t)y->problem_mark.line + 1,
                       cvr_fail(r->err, CVR_ERR_FORMAT, "%s", dataset_printable(what)));
}

static int32_t read_document(reading *r, yaml_parser_t *y) {
    yaml_event_t e;
    for (int32_t done = 0; !done;) {
        if (!yaml_parser_parse(y, &e)) return fail_syntax(r, y);
        done = e.type == YAML_DOCUMENT_END_EVENT || e.type == YAML_STREAM_END_EVENT;
        const int32_t status = on_event(r, &e);
        yaml_event_delete(&e);
        CVR_TRY(status);
    }
    return CVR_OK;
}

int32_t yolo_yaml_read(yolo_plan *p, const char *path, cvr_error *err) {
    reading r = {.p = p, .err = err, .path = path};
    yaml_parser_t y;
    CVR_TRY(dataset_file_open(p->host, path, &r.f, err));
    if (!yaml_parser_initialize(&y)) {
        dataset_file_close(r.f);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for reading YAML");
    }
    yaml_parser_set_input(&y, read_bytes, &r);
    int32_t status = read_document(&r, &y);
    yaml_parser_delete(&y);
    dataset_file_close(r.f);
    if (status == CVR_OK && p->n_classes >= 0 && p->names.n && (int64_t)p->names.n != p->n_classes)
        status = cvr_fail_at(err, path, 0,
                             cvr_fail(err, CVR_ERR_FORMAT, "`nc` is %lld, and `names` has %llu",
                                      (long long)p->n_classes, (unsigned long long)p->names.n));
    return status;
}
