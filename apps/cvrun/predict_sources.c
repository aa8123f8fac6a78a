/* What a source of `cvrun predict` stands for: pictures, folders, lists and patterns of them. */
#include "predict_sources.h"
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LARGEST_LIST (1u << 28) /* bytes of a list of pictures */

/* The pictures of a tree. Each folder is looked at once, however many links lead to it. */
typedef struct file_list {
    const cvr_image_service *images; /* knows the endings of their names */
    path_list *pictures, links;      /* links to folders, which come when all else has been seen */
    struct folder_id {
        dev_t device;
        ino_t inode;
    } * seen;
    size_t n_seen, seen_capacity;
} file_list;

/* ---- folders ---- */

static int32_t add_path(path_list *l, char *path, cvr_error *err) {
    char **more = path ? cvr_grow(l->paths, l->n, &l->capacity, sizeof *more) : NULL;
    if (!more) {
        cvr_free(path);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    l->paths = more;
    more[l->n++] = path;
    return CVR_OK;
}

void sources_clear(path_list *l) {
    for (size_t i = 0; i < l->n; i++) cvr_free(l->paths[i]);
    cvr_free(l->paths);
    *l = (path_list){0};
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int32_t cannot_list(const char *path, cvr_error *err) {
    cvr_fail(err, CVR_ERR_IO, "cannot list it: %s", strerror(errno));
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

/* Whether this folder is seen for the first time. */
static int32_t see_folder(file_list *l, const char *path, bool *first, cvr_error *err) {
    struct stat st;
    if (stat(path, &st) != 0) return cannot_list(path, err);
    *first = true;
    for (size_t i = 0; i < l->n_seen; i++)
        if (l->seen[i].device == st.st_dev && l->seen[i].inode == st.st_ino) *first = false;
    if (!*first) return CVR_OK;
    struct folder_id *more = cvr_grow(l->seen, l->n_seen, &l->seen_capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    l->seen = more;
    more[l->n_seen++] = (struct folder_id){st.st_dev, st.st_ino};
    return CVR_OK;
}

static int32_t add_folder(file_list *l, const char *folder, int depth, cvr_error *err);

/* Takes `path`. Hidden names are none of ours. */
static int32_t add_entry(file_list *l, char *path, const char *name, int depth, cvr_error *err) {
    struct stat st;
    int32_t status = CVR_OK;
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (cvr_fs_is_folder(path) && lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) return add_path(&l->links, path, err);
    if (!cvr_fs_is_folder(path) && l->images->is_picture(l->images, name)) return add_path(l->pictures, path, err);
    if (cvr_fs_is_folder(path)) status = add_folder(l, path, depth + 1, err);
    cvr_free(path);
    return status;
}

static int32_t add_folder(file_list *l, const char *folder, int depth, cvr_error *err) {
    bool first;
    int32_t status = CVR_OK;
    if (depth > 64) {
        cvr_fail(err, CVR_ERR_IO, "folders more than 64 deep; give predict.source=PATH further down");
        return cvr_fail_at(err, folder, 0, CVR_ERR_IO);
    }
    CVR_TRY(see_folder(l, folder, &first, err));
    DIR *d = first ? opendir(folder) : NULL;
    if (first && !d) return cannot_list(folder, err);
    for (struct dirent *e; d && status == CVR_OK && (e = readdir(d));)
        if (e->d_name[0] != '.') status = add_entry(l, cvr_fs_join(folder, e->d_name), e->d_name, depth, err);
    if (d) closedir(d);
    return status;
}

/* The links that were met, in the order of their names, and those that are met on the way. */
static int32_t add_links(file_list *l, cvr_error *err) {
    for (int32_t status = CVR_OK; l->links.n;) {
        path_list links = l->links;
        l->links = (path_list){0};
        qsort(links.paths, links.n, sizeof *links.paths, by_bytes);
        for (size_t i = 0; i < links.n && status == CVR_OK; i++) status = add_folder(l, links.paths[i], 0, err);
        sources_clear(&links);
        CVR_TRY(status);
    }
    return CVR_OK;
}

/* ---- one source ---- */

static int32_t add_tree(file_list *l, const char *folder, cvr_error *err) {
    const size_t first = l->pictures->n;
    l->n_seen = 0;
    CVR_TRY(add_folder(l, folder, 0, err));
    CVR_TRY(add_links(l, err));
    const size_t n = l->pictures->n - first;
    if (n == 0) return cvr_fail(err, CVR_ERR_USAGE, "there is no picture in %s", folder);
    qsort(l->pictures->paths + first, n, sizeof *l->pictures->paths, by_bytes);
    return CVR_OK;
}

/* A line of a list; relative to the current folder, or else to the list's own. */
static int32_t add_listed(file_list *l, const char *folder, const char *line, cvr_error *err) {
    if (*line == '/' || cvr_fs_exists(line)) return add_path(l->pictures, cvr_fs_absolute(".", line), err);
    char *beside = cvr_fs_join(folder, line);
    if (beside && cvr_fs_exists(beside)) return add_path(l->pictures, beside, err);
    cvr_free(beside);
    return cvr_fail(err, CVR_ERR_USAGE, "`%.300s` is neither in the current folder nor beside the list", line);
}

/* Blanks around a path are none of it; empty lines and those that begin with # are passed over. */
static int32_t add_list(file_list *l, const char *list, cvr_error *err) {
    uint8_t *bytes;
    uint64_t size;
    uint32_t line = 0;
    const size_t first = l->pictures->n;
    CVR_TRY(cvr_fs_read(list, LARGEST_LIST, &bytes, &size, err));
    char *folder = cvr_fs_dirname(list), *next = (char *)bytes;
    int32_t status = folder ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (folder && memchr(bytes, 0, size))
        status = cvr_fail_at(err, list, 0, cvr_fail(err, CVR_ERR_USAGE, "is no text, and so no list of pictures"));
    while (status == CVR_OK && next) {
        char *at = next, *end = strchr(at, '\n');
        next = end ? end + 1 : NULL;
        if (!end) end = at + strlen(at);
        line++;
        at += strspn(at, " \t");
        while (end > at && strchr(" \t\r", end[-1])) end--;
        *end = '\0';
        if (!*at || *at == '#') continue;
        status = add_listed(l, folder, at, err);
        if (status == CVR_ERR_USAGE) status = cvr_fail_at(err, list, line, status);
    }
    cvr_free(folder);
    cvr_free(bytes);
    if (status == CVR_OK && l->pictures->n == first)
        status = cvr_fail_at(err, list, 0, cvr_fail(err, CVR_ERR_USAGE, "lists no picture"));
    return status;
}

static bool is_list(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && strcmp(dot, ".txt") == 0;
}

static bool is_picture(const file_list *l, const char *path) {
    const char *slash = strrchr(path, '/');
    return l->images->is_picture(l->images, slash ? slash + 1 : path);
}

static int32_t add_existing(file_list *l, const char *source, cvr_error *err) {
    char *const path = cvr_fs_absolute(".", source);
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = cvr_fs_is_folder(path) ? add_tree(l, path, err)
                           : is_list(path)        ? add_list(l, path, err)
                                                  : add_path(l->pictures, cvr_strdup(path), err);
    cvr_free(path);
    return status;
}

/* A pattern that the shell was kept from looking at. Of many files those that are no pictures are passed over, as in
 * a folder. */
static int32_t add_matches(file_list *l, const char *pattern, cvr_error *err) {
    glob_t found = {0};
    int32_t status = CVR_OK;
    const int failed = glob(pattern, 0, NULL, &found);
    for (size_t i = 0; !failed && i < found.gl_pathc && status == CVR_OK; i++)
        if (found.gl_pathc == 1 || cvr_fs_is_folder(found.gl_pathv[i]) || is_picture(l, found.gl_pathv[i]))
            status = add_existing(l, found.gl_pathv[i], err);
    globfree(&found);
    if (failed == GLOB_NOSPACE) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (failed) return cvr_fail(err, CVR_ERR_USAGE, "predict.source: nothing matches `%.300s`", pattern);
    return status;
}

static int32_t add_source(file_list *l, const char *source, cvr_error *err);

static int32_t add_parts(file_list *l, const char *source, cvr_error *err) {
    int32_t status = CVR_OK;
    for (const char *at = source; at && status == CVR_OK;) {
        const char *comma = strchr(at, ',');
        char *part = cvr_strndup(at, comma ? (size_t)(comma - at) : strlen(at));
        if (!part) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        if (*part) status = add_source(l, part, err);
        cvr_free(part);
        at = comma ? comma + 1 : NULL;
    }
    return status;
}

/* What there is goes before what its name could mean as well. */
static int32_t add_source(file_list *l, const char *source, cvr_error *err) {
    if (cvr_fs_exists(source)) return add_existing(l, source, err);
    if (strchr(source, ',')) return add_parts(l, source, err);
    if (strpbrk(source, "*?[")) return add_matches(l, source, err);
    return add_path(l->pictures, cvr_fs_absolute(".", source), err); /* reading it says what is wrong */
}

int32_t sources_list(cvr_plugins *plugins, const char *const *sources, size_t n, path_list *out, cvr_error *err) {
    file_list l = {.pictures = out};
    int32_t status;
    CVR_TRY_OUT(cvr_plugins_image_service(plugins, &l.images, err));
    for (size_t i = 0; i < n; i++) {
        if (!*sources[i])
            CVR_TRY_OUT(
                cvr_fail(err, CVR_ERR_USAGE, "what shall I look at? Give predict.source=PATH, a picture or a folder"));
        CVR_TRY_OUT(add_source(&l, sources[i], err));
    }
out:
    sources_clear(&l.links);
    cvr_free(l.seen);
    return status;
}
