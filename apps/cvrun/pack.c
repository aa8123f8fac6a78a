/* cvrun pack: the recipe's data as files that other programs read. The folder appears whole, or not at all. */
#include "pack.h"
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

/* Samples between two looks at signals and the bar; made in parallel, recorded in order. */
#define CHUNK 64

static volatile sig_atomic_t stop_asked;

static void on_signal(int number) {
    (void)number;
    stop_asked = 1;
}

/* What the command line says beside settings of the recipe. */
typedef struct wishes {
    const char *out, *as;
    bool splits[2], files;
    int64_t size; /* -1: not given */
    const pack_layout *layout;
} wishes;

typedef struct packing {
    wishes wish;
    pack_source source;
    const cvr_threadpool *pool;
    bool skips; /* data.on_error = skip */
    progress bar;
    int64_t done, total, objects, skipped;
} packing;

/* Samples that are being made. */
typedef struct chunk {
    packing *p;
    int64_t first, n, count; /* places of samples in what is packed, of which there are `count` */
    pack_record records[CHUNK];
    int32_t statuses[CHUNK];
    cvr_error errors[CHUNK];
} chunk;

/* ---- settings ---- */

static int32_t unknown_choice(const char *key, const char *value, const char *choices, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_USAGE, "%s=%s: choose one of %s", key, value, choices);
}

/* out=, as=, split=, store= and size= are the command's own; the other settings are the recipe's. */
static int32_t read_wishes(arguments *a, wishes *w, cvr_error *err) {
    size_t n = 0;
    *w = (wishes){.as = "", .splits = {true, true}, .size = -1};
    for (size_t i = 0; i < a->n_settings; i++) {
        const char *s = a->settings[i];
        if (strncmp(s, "out=", 4) == 0) {
            w->out = s + 4;
        } else if (strncmp(s, "as=", 3) == 0) {
            w->as = s + 3;
        } else if (strncmp(s, "store=", 6) == 0) {
            w->files = strcmp(s + 6, "files") == 0;
            if (!w->files && strcmp(s + 6, "pixels") != 0) return unknown_choice("store", s + 6, "pixels, files", err);
        } else if (strncmp(s, "size=", 5) == 0) {
            char *end;
            w->size = strtoll(s + 5, &end, 10);
            if (end == s + 5 || *end || w->size < 0 || w->size > 65500)
                return cvr_fail(err, CVR_ERR_USAGE, "%s: give a side of 1 to 65500 pixels, or 0: as they are", s);
        } else if (strncmp(s, "split=", 6) == 0) {
            w->splits[0] = strcmp(s + 6, "val") != 0;
            w->splits[1] = strcmp(s + 6, "train") != 0;
            if (w->splits[0] && w->splits[1])
                return unknown_choice("split", s + 6, "train, val; both: leave it out", err);
        } else {
            a->settings[n++] = s;
        }
    }
    a->n_settings = n;
    for (size_t i = 0; i < n_pack_layouts; i++) {
        if (strcmp(w->as, pack_layouts[i]->name) == 0) w->layout = pack_layouts[i];
    }
    if (*w->as && !w->layout) return unknown_choice("as", w->as, "pack, coco, yolo, masks, folder", err);
    if (!w->out || !*w->out) return cvr_fail(err, CVR_ERR_USAGE, "where shall the files go? Give out=DIR");
    return CVR_OK;
}

/* ---- the data ---- */

static bool has_kind(const pack_source *d, const char *kind) {
    const char *k;
    for (uint32_t i = 0; (k = d->desc->kind(d->self, i)); i++) {
        if (strcmp(k, kind) == 0) return true;
    }
    return false;
}

