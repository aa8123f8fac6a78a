/*
 * Settings: strict INI files, recipes with the origin of every value, and attributes packed from text.
 */
#ifndef CVR_CONFIG_H
#define CVR_CONFIG_H

#include <cvr/base.h>

#pragma GCC visibility push(default)

/* ---- INI ---- */

/* One `key = value` of `section`, at `line` of the file. A status other than CVR_OK stops the reading. */
typedef int32_t (*cvr_ini_fn)(void *ctx, const char *section, const char *key, const char *value, uint32_t line,
                              cvr_error *err);

/* Reads an INI file, and refuses, naming the line, whatever is neither a setting, a section nor a comment. */
int32_t cvr_ini_read(const char *path, cvr_ini_fn each, void *ctx, cvr_error *err);
/* Adds a value as it stands behind `key = `, in quotes where it would else be read as another. */
void cvr_ini_add_value(cvr_text *t, const char *value);
/* Whether a key is read back as it is written. */
bool cvr_ini_is_key(const char *key);

/* ---- attributes ---- */

/* `key` NULL: a positional value. `base` is the folder that a CVR_ATTR_PATH is relative to. */
typedef struct cvr_setting {
    const char *key;
    const char *value;
    const char *base;
    const char *file; /* "command line", with line 0; NULL: no place to name */
    uint32_t line;
    bool claimed;
    bool left; /* aside: nobody reads it */
    const char *section;
} cvr_setting;

typedef struct cvr_schema {
    const cvr_attr_desc *const *attrs;
    uint32_t n;
} cvr_schema;

/* Packs settings after the schema, defaults filled in. `what` names the thing in messages ("layer conv2d"). One block:
 * free with cvr_free. */
int32_t cvr_attrs_pack(const cvr_schema *schema, const cvr_setting *settings, size_t n, const char *what, void **packed,
                       cvr_error *err);
/* The same from text, "64 kernel_size=3": within a line nothing stands twice, a later line goes over it. Keys in
 * `except` (NULL-terminated, may be NULL) are left for the caller: see cvr_line_key. */
int32_t cvr_attrs_parse(const cvr_schema *schema, const char *text, const char *const *except, const char *what,
                        void **packed, cvr_error *err);
/* Value of `key` in such a line, or NULL. Free with cvr_free. */
char *cvr_line_key(const char *text, const char *key);
/* Bytes of a schema's packed struct; 0 where the schema is broken, and `err` says how. */
uint64_t cvr_schema_size(const cvr_schema *schema, cvr_error *err);
/* Text of attribute `i` of a packed struct, as it would stand in a recipe. */
void cvr_attr_print(const cvr_schema *schema, uint32_t i, const void *packed, cvr_text *out);

/* ---- recipes ---- */

typedef struct cvr_config cvr_config;

/* Reads a recipe. Only its form and section names are judged here; keys are judged when they are bound. */
int32_t cvr_config_load(cvr_config **out, const char *path, cvr_error *err);
/* A recipe that says nothing, for what the command line says. */
int32_t cvr_config_create(cvr_config **out, cvr_error *err);
void cvr_config_destroy(cvr_config **c);
/* One `section.key=value` or `key=value` of the command line; paths in it are relative to the current folder. */
int32_t cvr_config_override(cvr_config *c, const char *text, cvr_error *err);
/* A setting that was given, before anybody binds its section, or NULL. */
const cvr_setting *cvr_config_given(const cvr_config *c, const char *section, const char *key);
/* Gives a setting from elsewhere than the recipe, before its section is bound. `origin` says from where, and must
 * outlive the config; paths in it are absolute. What was given before stays, unless `replace`; in [augment], where keys
 * may repeat, both do. */
int32_t cvr_config_suggest(cvr_config *c, const cvr_setting *s, bool replace, cvr_error *err);
/* The path of the recipe. */
const char *cvr_config_path(const cvr_config *c);
/* Packs the keys of `section` that the schema names, and claims them. The block belongs to the config. */
int32_t cvr_config_bind(cvr_config *c, const char *section, const cvr_schema *schema, const void **packed,
                        cvr_error *err);
/* The lines of a section whose keys are names (net, augment), in order; claims them. */
size_t cvr_config_lines(cvr_config *c, const char *section, const cvr_setting *const **lines);
/* Settings of a section that stand in `file` and that nobody claimed by now are left aside. */
void cvr_config_leave(cvr_config *c, const char *section, const char *file);
/* An error for the first setting that nobody claimed, with the nearest key that somebody would have. */
int32_t cvr_config_finish(const cvr_config *c, cvr_error *err);
/* Every effective setting: as config.ini (origins = false), or a line each with its origin. */
void cvr_config_print(const cvr_config *c, bool origins, cvr_text *out);
/* As config.ini, in which n settings have other values. */
void cvr_config_print_with(const cvr_config *c, const cvr_setting *instead, size_t n, cvr_text *out);
/* The settings that are not defaults, as a recipe. */
void cvr_config_print_given(const cvr_config *c, cvr_text *out);
void cvr_config_print_json(const cvr_config *c, cvr_text *out);
/* Text and origin of one effective setting, or, before it is bound, as it was given; NULL. Live until the next call. */
const char *cvr_config_get(cvr_config *c, const char *section, const char *key, const char **origin);

/* Puts the place where a setting stands into an error about it, and returns the status. */
int32_t cvr_config_blame(const cvr_config *c, const char *section, const char *key, int32_t status, cvr_error *err);

#pragma GCC visibility pop
#endif
