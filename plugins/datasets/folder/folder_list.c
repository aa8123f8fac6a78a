/*
 * Listing class folders (torchvision ImageFolder: byte order of folders, then of names; links are followed).
 */
#include "folder_list.h"
#include "../dataset_picture.h"
#include "../name_table.h"
#include "../split_draw.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#define MAX_DEPTH 64
#define MAX_PATH_BYTES 4096

/* The folders that lead to where we are, so that a link back to one of them is noticed. */
typedef struct level {
    const struct level *up;
    dev_t dev;
    ino_t ino;
    int depth;
} level;

void folder_list_free(folder_list *l) {
    if (l->text) l->host->free(l->host, l->text);
    if (l->items) l->host->free(l->host, l->items);
    if (l->classes) l->host->free(l->host, l->classes);
    memset(l, 0, sizeof *l);
}

int32_t folder_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of pictures");
}

static int32_t fail_path(const char *path, cvr_error *err, const char *what) {
    (void)cvr_fail(err, CVR_ERR_IO, "%s", what);
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

static int32_t fail_system(const char *path, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_IO, "cannot list the folder: %s; check the path and its permissions", strerror(errno));
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

static int32_t add_text(folder_list *l, const char *s, uint64_t *at, cvr_error *err) {
    const uint64_t n = strlen(s) + 1;
    char *const text = dataset_grow(l->host, l->text, l->text_n, n, &l->text_room, 1);
    if (!text) return out_of_memory(err);
    l->text = text;
    *at = l->text_n;
    memcpy(text + l->text_n, s, n);
    l->text_n += n;
    return CVR_OK;
}

static int32_t add_item(folder_list *l, const char *path, uint64_t dir_length, int64_t label, cvr_error *err) {
    folder_item item = {0, 0, label};
    folder_item *const items = dataset_grow(l->host, l->items, l->n, 1, &l->room, sizeof *items);
    if (!items) return out_of_memory(err);
    l->items = items;
    CVR_TRY(add_text(l, path, &item.path, err));
    item.name = item.path + dir_length + 1;
    l->items[l->n++] = item;
    return CVR_OK;
}

/* Pictures that ImageFolder lists, or that a browser shows, in whichever format. */
static int32_t is_other_picture(const char *name) {
    static const char *const endings[] = {".webp", ".bmp",  ".tif",  ".tiff", ".gif", ".ppm", ".pgm",  ".pbm",
                                          ".avif", ".heic", ".heif", ".jp2",  ".jxl", ".jpg", ".jpeg", ".png"};
    const char *const ending = strrchr(name, '.');
    for (uint64_t i = 0; ending && i < sizeof endings / sizeof *endings; i++) {
        if (strcasecmp(ending, endings[i]) == 0) return 1;
    }
    return 0;
}

static void pass_over(folder_list *l, const char *path) {
    char line[MAX_PATH_BYTES + 64];
    if (l->unread++ == 0) (void)snprintf(l->first_unread, sizeof l->first_unread, "%.511s", path);
    (void)snprintf(line, sizeof line, "%s: left out, no codec reads this format", path);
    l->host->log(l->host, CVR_LOG_DEBUG, line);
}

void folder_list_warn(const folder_list *l, const char *root) {
    char line[1600];
    int one = l->outside == 1;
    if (l->outside) {
        (void)snprintf(
            line, sizeof line,
            "%.700s: %llu picture%s beside the class folders and %s left out, such as %s; move %s into a class", root,
            (unsigned long long)l->outside, one ? " lies" : "s lie", one ? "is" : "are", l->first_outside,
            one ? "it" : "them");
        l->host->log(l->host, CVR_LOG_WARNING, line);
    }
    if (l->unread == 0) return;
    one = l->unread == 1;
    (void)snprintf(line, sizeof line,
                   "%.700s: %llu picture%s left out, since no codec reads %s format, such as %s; convert %s to PNG or "
                   "JPEG",
                   root, (unsigned long long)l->unread, one ? " is" : "s are", one ? "its" : "their", l->first_unread,
                   one ? "it" : "them");
    l->host->log(l->host, CVR_LOG_WARNING, line);
}

static int32_t walk(folder_list *l, char *path, int64_t label, const level *up, cvr_error *err);

/* One entry of a folder; `path` is the folder's and is put back. */
static int32_t visit(folder_list *l, char *path, const char *name, int64_t label, const level *up, cvr_error *err) {
    struct stat st;
    const size_t n = strlen(path), len = strlen(name);
    int32_t status = CVR_OK;
    if (name[0] == '.') return CVR_OK; /* hidden: notes of the system, of an editor or a notebook */
    if (n + 1 + len >= MAX_PATH_BYTES)
        return fail_path(path, err, "a path of over 4095 bytes in this folder; move the data");
    path[n] = '/';
    memcpy(path + n + 1, name, len + 1);
    /* What vanished since the folder was read is no picture; a link to nowhere is one that is missing. */
    const int32_t there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        status = walk(l, path, label, up, err);
    else if (there ? S_ISREG(st.st_mode) : lstat(path, &st) == 0) {
        if (l->image->is_picture(l->image, name))
            status = add_item(l, path, n, label, err);
        else if (is_other_picture(name))
            pass_over(l, path);
    }
    path[n] = '\0';
    return status;
}

static int32_t walk(folder_list *l, char *path, int64_t label, const level *up, cvr_error *err) {
    struct stat st;
    int32_t status = CVR_OK;
    DIR *const dir = opendir(path);
    if (!dir) return fail_system(path, err);
    if (stat(path, &st) != 0) CVR_TRY_OUT(fail_system(path, err));
    const level here = {up, st.st_dev, st.st_ino, up ? up->depth + 1 : 0};
    for (const level *u = up; u; u = u->up) {
        if (u->dev == here.dev && u->ino == here.ino)
            CVR_TRY_OUT(fail_path(path, err, "a link to a folder above; remove it"));
    }
    if (here.depth > MAX_DEPTH) CVR_TRY_OUT(fail_path(path, err, "folders too deep; move the data"));
    for (;;) {
        errno = 0;
        const struct dirent *const e = readdir(dir);
        if (!e && errno) CVR_TRY_OUT(fail_system(path, err));
        if (!e) break;
        CVR_TRY_OUT(visit(l, path, e->d_name, label, &here, err));
    }
out:
    (void)closedir(dir);
    return status;
}

/* A sort key that stands alone, because qsort passes no context. */
typedef struct sort_key {
    const char *dir, *name;
    uint64_t dir_length;
    folder_item item;
} sort_key;

static int by_folder_and_name(const void *a, const void *b) {
    const sort_key *const x = a, *const y = b;
    const uint64_t n = x->dir_length < y->dir_length ? x->dir_length : y->dir_length;
    const int c = memcmp(x->dir, y->dir, n);
    if (c) return c;
    if (x->dir_length != y->dir_length) return x->dir_length < y->dir_length ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int32_t sort_items(folder_list *l, uint64_t first, cvr_error *err) {
    const uint64_t n = l->n - first;
    sort_key *const keys = l->host->alloc(l->host, n * sizeof *keys, 16);
    if (!keys) return out_of_memory(err);
    for (uint64_t i = 0; i < n; i++) {
        const folder_item item = l->items[first + i];
        keys[i] = (sort_key){l->text + item.path, l->text + item.name, item.name - item.path, item};
    }
    qsort(keys, n, sizeof *keys, by_folder_and_name);
    for (uint64_t i = 0; i < n; i++) l->items[first + i] = keys[i].item;
    l->host->free(l->host, keys);
    return CVR_OK;
}

int32_t folder_list_class(folder_list *l, const char *root, int64_t label, cvr_error *err) {
    char path[MAX_PATH_BYTES];
    const uint64_t first = l->n, unread = l->unread;
    const int n = snprintf(path, sizeof path, "%s/%s", root, l->text + l->classes[label]);
    if (n < 0 || n >= MAX_PATH_BYTES) return fail_path(root, err, "a path of over 4095 bytes; move the data");
    CVR_TRY(walk(l, path, label, NULL, err));
    if (l->n == first) {
        return fail_path(path, err,
                         l->unread > unread
                             ? "a class folder without pictures in a format that a codec reads; convert them to "
                               "PNG or JPEG, or remove it"
                             : "a class folder without pictures (such as .jpg or .png); fill it or remove it");
    }
    return sort_items(l, first, err);
}

int32_t folder_list_flat(folder_list *l, const char *root, cvr_error *err) {
    char path[MAX_PATH_BYTES];
    const int n = snprintf(path, sizeof path, "%s", root);
    if (n < 0 || n >= MAX_PATH_BYTES) return fail_path(root, err, "a path of over 4095 bytes; move the data");
    CVR_TRY(walk(l, path, -1, NULL, err));
    if (l->n == 0) return fail_path(root, err, "a folder without pictures (such as .jpg or .png); fill it");
    return sort_items(l, 0, err);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* `l->text` holds only names of classes so far; sorts where they lie. */
static int32_t sort_classes(folder_list *l, cvr_error *err) {
    if (l->n_classes < 2) return CVR_OK;
    const char **const names = l->host->alloc(l->host, l->n_classes * sizeof *names, sizeof *names);
    if (!names) return out_of_memory(err);
    for (uint64_t i = 0; i < l->n_classes; i++) names[i] = l->text + l->classes[i];
    qsort(names, l->n_classes, sizeof *names, by_text);
    for (uint64_t i = 0; i < l->n_classes; i++) l->classes[i] = (uint64_t)(names[i] - l->text);
    l->host->free(l->host, names);
    return CVR_OK;
}

/* A picture beside the class folders is in none of them. */
static void pass_outside(folder_list *l, const char *path) {
    if (l->outside++ == 0) (void)snprintf(l->first_outside, sizeof l->first_outside, "%.511s", path);
}

static int32_t add_class(folder_list *l, const char *root, const char *name, cvr_error *err) {
    char path[MAX_PATH_BYTES];
    const int n = snprintf(path, sizeof path, "%s/%s", root, name);
    if (name[0] == '.' || n < 0 || n >= MAX_PATH_BYTES) return CVR_OK;
    if (!folder_exists(path)) {
        struct stat st;
        if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && stat(path, &st) != 0)
            return fail_path(path, err, "a link to nowhere among the class folders; mend or remove it");
        if (l->image->is_picture(l->image, name)) pass_outside(l, path);
        return CVR_OK;
    }
    uint64_t *const classes = dataset_grow(l->host, l->classes, l->n_classes, 1, &l->classes_room, sizeof *classes);
    if (!classes) return out_of_memory(err);
    l->classes = classes;
    CVR_TRY(add_text(l, name, &classes[l->n_classes], err));
    l->n_classes++;
    return CVR_OK;
}

int32_t folder_list_classes(folder_list *l, const char *root, cvr_error *err) {
    int32_t status = CVR_OK;
    DIR *const dir = opendir(root);
    if (!dir) return fail_system(root, err);
    for (;;) {
        errno = 0;
        const struct dirent *const e = readdir(dir);
        if (!e && errno) CVR_TRY_OUT(fail_system(root, err));
        if (!e) break;
        CVR_TRY_OUT(add_class(l, root, e->d_name, err));
    }
    if (l->n_classes == 0) CVR_TRY_OUT(fail_path(root, err, "no class folders here; make one a class"));
    status = sort_classes(l, err);
out:
    (void)closedir(dir);
    return status;
}

void folder_list_split(folder_list *l, uint32_t split, double val_split, uint64_t seed) {
    split_draw draw = {0};
    uint64_t kept = 0, last = 0; /* `last`: behind the class that is being drawn */
    for (uint64_t i = 0; i < l->n; i++) {
        const int64_t label = l->items[i].label;
        if (i == last) {
            while (last < l->n && l->items[last].label == label) last++;
            split_draw_start(&draw, last - i, val_split, seed, l->text + l->classes[label]);
        }
        if (split_draw_next(&draw) == split) l->items[kept++] = l->items[i];
    }
    l->n = kept;
}