/* as=, or the first layout that the data has the field for. */
static int32_t choose_layout(packing *p, cvr_error *err) {
    for (size_t i = 0; i < n_pack_layouts && !p->wish.layout; i++) {
        if (has_kind(&p->source, pack_layouts[i]->needs)) p->wish.layout = pack_layouts[i];
    }
    if (!p->wish.layout)
        return cvr_fail(err, CVR_ERR_USAGE, "data of format %s has neither boxes, nor masks, nor labels to write",
                        p->source.desc->name);
    if ((p->wish.files || p->wish.size >= 0) && strcmp(p->wish.layout->name, "pack") != 0)
        return cvr_fail(err, CVR_ERR_USAGE, "%s is for as=pack; as=%s writes pixels as they are: leave it out",
                        p->wish.files ? "store=files" : "size=", p->wish.layout->name);
    if (has_kind(&p->source, p->wish.layout->needs)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "as=%s needs %s, which this data of format %s does not have",
                    p->wish.layout->name, p->wish.layout->needs, p->source.desc->name);
}

/* ---- a split ---- */

static void pack_one(void *ctx, uint64_t task, uint32_t worker) {
    chunk *c = ctx;
    const pack_source *d = &c->p->source;
    const int64_t at = c->first + (int64_t)task;
    pack_sample s = {0};
    cvr_error *err = &c->errors[task];
    (void)worker;
    cvr_error_init(err);
    /* With data.limit, evenly spread, as training reads it. */
    const int64_t index = (int64_t)((double)at * ((double)d->desc->count(d->self) / (double)c->count));
    int32_t status = pack_sample_read(&s, d, index, err);
    if (status == CVR_OK) {
        char name[sizeof err->file];
        status = c->p->wish.layout->sample(d, &s, at, &c->records[task], err);
        CVR_CALL_VOID(d->desc, describe, NULL, d->self, index, name, sizeof name);
        if (status != CVR_OK) (void)cvr_fail_at(err, name, 0, status);
    }
    c->statuses[task] = status;
    pack_sample_free(&s);
}

/* What came of a chunk's samples, in their order. */
static int32_t record(chunk *c, cvr_writer *w, cvr_text *images, int64_t *n_objects, cvr_error *err) {
    packing *p = c->p;
    for (int64_t i = 0; i < c->n; i++) {
        const bool bad_file = c->statuses[i] == CVR_ERR_FORMAT || c->statuses[i] == CVR_ERR_IO;
        if (c->statuses[i] != CVR_OK && !(p->skips && bad_file)) {
            *err = c->errors[i];
            return c->statuses[i];
        }
        if (c->statuses[i] != CVR_OK) {
            p->skipped++;
            progress_clear(&p->bar);
            cvr_log(CVR_LOG_WARNING, "%s: %s; skipped", c->errors[i].file, c->errors[i].message);
        } else if (p->wish.layout->record) {
            CVR_TRY(p->wish.layout->record(&c->records[i], w, images, n_objects, err));
        }
    }
    return CVR_OK;
}

static void clear(chunk *c) {
    for (int64_t i = 0; i < CHUNK; i++) {
        cvr_text_clear(&c->records[i].image);
        cvr_text_clear(&c->records[i].objects);
        c->records[i].n_objects = 0;
    }
}

static int32_t pack_chunks(packing *p, chunk *c, cvr_writer *w, cvr_text *images, cvr_error *err) {
    int64_t n_objects = 0;
    for (c->first = 0; c->first < c->count; c->first += CHUNK) {
        if (stop_asked) return cvr_fail(err, CVR_ERR_INTERRUPTED, "interrupted; nothing is left behind");
        c->n = c->count - c->first < CHUNK ? c->count - c->first : CHUNK;
        p->pool->run(p->pool, (uint64_t)c->n, pack_one, c);
        const int32_t status = record(c, w, images, &n_objects, err);
        clear(c);
        if (status != CVR_OK) return status;
        p->done += c->n;
        progress_count(&p->bar, p->done, p->total);
    }
    p->objects += n_objects;
    return CVR_OK;
}

static int64_t count_of(const packing *p) {
    const int64_t n = p->source.desc->count(p->source.self), limit = pack_number(&p->source, "data", "limit");
    return limit > 0 && limit < n ? limit : n;
}

