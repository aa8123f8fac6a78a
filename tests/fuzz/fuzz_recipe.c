/*
 * Fuzz target: recipes. Lines that follow a NUL byte are settings of the command line. What can be read is bound to the
 * schemas that every recipe has and printed; what is printed, read again, must print the same.
 */
#include "../../apps/session/run_settings.h"
#include "fuzz.h"
#include <stdlib.h>

static const struct {
    const char *section;
    const cvr_schema *schema;
} common[] = {{"run", &run_schema},     {"backend", &backend_schema}, {"model", &model_schema}, {"data", &data_schema},
              {"train", &train_schema}, {"optim", &optim_schema},     {"sched", &sched_schema}, {"val", &val_schema}};

static int32_t bind(cvr_config *c, cvr_error *err) {
    const cvr_setting *const *lines;
    const void *packed;
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        CVR_TRY(cvr_config_bind(c, common[i].section, common[i].schema, &packed, err));
    (void)cvr_config_lines(c, "net", &lines);
    (void)cvr_config_lines(c, "augment", &lines);
    return cvr_config_finish(c, err);
}

/* Texts of the command line stand behind the NUL, one a line. */
static int32_t override(cvr_config *c, const uint8_t *bytes, size_t n, cvr_error *err) {
    char text[4097], *save = NULL;
    int32_t status = CVR_OK;
    memcpy(text, bytes, n);
    text[n] = '\0';
    for (char *line = strtok_r(text, "\n", &save); line && status == CVR_OK; line = strtok_r(NULL, "\n", &save))
        status = cvr_config_override(c, line, err);
    return status;
}

static void read_again(const cvr_text *printed) {
    cvr_config *c = NULL;
    cvr_error err = CVR_ERROR_INIT;
    cvr_text again = {0};
    if (printed->n > 1u << 16) return;
    int32_t status = cvr_config_load(&c, fuzz_file("config.ini", printed->s, printed->n), &err);
    if (status == CVR_OK) status = bind(c, &err);
    fuzz_check(status == CVR_OK, "what was printed is not read again: line %u: %s\n%s", err.line, err.message,
               printed->s);
    cvr_config_print(c, false, &again);
    fuzz_check(again.n == printed->n && memcmp(again.s, printed->s, again.n) == 0,
               "it says something else, read again:\n%s\n----\n%s", printed->s, again.s);
    cvr_text_clear(&again);
    cvr_config_destroy(&c);
}

static void print(const cvr_config *c) {
    cvr_text plain = {0}, origins = {0}, json = {0};
    cvr_config_print(c, false, &plain);
    cvr_config_print(c, true, &origins);
    cvr_config_print_json(c, &json);
    fuzz_check(!plain.failed && !origins.failed && !json.failed, "out of memory");
    read_again(&plain);
    cvr_text_clear(&plain);
    cvr_text_clear(&origins);
    cvr_text_clear(&json);
}

/* The numbers that are written as text. */
static void parse_texts(cvr_config *c) {
    static const double imagenet[3] = {0.485, 0.456, 0.406};
    const char *origin;
    cvr_error err = CVR_ERROR_INIT;
    save_interval every;
    double v[4];
    uint64_t bytes;
    fuzz_check_line(parse_save_every(cvr_config_get(c, "run", "save_every", &origin), &every, &err), &err);
    fuzz_check_line(parse_channels("mean", cvr_config_get(c, "data", "mean", &origin), imagenet, 0, v, &err), &err);
    fuzz_check_line(parse_bytes("train.memory", cvr_config_get(c, "train", "memory", &origin), &bytes, &err), &err);
    fuzz_check_line(parse_optional("optim.lr", cvr_config_get(c, "optim", "lr", &origin), 0.1, v, &err), &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const uint8_t *const nul = n ? memchr(bytes, '\0', n) : NULL;
    const size_t length = nul ? (size_t)(nul - bytes) : n, rest = nul ? n - length - 1 : 0;
    cvr_config *c = NULL;
    cvr_error err = CVR_ERROR_INIT;
    int32_t status = cvr_config_load(&c, fuzz_file("recipe.ini", bytes, length), &err);
    if (status == CVR_OK && rest > 0 && rest <= 4096) status = override(c, nul + 1, rest, &err);
    if (status == CVR_OK) status = bind(c, &err);
    fuzz_check_line(status, &err);
    if (status == CVR_OK) {
        print(c);
        parse_texts(c);
    }
    cvr_config_destroy(&c);
    return 0;
}
