/* A vendor's PJRT plugin: one .so with one function, GetPjrtApi(), which gives a table of functions. */
#ifndef PJRT_PLUGIN_H
#define PJRT_PLUGIN_H

#include <cvr/plugin/plugin.h>
#include <pjrt_c_api.h>

/* Which file it is: another one of the same name and versions may compile otherwise. */
typedef struct pjrt_file {
    uint64_t bytes;
    int64_t changed_s, changed_ns; /* when it was last written */
} pjrt_file;

typedef struct pjrt_plugin {
    const PJRT_Api *api;
    char file[256]; /* the last part of its path, for messages */
    pjrt_file is;
    char versions[160]; /* "PJRT 0.81, StableHLO 1.14.0, XLA 2": what executables in the cache depend on */
} pjrt_plugin;

/* Whether a library may be loaded: a whole ELF file that not anyone may write to. */
int32_t pjrt_file_check(const char *path, pjrt_file *file, cvr_error *err);
/*
 * Loads it, looks at its version and at the size of its table, and initialises it once in this process. It is never
 * unloaded.
 */
int32_t pjrt_plugin_load(pjrt_plugin *p, const char *path, cvr_error *err);
/* The same with a table that is there already, of the plugin p->file. */
int32_t pjrt_plugin_take(pjrt_plugin *p, const PJRT_Api *api, cvr_error *err);

/* What a plugin says, which need not end in 0 nor be there, as one line of at most size - 1 bytes. */
void pjrt_words(char *line, size_t size, const char *text, size_t n);
/* Turns an error of the plugin's into ours, and frees it; CVR_OK for NULL. `what` says what failed: "compiling". */
int32_t pjrt_check(const pjrt_plugin *p, PJRT_Error *e, const char *what, cvr_error *err);
void pjrt_forget(const pjrt_plugin *p, PJRT_Error *e);

/* A struct of arguments with its size set: PJRT_ARGS(PJRT_Client_Create, a, .client = c); */
#define PJRT_ARGS(type_, name_, ...) type_##_Args name_ = {.struct_size = type_##_Args_STRUCT_SIZE, __VA_ARGS__}

/* Whether the plugin's table reaches as far as a function, and has it. */
#define PJRT_KNOWS(api_, function_)                                                                                    \
    ((api_)->struct_size >= offsetof(PJRT_Api, function_) + sizeof(void *) && (api_)->function_ != NULL)

#endif
