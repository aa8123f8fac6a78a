/*
 * What the parts of the safetensors plugin share: the words of the format and the reader of its JSON header.
 * Format: https://github.com/huggingface/safetensors, "Format".
 */
#ifndef CVR_SAFETENSORS_H
#define CVR_SAFETENSORS_H

#include <cvr/plugin/plugin.h>

/* The format's own limit on its header, so that nobody can make a reader parse gigabytes of JSON. */
#define ST_MAX_HEADER 100000000ull
#define ST_METADATA "__metadata__"

/* A type as the format spells it. Some are narrower than a byte. */
typedef struct st_dtype {
    const char *word;
    uint32_t bits;
    uint32_t dtype; /* CVR_*, or 0 where cvrun has no such type */
} st_dtype;

/* NULL for a word that is not of the format as we know it. */
const st_dtype *st_dtype_of_word(const char *word);
/* NULL for a dtype that the format lacks. */
const st_dtype *st_dtype_of_code(uint32_t dtype);

/* A walk over the header's text. Decoded strings go, NUL-terminated, to `text`, which has room for all of them. */
typedef struct st_json {
    const uint8_t *start, *at, *end;
    char *text;
    cvr_error *err;
} st_json;

/* Every function below returns a status, and has filled j->err where it is not CVR_OK. */
int32_t st_json_fail(const st_json *j, const char *what);
int32_t st_json_expect(st_json *j, char c);
/* Eats `c` if it comes next; 1 if it did. */
int32_t st_json_accept(st_json *j, char c);
int32_t st_json_string(st_json *j, const char **out);
/* A whole number in [0, 2^63), without sign, fraction or exponent. */
int32_t st_json_integer(st_json *j, int64_t *out);
/* Nothing but white space may be left. */
int32_t st_json_end(st_json *j);

/* A name as it may stand in a message: cut, and without bytes that would steer a terminal. */
#define ST_SHOWN 161
const char *st_show(const char *name, char buf[ST_SHOWN]);

int32_t st_read(const cvr_host *host, const uint8_t *bytes, uint64_t n, cvr_weight_fn each, void *ctx, cvr_error *err);
int32_t st_write(const cvr_host *host, const cvr_weight *const *weights, uint64_t n_weights,
                 const char *const *metadata, uint64_t n_metadata, cvr_sink_fn sink, void *sink_ctx, cvr_error *err);

#endif
