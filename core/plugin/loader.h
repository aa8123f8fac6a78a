/* What the files of core/plugin share. */
#ifndef CVR_LOADER_H
#define CVR_LOADER_H

#include "registry.h"

/* One section of a manifest, and what became of it. The texts that `info` shows are owned here. */
typedef struct candidate {
    cvr_plugin_info info;
    char *id, *file, *manifest, *root, *version;
    cvr_text provides, requires_, isa, reason;
    const cvr_plugin *plugin; /* once loaded */
    uint64_t device, inode;   /* which file it is; inode 0: not looked up yet, or not there */
} candidate;

struct cvr_plugins {
    cvr_host host;
    registry registry;
    candidate *candidates;
    size_t n, capacity;
    const cvr_plugin **loaded; /* in order */
    size_t n_loaded, loaded_capacity;
    struct {
        const char *name;
        const void *table;
    } services[16];
    size_t n_services;
    void *owned[8];
    size_t n_owned;
    char *isa_limit;
    char *name_answer;
};

/* Reads a manifest and appends its candidates. */
int32_t manifest_read(cvr_plugins *p, const char *path, cvr_error *err);
/* True where a list of tokens has this one. */
bool has_token(const char *list, const char *token, size_t n);
/* Opens a plugin's file after all checks that need no code of it to run; then asks it for its header. */
int32_t plugin_open(const char *file, const cvr_plugin **out, cvr_error *err);
/* Runs `load` into `staged`. */
int32_t plugin_load(const cvr_host *host, const cvr_plugin *plugin, registry *staged, cvr_error *err);
/* Frees `block` when the plugins are closed. */
void plugins_own(cvr_plugins *p, void *block);

#endif
