/* See each_draw.h. */
#include "each_draw.h"
#include "golden.h"
#include <criterion/criterion.h>
#include <stdlib.h>

case_line *case_lines(const char *folder, const char *family, size_t *n_files, size_t *n) {
    case_line *lines = NULL;
    char **paths = files_like(folder, family, ".cases", n_files);
    *n = 0;
    for (size_t i = 0; i < *n_files; i++) {
        cvr_error err = CVR_ERROR_INIT;
        cr_assert_eq(case_lines_read(paths[i], &lines, n, &err), CVR_OK, "%s: %s", err.file, err.message);
        free(paths[i]);
    }
    free(paths);
    return lines;
}

uint64_t draws_wanted(void) {
    const char *text = getenv("CVR_TEST_DRAWS");
    const uint64_t n = text ? strtoull(text, NULL, 10) : 0;
    return n ? n : 6;
}

size_t for_each_draw(const char *folder, const char *family, const case_machine *m, draw_fn fn, void *ctx) {
    size_t n_files, n, complaints = 0;
    case_line *lines = case_lines(folder, family, &n_files, &n);
    cr_assert(n_files > 0 && n > 0, "no cases in %s/%s*", folder, family);
    for (size_t i = 0; i < n; i++) {
        for (uint64_t draw = 0; draw < draws_wanted(); draw++) {
            layer_case c;
            char why[600] = "";
            cvr_error err = CVR_ERROR_INIT;
            const bool drawn = draw_case(&lines[i], draw, &c, why, sizeof why);
            if (drawn && draw_complete(m, &c, draw, &err))
                fn(ctx, &c, why, sizeof why);
            else if (drawn)
                (void)snprintf(why, sizeof why, "cannot be built: %.500s", err.message);
            if (*why) {
                complaints++;
                cr_log_error("%s draw %llu: %s %s: %s", lines[i].place, (unsigned long long)draw, c.layer, c.settings,
                             why);
            }
            layer_case_clear(&c);
        }
    }
    free(lines);
    return complaints;
}