static int32_t pack_split(packing *p, cvr_error *err) {
    const pack_layout *layout = p->wish.layout;
    cvr_text images = {0};
    cvr_writer w = {0};
    chunk *c = cvr_calloc(1, sizeof *c);
    bool open = false;
    int32_t status = CVR_OK;
    if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    c->p = p;
    c->count = count_of(p);
    CVR_TRY_OUT(layout->begin(&p->source, &w, err));
    open = layout->end;
    CVR_TRY_OUT(pack_chunks(p, c, &w, &images, err));
    if (layout->end) {
        open = false; /* a commit ends the writer, also one that fails */
        status = layout->end(&p->source, &w, &images, err);
    }
out:
    if (open) cvr_writer_abandon(&w);
    cvr_text_clear(&images);
    cvr_free(c);
    return status;
}

/* ---- the folder ---- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static bool is_empty(const char *folder) {
    DIR *d = opendir(folder);
    bool empty = d != NULL;
    for (struct dirent *e; empty && (e = readdir(d));)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d) closedir(d);
    return empty;
}

static int32_t fail_folder(const char *path, const char *what, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_IO, "%s", what);
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

/* Everything is written to OUT.PID.tmp, which then takes OUT's name. */
static int32_t make_folder(const char *out, char *tmp, size_t size, cvr_error *err) {
    const size_t length = strlen(out);
    const size_t bare = length > 1 && out[length - 1] == '/' ? length - 1 : length;
    if (cvr_fs_exists(out) && !is_empty(out))
        return fail_folder(out, "it exists and is not an empty folder; remove it, or give another out=DIR", err);
    const int n = snprintf(tmp, size, "%.*s.%ld.tmp", (int)bare, out, (long)getpid());
    if (n < 0 || (size_t)n >= size) return fail_folder(out, "its path is too long", err);
    if (cvr_fs_exists(tmp)) return fail_folder(tmp, "it is left from a run that was killed; remove it", err);
    return cvr_fs_mkdirs(tmp, err);
}

static int32_t show_folder(const char *tmp, const char *out, cvr_error *err) {
    sync(); /* so that after a power cut no file of a folder with this name is empty */
    if (rename(tmp, out) == 0) return CVR_OK;
    return fail_folder(out, strerror(errno), err);
}

/* Both splits are opened once before anything is written, as most mistakes show there. */
static int32_t count_splits(packing *p, cvr_error *err) {
    int32_t status = CVR_OK;
    for (uint32_t split = 0; split < 2; split++) {
        if (!p->wish.splits[split]) continue;
        CVR_TRY_OUT(pack_source_open(&p->source, split, err));
        CVR_TRY_OUT(choose_layout(p, err));
        p->total += count_of(p);
        pack_source_close(&p->source);
    }
out:
    pack_source_close(&p->source);
    return status;
}

static int32_t pack_splits(packing *p, cvr_error *err) {
    int32_t status = CVR_OK;
    for (uint32_t split = 0; split < 2; split++) {
        if (!p->wish.splits[split]) continue;
        CVR_TRY_OUT(pack_source_open(&p->source, split, err));
        CVR_TRY_OUT(pack_split(p, err));
        pack_source_close(&p->source);
    }
out:
    pack_source_close(&p->source);
    return status;
}

/* What pixels are made smaller by: size=, else the larger of the sizes that the recipe speaks of. */
static int32_t choose_size(packing *p, cvr_error *err) {
    pack_source *d = &p->source;
    const void *desc;
    char text[32];
    const int64_t img = pack_number(d, "data", "img_size"), val = pack_number(d, "val", "resize_size");
    d->files = p->wish.files;
    d->size = p->wish.size >= 0 ? p->wish.size : img > val ? img : val;
    if (d->size == 0) return CVR_OK;
    CVR_TRY(cvr_plugins_find(cvr_session_plugins(d->session), CVR_KIND_AUGMENT, "resize", &desc, err));
    d->resize = desc;
    const cvr_schema schema = {d->resize->attrs, d->resize->n_attrs};
    (void)snprintf(text, sizeof text, "%lld", (long long)d->size);
    return cvr_attrs_parse(&schema, text, NULL, "resize", &d->resize_attrs, err);
}

