/* The plan of a quantised network, as text: a line for each node that runs on integers, and for each value that enters
 * them. It comes from a file, so anything may stand in it. */
#include "quant.h"

#include <stdlib.h>

static int compare(const void *a, const void *b) {
    const quant_entry *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    return strcmp(x->key, y->key);
}

/* "int8 0.0186 114 layer1.0.conv1/conv2d" */
static int32_t read_line(char *line, uint64_t number, quant_entry *e, cvr_error *err) {
    char *at = line + 4, *end;
    const int int8 = strncmp(line, "int8 ", 5) == 0, edge = strncmp(line, "edge ", 5) == 0;
    e->kind = int8 ? QUANT_INT8 : QUANT_EDGE;
    if (int8 || edge) {
        const double scale = strtod(at, &end);
        const int numbers = end != at && *end == ' ';
        at = end;
        const long zero = numbers ? strtol(at, &end, 10) : -1;
        const int good = scale > 0 && scale < 1e38 && (float)scale > 0 && zero >= 0 && zero <= 255;
        if (good && end != at && *end == ' ' && end[1]) {
            e->scale = (double)(float)scale;
            e->zero = (int32_t)zero;
            e->key = end + 1;
            return CVR_OK;
        }
    }
    return cvr_fail(err, CVR_ERR_FORMAT,
                    "line %llu of the plan is none: `%.60s`; a line is `int8 SCALE ZERO NODE` or `edge SCALE ZERO "
                    "NODE`; quantise the run again",
                    (unsigned long long)number, line);
}

static int32_t read_lines(quant_plan *p, cvr_error *err) {
    const size_t first = strlen(QUANT_PLAN_FIRST);
    if (strncmp(p->text, QUANT_PLAN_FIRST, first) != 0)
        return cvr_fail(err, CVR_ERR_FORMAT, "the plan does not begin with `%.*s`; quantise the run again",
                        (int)first - 1, QUANT_PLAN_FIRST);
    uint64_t number = 1;
    for (char *line = p->text + first, *next; *line; line = next) {
        char *end = strchr(line, '\n');
        next = end ? end + 1 : line + strlen(line);
        if (end) *end = '\0';
        CVR_TRY(read_line(line, ++number, &p->entries[p->n++], err));
    }
    qsort(p->entries, p->n, sizeof *p->entries, compare);
    for (uint64_t i = 1; i < p->n; i++)
        if (compare(&p->entries[i - 1], &p->entries[i]) == 0)
            return cvr_fail(err, CVR_ERR_FORMAT, "the plan names %.200s twice; quantise the run again",
                            p->entries[i].key);
    return CVR_OK;
}

int32_t quant_plan_read(quant_plan *p, const cvr_host *host, const char *text, cvr_error *err) {
    const size_t n = strlen(text);
    uint64_t lines = 1;
    for (const char *c = text; *c; c++) lines += *c == '\n';
    *p = (quant_plan){.host = host};
    p->text = host->alloc(host, n + 1, 16);
    p->entries = host->alloc(host, lines * sizeof *p->entries, 16);
    if (!p->text || !p->entries) {
        quant_plan_close(p);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    memcpy(p->text, text, n + 1);
    const int32_t status = read_lines(p, err);
    if (status != CVR_OK) quant_plan_close(p);
    return status;
}

const quant_entry *quant_plan_find(const quant_plan *p, uint32_t kind, const char *key) {
    const quant_entry wanted = {.key = key, .kind = kind};
    return p->n ? bsearch(&wanted, p->entries, p->n, sizeof *p->entries, compare) : NULL;
}

void quant_plan_close(quant_plan *p) {
    if (!p->host) return;
    p->host->free(p->host, p->text);
    p->host->free(p->host, p->entries);
    *p = (quant_plan){.host = NULL};
}
