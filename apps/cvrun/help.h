/* The pages of `cvrun help`: text of at most 80 columns, or Markdown, made from schemas. */
#ifndef CVRUN_HELP_H
#define CVRUN_HELP_H

#include "cvrun.h"

/* ---- what there is to tell of (help_topics.c) ---- */

/* One registered thing: a layer, a data set, a backend. */
typedef struct help_entry {
    const char *name, *doc;
    cvr_schema schema;
    const char *section;      /* whose keys these are: the kind's, but of compressors */
    const char *beside;       /* lines of that section that it needs; NULL */
    char note[200];           /* what its descriptor says beside its settings; "" */
    uint32_t inputs, outputs; /* of a layer: inputs that it must have, outputs that it may have */
} help_entry;

/* A kind of things. */
typedef struct help_kind {
    const char *topic;   /* "layers" */
    const char *word;    /* "layer" */
    const char *aliases; /* other words for the topic, between blanks */
    const char *kind;    /* CVR_KIND_* */
    const char *section; /* whose keys its settings are, or whose lines; "": it has no settings */
    const char *usage;   /* how one is chosen */
    void (*read)(const void *desc, help_entry *e);
} help_kind;

extern const help_kind help_kinds[];
extern const size_t n_help_kinds;

/* The i-th of a kind; false past the end. One that cannot be loaded has the reason as its doc. */
bool help_entry_get(cvr_plugins *p, const help_kind *kind, size_t i, help_entry *e);
/* Section i: the session's, then cvrun's own; NULL past the end. */
const cvr_recipe_section *help_section(size_t i);
/* A value that a setting takes: its default, or one that shows more; "" where nothing need be said. `owner`: the
 * section or thing that has it. */
void help_example_value(const char *owner, const cvr_attr_desc *a, cvr_text *out);
/* Lines of a recipe that choose the entry: a section's name in brackets, then `key = value`. */
void help_example(const help_kind *kind, const help_entry *e, cvr_text *out);

/* Where the error is that a setting of the command line, KEY=VALUE, is unknown, and plugins or sections have such a
 * key: says in which section (key_hint.c). */
void hint_at_section(const char *setting, cvr_error *err);
/* Where the error is about the recipe, and that is a file of weights or of a network: says what to write. */
void hint_at_file(const char *path, cvr_error *err);

/* All that is known of a word: a command, a kind, a section, a name, a setting. Returns the exit status. */
int help_topic(const char *topic);
/* A command's own page, without plugins. */
int help_command(const command *c);
/* docs/reference.md */
int help_all_markdown(void);

/* ---- how it is written (help_page.c) ---- */

typedef struct help_page {
    cvr_text text;
    bool markdown;
} help_page;

/* `level` 1 to 3, for Markdown. */
void page_heading(help_page *p, int level, const char *heading);
/* A paragraph, wrapped. */
void page_paragraph(help_page *p, const char *text);
/* A name and what it is: a list of them. */
void page_item(help_page *p, const char *name, const char *text);
void page_list_end(help_page *p);
/* Lines as they are; those that are too long are wrapped, so that a paragraph is one line. */
void page_lines(help_page *p, const char *lines);
/* Lines of a recipe. */
void page_code(help_page *p, const char *title, const char *lines);
/* Every setting of a schema: name, default, what it may be, meaning. */
void page_schema(help_page *p, const cvr_schema *schema);
/* One setting: the same and an example. */
void page_setting(help_page *p, const cvr_attr_desc *a, const char *example);

#endif
