/*
 * UTF-8 text as letters that the font has: a base of printable ASCII and an accent. Latin letters of European languages
 * (U+00C0 to U+017F, composed or with combining marks) are drawn so; any other character is one question mark.
 */
#include "canvas.h"

/* From U+00C0 on. Accents: ` grave, ' acute, ^, ~, " two dots, o ring, v caron, u breve, - macron or bar, . dot above,
 * comma cedilla, ; ogonek, / stroke; of two letters that are one character (ae, ss) it is the second. */
static const char bases[] = "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYPsaaaaaaaceeeeiiiidnooooo/ouuuuypy"
                            "AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIiIiJjKkkLlLlLlL"
                            "lLlNnNnNnnNnOoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs";
static const char accents[] = "`'^~\"oe,`'^\"`'^\"-~`'^~\" /`'^\"' s`'^~\"oe,`'^\"`'^\" ~`'^~\" /`'^\"' \""
                              "--uu;;''^^..vvvv----uu..;;vv^^uu..,,^^  ~~--uu;;. Jj^^,, '',,vv "
                              " //'',,vv   --uu\"\"ee'',,vv''^^,,vv,,vv  ~~--uuoo\"\";;^^^^\"''..vv ";
#define FIRST 0xc0u
#define PAST 0x180u
/* Combining marks from U+0300 on, in the same signs; a blank: not drawn. */
static const char marks[] = "`'^~- u.\" o\"v                          ,;";

/* One character, and past it; what is no UTF-8 is U+FFFD, byte by byte. */
static uint32_t next_character(const char **text) {
    const uint8_t *const p = (const uint8_t *)*text;
    const uint32_t more = p[0] >= 0xf0 && p[0] < 0xf8 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc0 ? 1 : 0;
    uint32_t c = p[0] & (more ? 0x3fu >> more : 0x7fu);
    *text += 1;
    if (p[0] < 0x80) return p[0];
    if (more == 0 || p[0] >= 0xf8) return 0xfffd;
    for (uint32_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0xfffd;
        c = c << 6 | (p[i] & 0x3fu);
    }
    *text += more;
    return c;
}

static int32_t is_mark(uint32_t c) {
    return c >= 0x300 && c < 0x370;
}

static int32_t is_letter(char c) {
    return (c >= 'a' && c <= 'z' && c != 'o' && c != 'u' && c != 'v') || c == 'J';
}

int32_t canvas_next_letter(canvas_reader *r, canvas_letter *out) {
    uint32_t c;
    *out = (canvas_letter){r->second, ' '};
    r->second = '\0';
    if (out->base) return 1;
    if (!*r->text) return 0;
    c = next_character(&r->text);
    out->base = c >= 32 && c < 127 ? (char)c : c >= FIRST && c < PAST ? bases[c - FIRST] : '?';
    if (c >= FIRST && c < PAST) out->accent = accents[c - FIRST];
    if (is_letter(out->accent)) {
        r->second = out->accent;
        out->accent = ' ';
    }
    for (const char *at = r->text; *at; r->text = at) {
        c = next_character(&at);
        if (!is_mark(c)) break;
        if (c - 0x300 < sizeof marks - 1 && marks[c - 0x300] != ' ') out->accent = marks[c - 0x300];
    }
    return 1;
}

/* ---- dots ---- */

/* Two rows of six columns, "above" for what stands over a letter. */
static const char *accent_rows(char accent) {
    switch (accent) {
    case '`': return ".#......#...";
    case '\'': return "....#...#...";
    case '^': return "..##...#..#.";
    case '~': return ".##.#.#..#..";
    case '"': return ".#..#.......";
    case 'o': return "..##....##..";
    case 'v': return ".#..#...##..";
    case 'u': return ".#..#...##..";
    case '-': return ".####.......";
    case '.': return "..##........";
    default: return NULL;
    }
}

static int32_t is_small(char base) {
    return base >= 'a' && base <= 'z' && !strchr("bdfhklt", base);
}

int32_t canvas_letter_dot(canvas_letter letter, int32_t x, int32_t y) {
    const char *const above = accent_rows(letter.accent);
    const int32_t top = is_small(letter.base) ? 0 : -3; /* of the accent */
    if (x < 0 || x > 5) return 0;
    if (above && y >= top && y < top + 2) return above[(y - top) * 6 + x] == '#';
    if (above && (letter.base == 'i' || letter.base == 'j') && y < 3) return 0; /* the accent instead of the dot */
    if (letter.accent == '/' && y >= 0 && y < CANVAS_CAPITAL && x == 5 - y * 6 / CANVAS_CAPITAL &&
        (!is_small(letter.base) || y >= 2))
        return 1;
    if ((letter.accent == ',' || letter.accent == ';') && y >= CANVAS_CAPITAL && y < CANVAS_CAPITAL + 2)
        return x == (letter.accent == ',' ? 3 - (y - CANVAS_CAPITAL) : 3 + (y - CANVAS_CAPITAL));
    return y >= 0 && y < CANVAS_FONT_ROWS && canvas_font_dot(letter.base, x, y);
}

/* ---- measures ---- */

int64_t canvas_letters(const char *text) {
    canvas_reader r = {text, '\0'};
    canvas_letter letter;
    int64_t n = 0;
    while (canvas_next_letter(&r, &letter)) n++;
    return n;
}

int32_t canvas_can_draw(const char *text) {
    int32_t any = 0;
    while (*text) {
        const uint32_t c = next_character(&text);
        if (c < 32 || (c >= 127 && c < FIRST) || (c >= PAST && !is_mark(c))) return 0;
        any |= c != ' ';
    }
    return any;
}

int64_t canvas_text_width(const char *text) {
    const int64_t n = canvas_letters(text);
    return n > 0 ? n * CANVAS_LETTER_WIDTH - 1 : 0;
}

/* Bytes of the text's first `letters` letters; a character of two letters is whole or not there. */
static size_t prefix(const char *text, int64_t letters) {
    canvas_reader r = {text, '\0'};
    canvas_letter letter;
    size_t end = 0;
    for (int64_t i = 0; i < letters && canvas_next_letter(&r, &letter); i++) {
        if (!r.second) end = (size_t)(r.text - text);
    }
    return end;
}

void canvas_cut(char *out, uint64_t room, const char *text, int64_t letters) {
    const int32_t fits = canvas_letters(text) <= letters;
    size_t n = prefix(text, fits || letters <= 2 ? letters : letters - 2);
    const char *const dots = !fits && letters > 2 ? ".." : "";
    while (n + strlen(dots) + 1 > room && letters > 0) n = prefix(text, --letters);
    (void)snprintf(out, room, "%.*s%s", (int)n, text, dots);
}
