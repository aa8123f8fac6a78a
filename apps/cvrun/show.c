/* Numbers and progress as people like to read them. */
#include "cvrun.h"
#include <sys/ioctl.h>
#include <unistd.h>

/* What could move the cursor, colour or ring becomes `?`: names of files, classes and tensors are others' to choose.
 * `lines`: the text may have lines of its own. */
static void clean(char *text, bool lines) {
    for (uint8_t *c = (uint8_t *)text; *c; c++) {
        if (*c == '\n' && (lines || c[1] == ' ')) continue; /* a list goes on in indented lines */
        if (*c < 0x20 || *c == 0x7f) *c = '?';
        if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) c[0] = c[1] = '?'; /* U+0080 to U+009F, in UTF-8 */
    }
}

void print_line(FILE *to, const char *format, ...) {
    char line[8192];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    clean(line, false);
    fprintf(to, "%s\n", line);
}

void print_text(const char *format, ...) {
    char text[8192];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    clean(text, true);
    fputs(text, stdout);
}

void print_page(char *page) {
    clean(page, true);
    fputs(page, stdout);
}

const char *human_count(int64_t n, char buf[32]) {
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%lld", (long long)n);
    int at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0 && digits[i - 1] != '-') buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = '\0';
    return buf;
}

const char *human_many(int64_t n, const char *one, char buf[64]) {
    const size_t length = strlen(one);
    char count[32];
    const char *plural = n == 1 ? "" : length && one[length - 1] == 's' ? "es" : "s";
    (void)snprintf(buf, 64, "%s %.20s%s", human_count(n, count), one, plural);
    return buf;
}

const char *human_speed(double v, char buf[32]) {
    (void)snprintf(buf, 32, v < 0.995 ? "%.2f" : v < 9.95 ? "%.1f" : "%.0f", v);
    return buf;
}

const char *human_seconds(double s, char buf[32]) {
    const long long t = (long long)(s + 0.5);
    if (s < 9.95)
        (void)snprintf(buf, 32, "%.1f s", s);
    else if (t < 60)
        (void)snprintf(buf, 32, "%lld s", t);
    else if (t < 3600)
        (void)snprintf(buf, 32, "%lld min %02lld s", t / 60, t % 60);
    else
        (void)snprintf(buf, 32, "%lld h %02lld min", t / 3600, t / 60 % 60);
    return buf;
}

void progress_start(progress *p, const char *what) {
    p->what = what;
    p->open = false;
    p->terminal = isatty(2) == 1;
    p->shown = p->terminal ? 0 : cvr_now();
}

bool progress_due(progress *p, bool last) {
    const double now = cvr_now(), passed = now - p->shown;
    if (p->terminal ? !last && passed < 0.1 : passed < 60) return false;
    p->shown = now;
    return true;
}

static int terminal_width(void) {
    struct winsize size;
    return ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

void progress_show(progress *p, double fraction, const char *text) {
    const int width = 24, filled = (int)(fraction * width + 0.5),
              room = terminal_width() - width - 12 - (int)strlen(p->what);
    char shown[512];
    (void)snprintf(shown, sizeof shown, "%s", text);
    clean(shown, false);
    if (!p->terminal) {
        fprintf(stderr, "%s %.0f %%  %s\n", p->what, 100 * fraction, shown);
        return;
    }
    fprintf(stderr, "\r\033[K%3.0f %% [", 100 * fraction);
    for (int i = 0; i < width; i++) fputs(i < filled ? "=" : i == filled ? ">" : " ", stderr);
    fprintf(stderr, "] %s  %.*s", p->what, room > 0 ? room : 0, shown);
    fflush(stderr);
    p->open = true;
}

void progress_clear(progress *p) {
    if (p->open) fprintf(stderr, "\r\033[K");
    p->open = false;
}

void progress_count(void *ctx, int64_t done, int64_t total) {
    progress *p = ctx;
    char text[80], a[32], b[32];
    if (total <= 0 || !progress_due(p, done >= total)) return;
    (void)snprintf(text, sizeof text, "%s of %s", human_count(done, a), human_count(total, b));
    progress_show(p, (double)done / (double)total, text);
}
