/* A folder for a test's files; see the header. */
#include "scratch.h"
#include "test_host.h"
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>

char scratch_root[256];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void scratch_open(const char *name) {
    const char *const tmp = getenv("TMPDIR");
    (void)snprintf(scratch_root, sizeof scratch_root, "%.200s/cvr_%.30s_XXXXXX", tmp ? tmp : "/tmp", name);
    cr_assert(mkdtemp(scratch_root));
}

void scratch_close(void) {
    (void)nftw(scratch_root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void join(char path[512], const char *name) {
    (void)snprintf(path, 512, "%s/%s", scratch_root, name);
}

const char *scratch_path(const char *name) {
    static char paths[4][512];
    static int next;
    char *const p = paths[next++ % 4];
    join(p, name);
    return p;
}

/* The folders that a path below the root lies in. */
static void make_parents(char *path) {
    for (char *s = path + strlen(scratch_root) + 1; *s; s++) {
        if (*s != '/') continue;
        *s = '\0';
        (void)mkdir(path, 0755);
        *s = '/';
    }
}

void scratch_folders(const char *name) {
    char path[512];
    join(path, name);
    make_parents(path);
    (void)mkdir(path, 0755);
}

void scratch_put(const char *name, const void *bytes, uint64_t n) {
    char path[512];
    join(path, name);
    make_parents(path);
    test_write_file(path, bytes, n);
}

void scratch_put_text(const char *name, const char *text) {
    scratch_put(name, text, strlen(text));
}
