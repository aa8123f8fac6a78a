/*
 * Darknet's .cfg files (https://pjreddie.com/darknet): sections in brackets, each with lines `key=value`. The first
 * section is [net] or [network], every other one is a layer. Blanks within a line mean nothing; lines that begin with
 * # or ; are comments.
 */
#ifndef CVR_DARKNET_CFG_H
#define CVR_DARKNET_CFG_H

#include <cvr/plugin/plugin.h>

#define DARKNET_MOST_BYTES (1u << 20)
#define DARKNET_MOST_SECTIONS 1025u
#define DARKNET_MOST_OPTIONS 32768u

typedef struct darknet_option {
    const char *key, *value;
    uint32_t line;
    uint32_t used;    /* somebody has asked for it */
    uint32_t ignored; /* it says something that has no effect here */
    uint32_t reserved;
} darknet_option;

typedef struct darknet_section {
    const char *name; /* without brackets */
    uint32_t line;
    uint32_t first, count; /* of the options */
    uint32_t reserved;
} darknet_section;

typedef struct darknet_cfg {
    const cvr_host *host;
    const char *path; /* borrowed; for messages */
    char *text;       /* what all names and values point into */
    darknet_section *sections;
    darknet_option *options;
    uint32_t n_sections, n_options;
} darknet_cfg;

/* Every failure of these names the file and the line. Close it whatever came of opening. */
int32_t darknet_cfg_open(const cvr_host *host, const char *path, darknet_cfg *out, cvr_error *err);
/* The same of bytes that are there already; `path` is for messages. */
int32_t darknet_cfg_parse(const cvr_host *host, const char *path, const char *bytes, uint64_t n, darknet_cfg *out,
                          cvr_error *err);
void darknet_cfg_close(darknet_cfg *c);

/* A failure at a line of the file. */
int32_t darknet_cfg_fail(const darknet_cfg *c, uint32_t line, cvr_error *err, const char *format, ...) CVR_PRINTF(4, 5);

/* The option of a key, the last of several as Darknet has it, which is then used; NULL: there is none. */
const darknet_option *darknet_cfg_find(const darknet_cfg *c, const darknet_section *s, const char *key);
/* A whole number, or a number, within bounds; `otherwise` where the section has no such key. */
int32_t darknet_cfg_int(const darknet_cfg *c, const darknet_section *s, const char *key, int64_t otherwise,
                        const int64_t bounds[2], int64_t *out, cvr_error *err);
int32_t darknet_cfg_float(const darknet_cfg *c, const darknet_section *s, const char *key, double otherwise,
                          const double bounds[2], double *out, cvr_error *err);
/* Numbers with commas between them; none where the section has no such key. */
int32_t darknet_cfg_ints(const darknet_cfg *c, const darknet_section *s, const char *key, const int64_t bounds[2],
                         int64_t *out, uint32_t most, uint32_t *n, cvr_error *err);
int32_t darknet_cfg_floats(const darknet_cfg *c, const darknet_section *s, const char *key, const double bounds[2],
                           double *out, uint32_t most, uint32_t *n, cvr_error *err);
/* A key that nobody has asked for is a failure, but for those of two lists, texts with a blank around each word.
 * `passed` has keys that say nothing that matters here, and as `key=number` those that are ignored where their value is
 * another. Those of `zero` must have the value 0. */
int32_t darknet_cfg_check_used(const darknet_cfg *c, const darknet_section *s, const char *passed, const char *zero,
                               cvr_error *err);

/* What a key says has no effect: it is ignored, although somebody has asked for it. */
void darknet_cfg_ignore(const darknet_cfg *c, const darknet_section *s, const char *key);

#endif
