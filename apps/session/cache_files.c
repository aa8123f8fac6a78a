/*
 * "cvr.host.cache/1": files of $XDG_CACHE_HOME/cvrun, or ~/.cache/cvrun. A relative XDG_CACHE_HOME does not count, as
 * the XDG specification has it.
 *
 *   "CVRCACH1"   u64 bytes   u64 hash of them   the bytes
 *
 * A pipeline cache that was cut short is undefined behaviour in the driver that it is given to, so nothing is handed
 * out that is not what was written. Drivers run what they are given, so a file that others may write to is not handed
 * out either, as with plugins.
 */
#include "services.h"
#include <cvr/writer.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_MAGIC "CVRCACH1"
#define CACHE_HEAD 24u

static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* FNV-1a. */
static uint64_t hash_of(const uint8_t *bytes, uint64_t n) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (uint64_t i = 0; i < n; i++) h = (h ^ bytes[i]) * 0x100000001b3ull;
    return h;
}

/* The folder, or NULL where there is no place for one. Free with cvr_free. */
static char *cache_folder(void) {
    const char *cache = environment("XDG_CACHE_HOME"), *home = environment("HOME");
    cvr_text path = {0};
    if (cache && cache[0] != '/') cache = NULL;
    if (!cache && !home) return NULL;
    cvr_text_add(&path, "%s%s/cvrun", cache ? cache : home, cache ? "" : "/.cache");
    if (path.failed) cvr_text_clear(&path);
    return path.s;
}

/* Letters, digits and . _ - +, so that a name is one file of the folder. */
static bool is_name(const char *s) {
    const size_t n = s ? strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+") : 0;
    return n > 0 && n <= 96 && s[n] == '\0' && s[0] != '.';
}

static int32_t cache_path(const char *name, char **path, cvr_error *err) {
    char *folder = cache_folder();
    *path = NULL;
    if (!is_name(name)) {
        cvr_free(folder);
        return cvr_fail(err, CVR_ERR_PLUGIN, "a file of the cache needs a name of letters, digits and . _ - +");
    }
    *path = folder ? cvr_fs_join(folder, name) : NULL;
    cvr_free(folder);
    return CVR_OK;
}

/* Who else may write to a file or folder, in words and with a remedy, or NULL. */
static const char *others_of(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return NULL;
    if (st.st_mode & S_IWOTH) return "anyone may write to it; run chmod o-w";
    if (st.st_uid != 0 && st.st_uid != geteuid()) return "it belongs to another user; run chown, or set XDG_CACHE_HOME";
    return NULL;
}

/* The same of the cache's folder, where others may put another file in a file's place, and of `path`, unless NULL:
 * CVR_ERR_IO says so. */
static int32_t check_others(const char *path, cvr_error *err) {
    char *folder = cache_folder();
    const char *at = path, *why = path ? others_of(path) : NULL;
    if (!why && folder) why = others_of(at = folder);
    if (why) (void)cvr_fail(err, CVR_ERR_IO, "%s: is not used: %s", at, why);
    cvr_free(folder);
    return why ? CVR_ERR_IO : CVR_OK;
}

/* The bytes that a file is to have, or NULL: it is damaged. */
static const uint8_t *checked(const cvr_mapping *map, uint64_t *n) {
    uint64_t bytes, hash;
    if (map->n < CACHE_HEAD || memcmp(map->bytes, CACHE_MAGIC, 8) != 0) return NULL;
    memcpy(&bytes, map->bytes + 8, 8);
    memcpy(&hash, map->bytes + 16, 8);
    if (bytes != map->n - CACHE_HEAD || hash_of(map->bytes + CACHE_HEAD, bytes) != hash) return NULL;
    *n = bytes;
    return map->bytes + CACHE_HEAD;
}

int32_t cache_get(const char *name, cvr_alloc_fn alloc, void *alloc_ctx, uint64_t *n, cvr_error *err) {
    cvr_mapping map;
    char *path;
    int32_t status = CVR_OK;
    *n = 0;
    CVR_TRY(cache_path(name, &path, err));
    cvr_error why = CVR_ERROR_INIT;
    const bool there = path && cvr_fs_exists(path), refused = there && check_others(path, &why) != CVR_OK;
    if (refused) cvr_log(CVR_LOG_WARNING, "%s", why.message);
    if (!there || refused || cvr_fs_map(path, &map, NULL) != CVR_OK) {
        cvr_free(path);
        return CVR_OK;
    }
    const uint8_t *bytes = checked(&map, n);
    void *to = bytes && *n ? alloc(alloc_ctx, *n) : NULL;
    if (!bytes) cvr_log(CVR_LOG_WARNING, "%s: is damaged, and will be made again", path);
    if (to) memcpy(to, bytes, *n);
    if (bytes && *n && !to) status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory for %s of the cache", name);
    cvr_fs_unmap(&map);
    cvr_free(path);
    return status;
}

/* Makes the folder and those above it; the umask of caches is the user's own. */
static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
}

int32_t cache_put(const char *name, const void *bytes, uint64_t n, cvr_error *err) {
    const uint64_t hash = hash_of(bytes, n);
    cvr_writer w;
    char *path, ending[32];
    int32_t status;
    CVR_TRY(cache_path(name, &path, err));
    if (!path) return CVR_OK; /* nowhere to keep it */
    make_folders(path);
    (void)snprintf(ending, sizeof ending, ".%ld.tmp", (long)getpid());
    CVR_TRY_OUT(check_others(NULL, err));
    CVR_TRY_OUT(cvr_writer_open_as(&w, path, ending, err));
    status = cvr_writer_put(&w, CACHE_MAGIC, 8, err);
    if (status == CVR_OK) status = cvr_writer_put(&w, &n, 8, err);
    if (status == CVR_OK) status = cvr_writer_put(&w, &hash, 8, err);
    if (status == CVR_OK) status = cvr_writer_put(&w, bytes, n, err);
    if (status == CVR_OK)
        status = cvr_writer_commit(&w, false, err);
    else
        cvr_writer_abandon(&w);
out:
    cvr_free(path);
    return status;
}

static int32_t service_get(const cvr_cache_service *s, const char *name, cvr_alloc_fn alloc, void *alloc_ctx,
                           uint64_t *n, cvr_error *err) {
    (void)s;
    return cache_get(name, alloc, alloc_ctx, n, err);
}

static int32_t service_put(const cvr_cache_service *s, const char *name, const void *bytes, uint64_t n,
                           cvr_error *err) {
    (void)s;
    return cache_put(name, bytes, n, err);
}

const cvr_cache_service cache_service = {sizeof cache_service, NULL, service_get, service_put};