static int32_t pack(packing *p, cvr_error *err) {
    char tmp[4096];
    CVR_TRY(choose_size(p, err));
    p->skips = pack_skips(&p->source);
    CVR_TRY(cvr_plugins_image_service(cvr_session_plugins(p->source.session), &p->source.images, err));
    CVR_TRY(count_splits(p, err));
    CVR_TRY(make_folder(p->wish.out, tmp, sizeof tmp, err));
    p->source.folder = tmp;
    int32_t status;
    CVR_TRY_OUT(pack_splits(p, err));
    CVR_TRY_OUT(show_folder(tmp, p->wish.out, err));
out:
    if (status != CVR_OK) (void)nftw(tmp, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}

static void print_result(const packing *p) {
    char text[64];
    print_text("%s: %s as %s", p->wish.out, human_many(p->done - p->skipped, "picture", text), p->wish.layout->name);
    if (p->objects) print_text(", %s", human_many(p->objects, "object", text));
    if (p->skipped) printf("; %s left out that cannot be used", human_count(p->skipped, text));
    printf("\n");
}

static int run_pack(const arguments *a) {
    const struct sigaction action = {.sa_handler = on_signal};
    cvr_error err = CVR_ERROR_INIT;
    arguments rest = *a;
    packing p = {0};
    cvr_threadpool *pool = NULL;
    if (read_wishes(&rest, &p.wish, &err) != CVR_OK) return report_error(&err);
    int status = open_session(&rest, CVR_FOR_SETTINGS, &p.source.session);
    if (status != EXIT_OK) return status;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    const int64_t workers = pack_number(&p.source, "data", "workers");
    progress_start(&p.bar, "packing");
    int32_t rc = cvr_pool_create(&pool, workers > 1 ? (uint32_t)workers : 1, &err);
    p.pool = pool;
    if (rc == CVR_OK) rc = pack(&p, &err);
    progress_clear(&p.bar);
    if (rc == CVR_OK)
        print_result(&p);
    else
        status = report_error(&err);
    cvr_pool_destroy(&pool);
    cvr_free(p.source.resize_attrs);
    cvr_session_close(&p.source.session);
    return status;
}

const command pack_command = {
    .name = "pack",
    .usage = "RECIPE.ini out=DIR [as=LAYOUT] [size=N] [key=value ...]",
    .summary = "write the data for fast training, or as files that other programs read",
    .help = "  as=pack     DIR/train.pack and DIR/val.pack, which data.format=pack reads (data.root=DIR): "
            "pixels whose shorter side is size=N at most (default: the larger of data.img_size and "
            "val.resize_size; 0: as they are), or with store=files the pictures' files as they are\n"
            "  as=coco     DIR/{train,val}/*.png and DIR/annotations/instances_{train,val}.json: boxes, and "
            "masks of instances as run lengths; categories count from 1, a class `background` is none of them; data "
            "that has category ids keeps them, and crowds\n"
            "  as=yolo     DIR/images/{train,val}/*.png, DIR/labels/{train,val}/*.txt and DIR/data.yaml: boxes\n"
            "  as=masks    DIR/{train,val}/{images,masks}/*.png and DIR/classes.txt: a mask's grey is the "
            "class, 255: none\n"
            "  as=folder   DIR/{train,val}/CLASS/*.png\n"
            "Default: the first of coco, masks and pack that the data has the fields for. split=train or "
            "split=val writes only one. Pixels are the data's own, before any transform. data.workers threads write; "
            "data.limit "
            "and data.on_error hold here, too. DIR appears when all is written; one that is not empty is "
            "refused.\n",
    .run = run_pack,
    .needs_path = true,
};
