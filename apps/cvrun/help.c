/* cvrun help: what there is, from the plugins' own schemas and from those of the sections of recipes. */
#include "help.h"
#include <strings.h>

typedef struct help_search {
    help_page *page;
    cvr_plugins *plugins;
    const char *topic;
    size_t found;
    const char *words[2048]; /* all that could have been meant, where nothing was found */
    size_t n_words;
} help_search;

/* ---- pages ---- */

static void entry_page(help_page *p, const help_kind *k, const help_entry *e) {
    cvr_text heading = {0}, example = {0};
    cvr_text_add(&heading, p->markdown ? "%s" : "%s (%s): %s", e->name, k->word, e->doc);
    page_heading(p, 3, heading.s ? heading.s : "");
    if (p->markdown) page_paragraph(p, e->doc);
    page_paragraph(p, e->note);
    page_schema(p, &e->schema);
    help_example(k, e, &example);
    if (example.n) page_code(p, "In a recipe:", example.s);
    cvr_text_clear(&heading);
    cvr_text_clear(&example);
}

static void kind_page(help_page *p, cvr_plugins *plugins, const help_kind *k) {
    cvr_text heading = {0};
    help_entry e;
    cvr_text_add(&heading, p->markdown ? "%s" : "%s: %s", k->topic, k->usage);
    page_heading(p, 2, heading.s ? heading.s : "");
    if (p->markdown) page_paragraph(p, k->usage);
    for (size_t i = 0; !p->markdown && help_entry_get(plugins, k, i, &e); i++) page_item(p, e.name, e.doc);
    for (size_t i = 0; p->markdown && help_entry_get(plugins, k, i, &e); i++) entry_page(p, k, &e);
    if (!p->markdown) cvr_text_add(&p->text, "`cvrun help NAME` tells more of one.\n");
    cvr_text_clear(&heading);
}

/* A list of transforms, while its lines are read. */
typedef struct preset_item {
    help_page *page;
    cvr_text name, transforms;
} preset_item;

static void end_preset(preset_item *p) {
    if (p->name.s && p->transforms.s) page_item(p->page, p->name.s, p->transforms.s);
    cvr_text_clear(&p->name);
    cvr_text_clear(&p->transforms);
}

static int32_t on_preset_line(void *ctx, const char *section, const char *key, const char *value, uint32_t line,
                              cvr_error *err) {
    preset_item *p = ctx;
    (void)value, (void)line, (void)err;
    if (p->name.s && strcmp(p->name.s, section) != 0) end_preset(p);
    if (!p->name.s) cvr_text_add(&p->name, "%s", section);
    cvr_text_add(&p->transforms, "%s%s", p->transforms.n ? ", " : "", key);
    return CVR_OK;
}

static void presets_page(help_page *page) {
    preset_item p = {.page = page};
    cvr_error err = CVR_ERROR_INIT;
    page_paragraph(page, "`[augment] preset = NAME` stands for one of these lists, and `none` for an empty one:");
    const int32_t status = cvr_session_presets(on_preset_line, &p, &err);
    end_preset(&p);
    if (status != CVR_OK) page_paragraph(page, err.message);
    page_list_end(page);
}

static void section_page(help_page *p, const cvr_recipe_section *s) {
    cvr_text heading = {0};
    cvr_text_add(&heading, p->markdown ? "[%s]" : "[%s]: %s", s->name, s->doc);
    page_heading(p, 3, heading.s ? heading.s : "");
    if (p->markdown) page_paragraph(p, s->doc);
    page_schema(p, &s->schema);
    for (size_t i = 0; s->lines && !p->markdown && i < n_help_kinds; i++)
        if (strcmp(help_kinds[i].section, s->name) == 0)
            cvr_text_add(&p->text, "`cvrun help %s` lists them.\n", help_kinds[i].topic);
    if (strcmp(s->name, "augment") == 0) presets_page(p);
    cvr_text_clear(&heading);
}

static void setting_page(help_page *p, const char *owner, const char *section, const cvr_attr_desc *a) {
    cvr_text heading = {0}, value = {0}, example = {0};
    const bool line = strcmp(section, "net") == 0 || strcmp(section, "augment") == 0;
    help_example_value(section, a, &value);
    if (value.n) cvr_text_add(&example, "%s%s%s=%s", line ? "" : section, line ? "" : ".", a->name, value.s);
    cvr_text_add(&heading, "%s.%s%s%s", line ? owner : section, a->name, line || !*owner ? "" : ", of ",
                 line ? "" : owner);
    page_heading(p, 3, heading.s ? heading.s : "");
    page_setting(p, a, example.s ? example.s : "");
    cvr_text_clear(&heading);
    cvr_text_clear(&value);
    cvr_text_clear(&example);
}

