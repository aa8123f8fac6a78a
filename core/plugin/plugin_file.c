/*
 * From a file to a plugin: everything that can be told without running its code is checked first (regular file, not
 * writable by others, ELF of this machine), so that a refusal says what is wrong instead of what dlopen makes of it.
 */
#include "loader.h"
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define THIS_MACHINE EM_AARCH64
#else
#error "teach plugin_file.c the ELF machine of this processor"
#endif

static int32_t check_mode(const char *file, const struct stat *st, cvr_error *err) {
    struct stat folder;
    char *dir = cvr_fs_dirname(file);
    if (!dir) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const bool open_folder = stat(dir, &folder) == 0 && (folder.st_mode & S_IWOTH);
    cvr_free(dir);
    if (!S_ISREG(st->st_mode)) return cvr_fail(err, CVR_ERR_PLUGIN, "is not a regular file");
    if (st->st_mode & S_IWOTH) return cvr_fail(err, CVR_ERR_PLUGIN, "anyone may write to it; run chmod o-w on it");
    if (open_folder) return cvr_fail(err, CVR_ERR_PLUGIN, "anyone may write to its folder; run chmod o-w on that");
    return CVR_OK;
}

/* Every part that the loader would map must be in the file: a file that was cut short would end in SIGBUS. */
static int32_t check_segments(int fd, const Elf64_Ehdr *h, uint64_t size, cvr_error *err) {
    for (uint64_t i = 0; i < h->e_phnum; i++) {
        Elf64_Phdr p;
        const uint64_t at = h->e_phoff + i * sizeof p;
        const bool whole = h->e_phentsize == sizeof p && h->e_phoff < size && at + sizeof p <= size &&
                           pread(fd, &p, sizeof p, (off_t)at) == (ssize_t)sizeof p && p.p_offset <= size &&
                           p.p_filesz <= size - p.p_offset;
        if (!whole) return cvr_fail(err, CVR_ERR_PLUGIN, "cannot be loaded: the file is cut short; build it again");
    }
    return CVR_OK;
}

static int32_t check_elf(int fd, uint64_t size, cvr_error *err) {
    Elf64_Ehdr h;
    const ssize_t n = pread(fd, &h, sizeof h, 0);
    if (n != (ssize_t)sizeof h || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "is not a shared object (no ELF header); build it again");
    }
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != THIS_MACHINE) {
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "is built for another machine (ELF machine %u, here %u); build it for this one",
                        (unsigned)h.e_machine, (unsigned)THIS_MACHINE);
    }
    if (h.e_type != ET_DYN)
        return cvr_fail(err, CVR_ERR_PLUGIN, "is not a shared object (ELF type %u); link it with -shared",
                        (unsigned)h.e_type);
    return check_segments(fd, &h, size, err);
}

/* Texts of a header as they come; a plugin of another ABI may lack the later ones. */
static int32_t check_header(const cvr_plugin *p, cvr_error *err) {
    if (!p) return cvr_fail(err, CVR_ERR_PLUGIN, "%s returns NULL; it returns the header", CVR_PLUGIN_SYMBOL);
    if (p->magic != CVR_PLUGIN_MAGIC)
        return cvr_fail(err, CVR_ERR_PLUGIN, "its header's `magic` is not CVR_PLUGIN_MAGIC: %s gave no proper header",
                        CVR_PLUGIN_SYMBOL);
    const struct {
        const char *field;
        bool good;
    } fields[] = {{"struct_size", p->struct_size >= sizeof *p && p->struct_size < 4096},
                  {"id", p->id && registry_is_name(p->id)},
                  {"version", p->version && *p->version && strlen(p->version) < 64},
                  {"sanitizer", p->sanitizer},
                  {"requires_", p->requires_},
                  {"load", p->load},
                  {"reserved", p->reserved == 0}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!fields[i].good)
            return cvr_fail(err, CVR_ERR_PLUGIN, "its header's `%s` is missing or makes no sense; see cvr_plugin in %s",
                            fields[i].field, "cvr/plugin/plugin.h");
    if (p->abi_major != CVR_ABI_MAJOR || p->abi_minor != CVR_ABI_MINOR) {
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "%s %s needs ABI %u.%u; this core has %u.%u; build it against these headers", p->id, p->version,
                        p->abi_major, p->abi_minor, CVR_ABI_MAJOR, CVR_ABI_MINOR);
    }
    if (p->min_host_minor > CVR_ABI_MINOR)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s %s has `min_host_minor` %u; this core's ABI is %u.%u", p->id,
                        p->version, p->min_host_minor, CVR_ABI_MAJOR, CVR_ABI_MINOR);
    if (strcmp(p->sanitizer, CVR_SANITIZER) != 0) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "is built with sanitizer `%s`, this core with `%s`; build both alike",
                        p->sanitizer, CVR_SANITIZER);
    }
    return CVR_OK;
}

