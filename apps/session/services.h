/* Services for those who make things that take long: choices by timing, and what is worth keeping from run to run. */
#ifndef CVR_SERVICES_H
#define CVR_SERVICES_H

#include <cvr/config.h>
#include <cvr/plugins.h>

/* cache_files.c */
extern const cvr_cache_service cache_service;
int32_t cache_get(const char *name, cvr_alloc_fn alloc, void *alloc_ctx, uint64_t *n, cvr_error *err);
int32_t cache_put(const char *name, const void *bytes, uint64_t n, cvr_error *err);

/* tuning.c: "cvr.host.tuning/1". Choices are lines "KEY<tab>CHOICE": in the checkpoint as the state `cvr.tuning`, in
 * the cache folder as the file `tuning`. The checkpoint's go before the folder's. */
#define TUNING_STATE "cvr.tuning"
typedef struct tuning {
    cvr_tuning_service service;
    cvr_text lines;
    void *ctx;                                                                 /* of keep */
    int32_t (*keep)(void *ctx, const void *lines, uint64_t n, cvr_error *err); /* told of every change */
    char choice[1001];                                                         /* the last that was asked for */
    bool changed, kept;
    double written; /* when the cache folder's was */
} tuning;
/* Reads the cache folder's, then `lines` of a checkpoint. */
void tuning_open(tuning *t, const char *lines, uint64_t n);
/* Writes the cache folder's, where something has been added. That is also done every few seconds while choices are
 * made, as trying all that a network needs may take minutes, and whoever ends it then should not have to begin again.
 */
void tuning_close(tuning *t);

#endif
