/* Strings that grow, the log, and the nearest match for a misspelt word. */
#include <ctype.h>
#include <cvr/base.h>
#include <strings.h>

static bool text_reserve(cvr_text *t, size_t more) {
    if (t->failed) return false;
    if (t->capacity - t->n > more) return true;
    size_t wanted = t->capacity ? t->capacity : 64;
    while (wanted - t->n <= more) {
        if (wanted > SIZE_MAX / 2) return !(t->failed = true);
        wanted *= 2;
    }
    char *s = cvr_calloc(wanted, 1);
    if (!s) return !(t->failed = true);
    if (t->n) memcpy(s, t->s, t->n);
    cvr_free(t->s);
    t->s = s;
    t->capacity = wanted;
    return true;
}

void cvr_text_add_bytes(cvr_text *t, const void *bytes, size_t n) {
    if (!text_reserve(t, n)) return;
    memcpy(t->s + t->n, bytes, n);
    t->n += n;
    t->s[t->n] = '\0';
}

void cvr_text_add(cvr_text *t, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    const int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0 || !text_reserve(t, (size_t)n)) return;
    va_start(ap, format);
    (void)vsnprintf(t->s + t->n, t->capacity - t->n, format, ap);
    va_end(ap);
    t->n += (size_t)n;
}

void cvr_text_add_json(cvr_text *t, const char *s) {
    char piece[8];
    cvr_text_add(t, "\"");
    while (*s) {
        const uint64_t n = cvr_json_char(piece, &s);
        cvr_text_add_bytes(t, piece, n);
    }
    cvr_text_add(t, "\"");
}

void cvr_text_clear(cvr_text *t) {
    cvr_free(t->s);
    memset(t, 0, sizeof *t);
}

/* Levenshtein's distance with one row, blind to case; words longer than 63 bytes are nobody's misspelling. */
static size_t edit_distance(const char *a, const char *b) {
    size_t row[64];
    const size_t na = strlen(a), nb = strlen(b);
    if (na > 63 || nb > 63) return 64;
    for (size_t j = 0; j <= nb; j++) row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const size_t replaced = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            diagonal = row[j];
            const size_t shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[nb];
}

const char *cvr_nearest(const char *word, const char *const *candidates, size_t n) {
    const char *best = NULL, *begins = NULL;
    size_t best_distance = strlen(word) / 3 + (strlen(word) < 6); /* a third; short words may swap two letters */
    for (size_t i = 0; i < n; i++) {
        const size_t d = edit_distance(word, candidates[i]);
        if (d < best_distance || (d == best_distance && !best)) {
            best = candidates[i];
            best_distance = d;
        }
    }
    const size_t length = strlen(word);
    for (size_t i = 0; best_distance > 0 && length > 2 && i < n; i++) { /* `kernel` is short for `kernel_size` */
        if (strncasecmp(candidates[i], word, length) == 0 && (!begins || strlen(candidates[i]) < strlen(begins)))
            begins = candidates[i];
    }
    return begins && best_distance > 1 ? begins : best;
}

const char *cvr_hint(const char *word, const char *const *candidates, size_t n, char buf[400]) {
    const char *nearest = cvr_nearest(word, candidates, n);
    size_t at = (size_t)snprintf(buf, 400, nearest ? "did you mean `%.200s`?" : "there are ", nearest);
    for (size_t i = 0; !nearest && i < n; i++) {
        if (at + strlen(candidates[i]) > 370) { /* there is no room for it and for the words below */
            (void)snprintf(buf + at, 400 - at, " and %zu more", n - i);
            break;
        }
        at += (size_t)snprintf(buf + at, 400 - at, "%s%s", i ? ", " : "", candidates[i]);
    }
    return n ? buf : "there are none";
}

static cvr_log_fn log_fn;
static void *log_ctx;
static _Thread_local const char *log_about;
static _Thread_local uint32_t log_lines;

uint32_t cvr_log_about(const char *file) {
    const uint32_t lines = log_lines;
    log_about = file;
    log_lines = 0;
    return lines;
}

void cvr_set_log(cvr_log_fn fn, void *ctx) {
    log_fn = fn;
    log_ctx = ctx;
}

void cvr_log(uint32_t level, const char *format, ...) {
    char line[2048];
    int n = 0;
    if (!log_fn || (log_about && !*log_about)) return;
    if (log_about) n = snprintf(line, sizeof line, "%.1023s: ", log_about);
    log_lines++;
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(line + n, sizeof line - (size_t)n, format, ap);
    va_end(ap);
    log_fn(log_ctx, level, line);
}

const char *cvr_bytes_text(uint64_t bytes, char buf[32]) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 999.5 && u < 4) {
        v /= 1000;
        u++;
    }
    (void)snprintf(buf, 32, u && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
    return buf;
}
