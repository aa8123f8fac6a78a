/* What a compressor has made so far, and the host's side of it. compress.c; finetune.c has it once an epoch. */
#ifndef CVR_SESSION_COMPRESS_H
#define CVR_SESSION_COMPRESS_H

#include "session_parts.h"

/* Numbers of a parameter of the compressed network. */
typedef struct kept_tensor {
    char *name;
    void *logical;
} kept_tensor;

typedef struct compressing {
    cvr_compression api;
    cvr_session *s;
    const cvr_compress_options *o; /* NULL: nobody wants to be told */
    kept_tensor *tensors;
    size_t n, capacity;
    char *plan;
    double before; /* the metric of the network as it was; NAN: not measured yet */
    int64_t pictures, of;
} compressing;

/* The compressor's `c` is then &k->api. To be ended, whatever comes of it. */
void compressing_begin(compressing *k, cvr_session *s, const cvr_compress_options *o);
void compressing_end(compressing *k);
/* Everything that was given, for the parameters that graphs have declared by now. */
int32_t compress_write_tensors(const compressing *k, const run_network *net, cvr_error *err);
/* Weights of the session's network, and the plan, in the run folder. */
int32_t compress_write_files(const compressing *k, const char *folder, cvr_error *err);

#endif
