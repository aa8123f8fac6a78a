/* What the files of core/plugin share. */
#ifndef CVR_LOADER_H
#define CVR_LOADER_H

#include "registry.h"
#include <cvr/plugin/words.h>

/* One section of a manifest, and what became of it. The texts that `info` shows are owned here. */
typedef struct plugin_candidate {
    cvr_plugin_info info;
    char *id, *file, *manifest, *root, *version;
    cvr_text provides, requires_, isa, reason;
    const cvr_plugin *plugin; /* once loaded */
    bool foreign;             /* listed by CVR_PLUGIN_PATH, not beside the library */
    uint64_t device, inode;   /* which file it is; inode 0: not looked up yet, or not there */
} plugin_candidate;

typedef struct plugin_service {
    const char *name;
    const void *table;
} plugin_service;

typedef struct kernel_list kernel_list;
typedef struct name_list name_list;

struct cvr_plugins {
    struct cvr_plugins *next_open; /* calls.c */
    cvr_host host;
    registry registry;
    plugin_candidate *candidates;
    size_t n, capacity;
    const cvr_plugin **loaded; /* in order */
    size_t n_loaded, loaded_capacity;
    plugin_service *services;
    size_t n_services, services_capacity;
    void **owned;
    size_t n_owned, owned_capacity;
    char *isa_limit;
    size_t isa_changes;  /* how often the limit was set */
    uint64_t max_pixels; /* of a picture that is decoded; 0: CVR_MAX_PIXELS */
    /* What was looked up: plugin_lookup.c. */
    kernel_list **lists;
    size_t n_lists, lists_capacity;
    name_list *name_lists;
    bool names_failed; /* the last list of names was cut short, for lack of memory */
    size_t n_name_lists, name_lists_capacity;
};

/* Reads a manifest and appends its candidates. */
int32_t manifest_read(cvr_plugins *p, const char *path, cvr_error *err);
void candidate_free(plugin_candidate *c);
/* Appends one plugin without a manifest; one that is listed already, with the same file, stays as it is, and with
 * another file gives way unless it is loaded. */
int32_t manifest_add(cvr_plugins *p, const char *file, const cvr_plugin *plugin, const char *provides, const char *isa,
                     cvr_error *err);
/* KIND:NAME, with its NUL; longer names are refused. */
#define TOKEN_SIZE 160
/* Opens a plugin's file after all checks that need no code of it to run; then asks it for its header. */
int32_t plugin_open(const char *file, const cvr_plugin **out, cvr_error *err);
/* Runs `load` into `staged`. */
int32_t plugin_load(const cvr_host *host, const cvr_plugin *plugin, registry *staged, cvr_error *err);
/* Calls its `shutdown`, where it has one. */
void plugin_shut(const cvr_plugin *plugin);
/* Loads a candidate once; afterwards says the same as the first time. */
int32_t candidate_load(cvr_plugins *p, plugin_candidate *c, cvr_error *err);
/* Whether the machine has all features of `isa`, and none with a "!" before it. */
bool isa_allowed(const cvr_plugins *p, const char *isa, const char **missing);
void lookup_clear(cvr_plugins *p);
/* Fills p->host. */
void plugins_host_table(cvr_plugins *p);
/* Frees `block` when the plugins are closed; CVR_ERR_NOMEM: it stays the caller's. */
int32_t plugins_own(cvr_plugins *p, void *block);

#endif
