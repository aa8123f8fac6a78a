/* What the network says of pictures, one after the other, as raw.safetensors. */
#ifndef CVRUN_PREDICT_RAW_H
#define CVRUN_PREDICT_RAW_H

#include <cvr/session.h>

/* A result of all pictures. */
typedef struct raw_result {
    char *name;
    uint8_t *data; /* of `n` pictures, one after the other */
    size_t n, capacity;
    cvr_type type; /* of one picture: its first axis is 1 */
} raw_result;

typedef struct raw_results {
    raw_result *each;
    size_t n, capacity;
    bool failed; /* no memory, or a result that differs in size from the first picture's: told by raw_write */
} raw_results;

/* `output`: in logical order */
void raw_add(raw_results *p, const char *name, const cvr_type *type, const void *output);
/* FOLDER/raw.safetensors: each result under its name, in the order of the pictures. Nothing without any. */
int32_t raw_write(const raw_results *p, cvr_plugins *plugins, const char *folder, cvr_error *err);
void raw_clear(raw_results *p);

#endif