/* dlopen() looks for a name without a slash where the system has its libraries; here it is a file of this folder. */
static void *open_library(const char *file) {
    char here[NAME_MAX + 3];
    const bool bare = !strchr(file, '/') && strlen(file) <= NAME_MAX;
    if (bare) (void)snprintf(here, sizeof here, "./%s", file);
    return dlopen(bare ? here : file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

int32_t plugin_open(const char *file, const cvr_plugin **out, cvr_error *err) {
    struct stat st;
    const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int32_t status = CVR_OK;
    if (fd < 0 || fstat(fd, &st) != 0)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_PLUGIN, "cannot open it: %s", strerror(errno)));
    CVR_TRY_OUT(check_mode(file, &st, err));
    CVR_TRY_OUT(check_elf(fd, (uint64_t)st.st_size, err));
out:
    if (fd >= 0) close(fd);
    if (status != CVR_OK) return cvr_fail_at(err, file, 0, status);

    cvr_call_enter(NULL, "constructors", file, NULL);
    void *handle = open_library(file);
    (void)cvr_call_leave(CVR_OK, NULL);
    if (!handle) {
        cvr_fail(err, CVR_ERR_PLUGIN, "cannot be loaded: %s", dlerror());
        return cvr_fail_at(err, file, 0, CVR_ERR_PLUGIN);
    }
    const cvr_plugin *(*query)(uint32_t, uint32_t);
    void *symbol = dlsym(handle, CVR_PLUGIN_SYMBOL);
    if (!symbol) {
        cvr_fail(err, CVR_ERR_PLUGIN, "does not export %s; it is not a cvrun plugin", CVR_PLUGIN_SYMBOL);
        dlclose(handle);
        return cvr_fail_at(err, file, 0, CVR_ERR_PLUGIN);
    }
    memcpy(&query, &symbol, sizeof query); /* POSIX allows the conversion, ISO C has no cast for it */

    cvr_call_enter(NULL, CVR_PLUGIN_SYMBOL, file, NULL);
    *out = query(CVR_ABI_MAJOR, CVR_ABI_MINOR);
    (void)cvr_call_leave(CVR_OK, NULL);
    status = check_header(*out, err);
    dlclose(handle); /* RTLD_NODELETE: only the count goes down */

    return status == CVR_OK ? CVR_OK : cvr_fail_at(err, file, 0, status);
}

typedef struct staging {
    registry *staged;
    const char *owner;
    int32_t status; /* the first failure, which `load` may not hide, */
    cvr_error why;  /* and what it said */
} staging;

static int32_t stage(const cvr_registrar *r, const char *kind, const void *desc, cvr_error *err) {
    staging *s = r->ctx;
    cvr_error why = CVR_ERROR_INIT;
    const int32_t status = desc ? registry_add(s->staged, s->owner, kind, desc, &why)
                                : cvr_fail(&why, CVR_ERR_PLUGIN, "registers NULL for the descriptor of its %s",
                                           kind && kind_word(kind) ? kind_word(kind) : "thing");
    if (status == CVR_OK) return CVR_OK;
    if (s->status == CVR_OK) s->why = why;
    if (s->status == CVR_OK) s->status = status;
    return cvr_fail(err, status, "%s", why.message);
}

void plugin_shut(const cvr_plugin *plugin) {
    if (!plugin->shutdown) return;
    cvr_call_enter(NULL, "shutdown", plugin->id, NULL);
    plugin->shutdown();
    (void)cvr_call_leave(CVR_OK, NULL);
}

int32_t plugin_load(const cvr_host *host, const cvr_plugin *plugin, registry *staged, cvr_error *err) {
    staging s = {staged, plugin->id, CVR_OK, CVR_ERROR_INIT};
    const cvr_registrar r = {sizeof r, &s, stage};
    cvr_call_enter(NULL, "load", plugin->id, err);
    const int32_t status = cvr_call_leave(plugin->load(host, &r, err), err);
    if (status == CVR_OK && s.status != CVR_OK)
        return cvr_fail(err, CVR_ERR_PLUGIN, "a registration failed, but `load` said that all is well: %.800s",
                        s.why.message);
    if (status == CVR_OK && !staged->n)
        return cvr_fail(err, CVR_ERR_PLUGIN, "`load` registers nothing; add what the plugin has by registrar->add()");
    return status;
}
