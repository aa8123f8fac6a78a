/* cvr-manifest MANIFEST PLUGIN.so...: writes a manifest from what the plugins themselves say they provide. */
#include <cvr/guard.h>
#include <cvr/plugins.h>
#include <cvr/writer.h>

/* Words of plugins, without what would steer a terminal. */
static void print_clean(const char *before, const char *text) {
    fprintf(stderr, "cvr-manifest: %s", before);
    for (; *text; text++) fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, stderr);
    fputc('\n', stderr);
}

static void print_log(void *ctx, uint32_t level, const char *text) {
    (void)ctx;
    if (level <= CVR_LOG_WARNING) print_clean(level == CVR_LOG_ERROR ? "error: " : "warning: ", text);
}

int main(int argc, char **argv) {
    cvr_error err;
    cvr_text text = {0};
    cvr_error_init(&err);
    if (argc < 2 || argv[1][0] == '-') { /* a manifest called --help is not what was meant */
        fprintf(stderr, "usage: cvr-manifest MANIFEST.ini PLUGIN.so...\n");
        return 2;
    }
    cvr_guard_open("cvr-manifest");
    cvr_guard_watch();
    cvr_set_log(print_log, NULL);
    cvr_text_add(&text, "[manifest]\nversion = 1\n");
    int32_t status = CVR_OK;
    for (int i = 2; i < argc; i++) {
        cvr_text_add(&text, "\n");
        CVR_TRY_OUT(cvr_plugins_describe(argv[i], &text, &err));
    }
    CVR_TRY_OUT(cvr_fs_write(argv[1], text.s, text.n, &err));
out:
    if (status != CVR_OK) {
        char line[sizeof err.file + sizeof err.message + 4];
        (void)snprintf(line, sizeof line, "%s%s%s", err.file, *err.file ? ": " : "", err.message);
        print_clean("error: ", line);
    }
    cvr_text_clear(&text);
    cvr_guard_close();
    return status == CVR_OK ? 0 : 1;
}
