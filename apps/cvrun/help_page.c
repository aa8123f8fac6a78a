/* How pages of help are written: plain text that fits 80 columns, or Markdown. Names and texts come from plugins, so
 * that nothing of them reaches a terminal that is no text. */
#include "help.h"

#define WIDTH 79u
#define NAME_WIDTH 20

/* ---- text ---- */

static bool is_control(char c) {
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static void add_clean(cvr_text *out, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) cvr_text_add(out, "%c", is_control(text[i]) ? '?' : text[i]);
}

/* Words from column `at` on; later lines begin at column `indent`. */
static void add_wrapped(cvr_text *out, size_t at, size_t indent, const char *text) {
    bool first = true;
    for (const char *p = text + strspn(text, " "); *p;) {
        const size_t n = strcspn(p, " ");
        if (!first && at + 1 + n > WIDTH) {
            cvr_text_add(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            cvr_text_add(out, " ");
            at++;
        }
        add_clean(out, p, n);
        at += n;
        first = false;
        p += n + strspn(p + n, " ");
    }
    cvr_text_add(out, "\n");
}

/* What Markdown would read as its own is quoted, outside of `code`. */
static void add_markdown(cvr_text *out, const char *text) {
    bool code = false;
    for (const char *p = text; *p; p++) {
        if (*p == '`') code = !code;
        if (*p == '|' || (!code && strchr("*_<>[]\\", *p))) cvr_text_add(out, "\\");
        add_clean(out, p, 1);
    }
}

void page_heading(help_page *p, int level, const char *heading) {
    if (p->markdown) {
        cvr_text_add(&p->text, "%s%s ", p->text.n ? "\n" : "", level == 1 ? "#" : level == 2 ? "##" : "###");
        add_markdown(&p->text, heading);
        cvr_text_add(&p->text, "\n\n");
    } else {
        if (p->text.n) cvr_text_add(&p->text, "\n");
        add_wrapped(&p->text, 0, 4, heading);
    }
}

void page_paragraph(help_page *p, const char *text) {
    if (!*text) return;
    if (p->markdown) {
        add_markdown(&p->text, text);
        cvr_text_add(&p->text, "\n\n");
    } else {
        cvr_text_add(&p->text, "    ");
        add_wrapped(&p->text, 4, 4, text);
    }
}

void page_item(help_page *p, const char *name, const char *text) {
    if (p->markdown) {
        cvr_text_add(&p->text, "- `");
        add_clean(&p->text, name, strlen(name));
        cvr_text_add(&p->text, "` ");
        add_markdown(&p->text, text);
        cvr_text_add(&p->text, "\n");
        return;
    }
    const size_t n = strlen(name), indent = NAME_WIDTH + 4;
    cvr_text_add(&p->text, "  ");
    add_clean(&p->text, name, n);
    if (n > NAME_WIDTH)
        cvr_text_add(&p->text, "\n%*s", (int)indent, "");
    else
        cvr_text_add(&p->text, "%*s", (int)(indent - 2 - n), "");
    add_wrapped(&p->text, indent, indent, text);
}

void page_list_end(help_page *p) {
    if (p->markdown) cvr_text_add(&p->text, "\n");
}

/* The column behind a line's first two blanks, where a list has its meanings; else that of later lines of a paragraph.
 */
static size_t hanging_indent(const char *line, size_t indent) {
    const char *gap = strstr(line + indent, "  ");
    const size_t column = gap ? (size_t)(gap - line) + strspn(gap, " ") : 0;
    return column && column <= NAME_WIDTH + 4 ? column : indent ? indent + 4 : 0;
}

void page_lines(help_page *p, const char *lines) {
    for (const char *line = lines; *line;) {
        const size_t n = strcspn(line, "\n");
        char *copy = cvr_strndup(line, n);
        if (copy && n > WIDTH) {
            const size_t indent = strspn(copy, " "), hanging = hanging_indent(copy, indent),
                         first = hanging > indent + 4 ? hanging : indent;
            add_clean(&p->text, copy, first);
            add_wrapped(&p->text, first, hanging, copy + first);
        } else {
            cvr_text_add(&p->text, "%s\n", copy ? copy : "");
        }
        cvr_free(copy);
        line += n + (line[n] == '\n');
    }
}

void page_code(help_page *p, const char *title, const char *lines) {
    if (p->markdown) {
        cvr_text_add(&p->text, "```ini\n");
    } else {
        cvr_text_add(&p->text, "\n  %s\n", title);
    }
    for (const char *line = lines; *line;) {
        const size_t n = strcspn(line, "\n");
        cvr_text_add(&p->text, "%s", p->markdown ? "" : "    ");
        add_clean(&p->text, line, n);
        cvr_text_add(&p->text, "\n");
        line += n + (line[n] == '\n');
    }
    if (p->markdown) cvr_text_add(&p->text, "```\n\n");
}

/* ---- settings ---- */

static void add_bound(cvr_text *t, const char *before, double v) {
    cvr_text_add(t, "%s%.15g", before, v);
}

/* "a whole number from 1 to 64", "fail or skip" */
static void add_domain(cvr_text *t, const cvr_attr_desc *a) {
    const bool integer = a->kind == CVR_ATTR_INT || a->kind == CVR_ATTR_INTS;
    const uint32_t count = cvr_attr_count(a);
    switch (a->kind) {
    case CVR_ATTR_BOOL: cvr_text_add(t, "yes or no"); return;
    case CVR_ATTR_STRING: cvr_text_add(t, "text"); return;
    case CVR_ATTR_PATH: cvr_text_add(t, "a path"); return;
    case CVR_ATTR_CHOICE:
        for (const char *c = a->choices; *c;) {
            const size_t n = strcspn(c, "|");
            const char *rest = c[n] ? c + n + 1 : c + n;
            cvr_text_add(t, "%s%.*s", c == a->choices ? "" : *rest ? ", " : " or ", (int)n, c);
            c = rest;
        }
        return;
    case CVR_ATTR_INTS:
    case CVR_ATTR_FLOATS: cvr_text_add(t, "up to %u %snumbers, a,b,...", count, integer ? "whole " : ""); break;
    default: cvr_text_add(t, integer ? "a whole number" : "a number"); break;
    }
    if ((a->flags & CVR_ATTR_MIN) && (a->flags & CVR_ATTR_MAX)) {
        add_bound(t, " from ", a->min);
        add_bound(t, " to ", a->max);
    } else if (a->flags & CVR_ATTR_MIN) {
        add_bound(t, ", at least ", a->min);
    } else if (a->flags & CVR_ATTR_MAX) {
        add_bound(t, ", at most ", a->max);
    }
    if (count > 1 && (a->kind == CVR_ATTR_INT || a->kind == CVR_ATTR_FLOAT))
        cvr_text_add(t, "; or %u of them, %s", count, count == 2 ? "a,b" : "a,b,...");
    if (a->choices) cvr_text_add(t, ", or %s", a->choices);
}

static void add_values(cvr_text *t, const cvr_attr_desc *a) {
    add_domain(t, a);
    if (a->flags & CVR_ATTR_POSITIONAL) cvr_text_add(t, "; may stand without its name");
}

static void add_default(cvr_text *t, const cvr_attr_desc *a) {
    if (!a->default_text)
        cvr_text_add(t, "must be given");
    else
        cvr_text_add(t, "%s", *a->default_text ? a->default_text : "empty");
}

static void schema_row(help_page *p, const cvr_attr_desc *a) {
    cvr_text value = {0}, values = {0}, line = {0};
    add_default(&value, a);
    add_values(&values, a);
    if (p->markdown) {
        cvr_text_add(&p->text, "| `");
        add_clean(&p->text, a->name, strlen(a->name));
        cvr_text_add(&p->text, a->default_text && *a->default_text ? "` | `%s` | " : "` | %s | ", value.s);
        add_markdown(&p->text, values.s);
        cvr_text_add(&p->text, " | ");
        add_markdown(&p->text, a->doc ? a->doc : "");
        cvr_text_add(&p->text, " |\n");
    } else {
        const char *doc = a->doc ? a->doc : "";
        if (a->default_text && !*a->default_text && strstr(doc, "default:"))
            cvr_text_add(&line, "%s.", doc); /* it says itself what empty stands for */
        else
            cvr_text_add(&line, "%s. %s: %s.", doc, a->default_text ? "Default" : "No default", value.s);
        page_item(p, a->name, line.s ? line.s : "");
        cvr_text_add(&p->text, "%*s", NAME_WIDTH + 4, "");
        add_wrapped(&p->text, NAME_WIDTH + 4, NAME_WIDTH + 4, values.s ? values.s : "");
    }
    cvr_text_clear(&line);
    cvr_text_clear(&value);
    cvr_text_clear(&values);
}

void page_schema(help_page *p, const cvr_schema *schema) {
    if (!schema->n) return;
    if (p->markdown)
        cvr_text_add(&p->text, "| setting | default | values | meaning |\n|---|---|---|---|\n");
    else
        cvr_text_add(&p->text, "\n");
    for (uint32_t i = 0; i < schema->n; i++) schema_row(p, schema->attrs[i]);
    if (p->markdown) cvr_text_add(&p->text, "\n");
}

void page_setting(help_page *p, const cvr_attr_desc *a, const char *example) {
    cvr_text value = {0}, values = {0};
    add_default(&value, a);
    add_values(&values, a);
    page_paragraph(p, a->doc ? a->doc : "");
    page_item(p, "  default", value.s ? value.s : "");
    page_item(p, "  values", values.s ? values.s : "");
    if (*example) page_item(p, "  example", example);
    cvr_text_clear(&value);
    cvr_text_clear(&values);
}