/* ---- what a word stands for ---- */

static bool same_word(const char *a, const char *b) {
    return strcasecmp(a, b) == 0;
}

/* `whole`: the word stands by itself, without an owner and a dot before it. */
static void could_mean(help_search *s, const char *word, bool whole) {
    if (whole && strchr(s->topic, '.')) return;
    if (s->n_words < sizeof s->words / sizeof *s->words) s->words[s->n_words++] = word;
}

static bool is_topic(const help_kind *k, const char *topic) {
    char padded[64];
    if (same_word(k->topic, topic) || same_word(k->word, topic)) return true;
    const size_t n = strlen(k->word);
    if (strlen(topic) == n + 1 && strncasecmp(topic, k->word, n) == 0 && topic[n] == 's') return true;
    (void)snprintf(padded, sizeof padded, " %.40s ", topic);
    return strstr(k->aliases, padded) != NULL;
}

/* A setting by its own name, or as OWNER.KEY; or one that has such a choice. */
static void search_schema(help_search *s, const cvr_schema *schema, const char *owner, const char *section,
                          bool by_value) {
    const char *dot = strrchr(s->topic, '.');
    const size_t left = dot ? (size_t)(dot - s->topic) : 0;
    for (uint32_t i = 0; i < schema->n; i++) {
        const cvr_attr_desc *a = schema->attrs[i];
        const bool here = dot && ((strlen(section) == left && strncasecmp(section, s->topic, left) == 0) ||
                                  (strlen(owner) == left && strncasecmp(owner, s->topic, left) == 0));
        could_mean(s, a->name, !here);
        bool hit = dot ? here && same_word(a->name, dot + 1) : same_word(a->name, s->topic);
        for (const char *c = by_value && a->choices ? a->choices : ""; *c; c += strcspn(c, "|"), c += *c == '|') {
            const size_t n = strcspn(c, "|");
            if (strlen(s->topic) == n && strncasecmp(c, s->topic, n) == 0) hit = true;
        }
        if (!hit) continue;
        setting_page(s->page, owner, section, a);
        s->found++;
    }
}

/* Things by name, case-blind; `settings`: their settings too. */
static void search_kinds(help_search *s, bool settings, bool by_value) {
    help_entry e;
    for (size_t k = 0; k < n_help_kinds; k++) {
        for (size_t i = 0; help_entry_get(s->plugins, &help_kinds[k], i, &e); i++) {
            const char *dot = strchr(s->topic, '.');
            const bool in_section = dot && strlen(e.section) == (size_t)(dot - s->topic) &&
                                    strncasecmp(e.section, s->topic, (size_t)(dot - s->topic)) == 0;
            if (settings) {
                search_schema(s, &e.schema, e.name, e.section, by_value);
                continue;
            }
            could_mean(s, e.name, !in_section);
            if (!same_word(e.name, s->topic) && !(in_section && same_word(e.name, dot + 1))) continue;
            entry_page(s->page, &help_kinds[k], &e);
            s->found++;
        }
    }
}

static void search_sections(help_search *s, bool settings, bool by_value) {
    const cvr_recipe_section *section;
    for (size_t i = 0; (section = help_section(i)); i++) {
        if (settings) {
            search_schema(s, &section->schema, "", section->name, by_value);
            continue;
        }
        could_mean(s, section->name, true);
        if (!same_word(section->name, s->topic)) continue;
        section_page(s->page, section);
        s->found++;
    }
}

static void search_topics(help_search *s) {
    for (size_t i = 0; i < n_help_kinds; i++) {
        could_mean(s, help_kinds[i].topic, true);
        if (!is_topic(&help_kinds[i], s->topic)) continue;
        kind_page(s->page, s->plugins, &help_kinds[i]);
        s->found++;
    }
    could_mean(s, "preset", true);
    if (same_word(s->topic, "preset") || same_word(s->topic, "presets")) {
        presets_page(s->page);
        s->found++;
    }
    could_mean(s, "sections", true);
    if (!same_word(s->topic, "sections") && !same_word(s->topic, "recipe") && !same_word(s->topic, "recipes")) return;
    const cvr_recipe_section *section;
    page_heading(s->page, 2, "The sections of a recipe:");
    for (size_t i = 0; (section = help_section(i)); i++) page_item(s->page, section->name, section->doc);
    s->found++;
}

