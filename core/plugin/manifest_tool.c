/* cvr-manifest MANIFEST PLUGIN.so...: writes a manifest from what the plugins themselves say they provide. */
#include <cvr/plugins.h>

int main(int argc, char **argv) {
    cvr_error err;
    cvr_text text = {0};
    cvr_error_init(&err);
    if (argc < 2) {
        fprintf(stderr, "usage: cvr-manifest MANIFEST.ini PLUGIN.so...\n");
        return 2;
    }
    cvr_text_add(&text, "[manifest]\nversion = 1\n");
    int32_t status = CVR_OK;
    for (int i = 2; i < argc; i++) {
        cvr_text_add(&text, "\n");
        CVR_TRY_OUT(cvr_plugins_describe(argv[i], &text, &err));
    }
    CVR_TRY_OUT(cvr_fs_write(argv[1], text.s, text.n, &err));
out:
    if (status != CVR_OK) fprintf(stderr, "cvr-manifest: error: %s: %s\n", err.file, err.message);
    cvr_text_clear(&text);
    return status == CVR_OK ? 0 : 1;
}