static void command_page(help_page *p, const command *c) {
    cvr_text_add(&p->text, "cvrun %s %s\n\n%s.\n\n", c->name, c->usage, c->summary);
    page_lines(p, c->help);
}

/* ---- all of it ---- */

static void reference(help_page *p, cvr_plugins *plugins) {
    const cvr_recipe_section *section;
    page_heading(p, 1, "Reference");
    page_paragraph(p,
                   "Every setting of a recipe and every plugin that comes with cvrun, from their schemas; written by "
                   "`cvrun help --markdown`. `cvrun help NAME` says the same, also of your own plugins.");
    page_heading(p, 2, "sections");
    page_paragraph(p, "A recipe is an INI file. On the command line a setting is `section.key=value`.");
    for (size_t i = 0; (section = help_section(i)); i++) section_page(p, section);
    for (size_t i = 0; i < n_help_kinds; i++) kind_page(p, plugins, &help_kinds[i]);
}

/* The key of another section that OWNER.KEY is near to: trian.batch is train.batch. */
static const char *nearest_key(const char *owner, const char *key, const char **section_name) {
    const char *names[64], *keys[256];
    const cvr_recipe_section *section;
    uint32_t n = 0;
    for (size_t i = 0; i < 64 && (section = help_section(i)); i++) names[n++] = section->name;
    *section_name = cvr_nearest(owner, names, n);
    for (size_t i = 0; *section_name && (section = help_section(i)); i++) {
        if (section->name != *section_name) continue;
        for (n = 0; n < section->schema.n && n < 256; n++) keys[n] = section->schema.attrs[n]->name;
        return cvr_nearest(key, keys, n);
    }
    return NULL;
}

static int nothing_found(const help_search *s) {
    const char *dot = strrchr(s->topic, '.'), *owner = NULL;
    const char *nearest = cvr_nearest(dot ? dot + 1 : s->topic, s->words, s->n_words);
    char left[64] = "";
    if (dot) (void)snprintf(left, sizeof left, "%.*s", (int)(dot - s->topic), s->topic);
    if (dot) owner = left;
    if (dot && !s->n_words) nearest = nearest_key(left, dot + 1, &owner);
    if (nearest)
        print_line(stderr, "cvrun: error: there is no help on `%.100s`; did you mean `%s%s%s`?", s->topic,
                   owner ? owner : "", owner ? "." : "", nearest);
    else
        print_line(stderr, "cvrun: error: there is no help on `%.100s`; `cvrun help` lists what there is", s->topic);
    return EXIT_USAGE;
}

static int show(help_page *p) {
    /* the last line ends with one newline, whatever stood there */
    while (p->text.n > 1 && p->text.s[p->text.n - 1] == '\n' && p->text.s[p->text.n - 2] == '\n')
        p->text.s[--p->text.n] = '\0';
    if (p->text.failed) print_line(stderr, "cvrun: error: out of memory");
    if (!p->text.failed) fputs(p->text.s, stdout);
    return p->text.failed || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_OK;
}

int help_command(const command *c) {
    help_page page = {.markdown = false};
    command_page(&page, c);
    const int status = show(&page);
    cvr_text_clear(&page.text);
    return status;
}

int help_all_markdown(void) {
    cvr_error err = CVR_ERROR_INIT;
    cvr_plugins *plugins;
    help_page page = {.markdown = true};
    if (cvr_plugins_open(&plugins, NULL, 0, &err) != CVR_OK) return report_error(&err);
    reference(&page, plugins);
    const int status = show(&page);
    cvr_text_clear(&page.text);
    cvr_plugins_close(&plugins);
    return status;
}

int help_topic(const char *topic) {
    cvr_error err = CVR_ERROR_INIT;
    help_page page = {.markdown = false};
    help_search s = {.page = &page, .topic = topic};
    int status = EXIT_OK;
    for (size_t i = 0; i < n_commands; i++) {
        could_mean(&s, commands[i]->name, true);
        if (!same_word(commands[i]->name, topic)) continue;
        command_page(&page, commands[i]);
        s.found++;
    }
    if (cvr_plugins_open(&s.plugins, NULL, 0, &err) == CVR_OK) {
        search_topics(&s);
        search_sections(&s, false, false);
        search_kinds(&s, false, false);
        for (int by_value = 0; by_value < 2 && !s.found; by_value++) {
            search_sections(&s, true, by_value);
            search_kinds(&s, true, by_value);
        }
        status = s.found ? show(&page) : nothing_found(&s);
    } else {
        status = s.found ? show(&page) : report_error(&err);
    }
    cvr_text_clear(&page.text);
    cvr_plugins_close(&s.plugins);
    return status;
}
