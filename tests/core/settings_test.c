/* What a program writes of its settings it reads again, whatever their values hold; and numbers have bounds. */
#include <criterion/criterion.h>
#include <cvr/config.h>
#include <cvr/writer.h>
#include <unistd.h>

static cvr_error err = CVR_ERROR_INIT;
static char path[] = "/tmp/settings_test_XXXXXX";

static const cvr_attr_desc *const keys[] = {
    CVR_ATTR(STRING, "name", "", "a text"),
    CVR_ATTR(PATH, "project", "", "a path"),
    CVR_ATTR(INT, "seed", "0", "a whole number"),
    CVR_ATTR(FLOATS, "max_hours", "", "numbers", .count = 3),
};
static const cvr_schema schema = {keys, 4};

static void open_file(void) {
    cr_assert_geq(close(mkstemp(path)), 0);
}
static void remove_file(void) {
    cr_assert_eq(unlink(path), 0);
}
TestSuite(settings, .init = open_file, .fini = remove_file);

static void write_file(const char *text, size_t n) {
    cr_assert_eq(cvr_fs_write_unsynced(path, text, n, &err), CVR_OK, "%s", err.message);
}

static cvr_config *load(void) {
    cvr_config *c;
    const void *packed;
    const cvr_setting *const *lines;
    cr_assert_eq(cvr_config_load(&c, path, &err), CVR_OK, "%s:%u: %s", err.file, err.line, err.message);
    cr_assert_eq(cvr_config_bind(c, "run", &schema, &packed, &err), CVR_OK, "%s", err.message);
    (void)cvr_config_lines(c, "net", &lines);
    return c;
}

/* Prints, reads, and prints again. */
static void expect_fixed(cvr_config *c, const char *name) {
    cvr_text first = {0}, second = {0};
    cvr_config_print(c, false, &first);
    write_file(first.s, first.n);
    cvr_config *again = load();
    cvr_config_print(again, false, &second);
    cr_assert_str_eq(first.s, second.s);
    cr_assert_not_null(strstr(first.s, "[layers]\nd = e\n"));
    if (name) cr_assert_str_eq(cvr_config_get(again, "run", "name", NULL), name);
    cvr_config_destroy(&again);
    cvr_text_clear(&first);
    cvr_text_clear(&second);
}

static void try_value(const char *value) {
    static const char *const where[] = {"run.name", "run.project", "net.a layer"};
    static const char start[] = "[run]\nseed = 3\n[net]\nb = c\n[layers]\nd = e\n";
    write_file(start, sizeof start - 1);
    cvr_config *c;
    cr_assert_eq(cvr_config_load(&c, path, &err), CVR_OK);
    for (size_t i = 0; i < 3; i++) {
        cvr_text set = {0};
        cvr_text_add(&set, "%s=%s", where[i], value);
        cr_assert_eq(cvr_config_override(c, set.s, &err), CVR_OK, "%s", err.message);
        cvr_text_clear(&set);
    }
    const void *packed;
    cr_assert_eq(cvr_config_bind(c, "run", &schema, &packed, &err), CVR_OK, "%s", err.message);
    expect_fixed(c, value);
    cvr_config_destroy(&c);
}

Test(settings, any_text_is_read_as_it_was_written) {
    static const char letters[] = "a;#=[]\"\\ \t\r\n,\v\fn\xff\xc3\xa9";
    static const char *const known[] = {"",        "a ;b", ";b",    " a",   "a ",       "\"",       "\"a\"", "a\"b",
                                        "a\\ ;\"", "a\nb", "a\r",   "#a",   "[net]",    "\"a\" b",  "a;b",   "a = b",
                                        "\\",      "\t",   "a\t;b", "x ; ", "\xff\xfe", "name # no"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) try_value(known[i]);
    cvr_rng r;
    cvr_rng_start(&r, 5, 0);
    for (int k = 0; k < 400; k++) {
        char value[16] = "";
        const size_t n = (size_t)cvr_rng_below(&r, 12);
        for (size_t i = 0; i < n; i++) value[i] = letters[cvr_rng_below(&r, sizeof letters - 1)];
        try_value(value);
    }
}

Test(settings, lines_have_any_length) {
    char *value = cvr_calloc(200001, 1);
    memset(value, 'x', 200000);
    for (int i = 4; i < 200000; i += 5) value[i] = ',';
    try_value(value);
    cvr_free(value);
}

Test(settings, what_is_no_setting_is_refused) {
    static const struct {
        const char *text, *why;
        uint32_t line;
    } bad[] = {
        {"[run]\nname = \"a\n", "closing quote", 2},
        {"[run]\nname = \"a\" b\n", "behind the closing quote", 2},
        {"[run]\nname = \"a\\x\"\n", "backslash", 2},
        {"[run] name = a\n", "behind ]", 1},
        {"[run]\n\n[net] a = b\n", "behind ]", 3},
        {"[run\n", "closing ]", 1},
        {"[]\n", "needs a name", 1},
        {"[run]\n= 3\n", "key is missing", 2},
        {"[run]\nname\n", "expected", 2},
        {"[run]\nname ; = 3\n", "expected", 2},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cvr_config *c;
        write_file(bad[i].text, strlen(bad[i].text));
        cr_assert_eq(cvr_config_load(&c, path, &err), CVR_ERR_USAGE, "%s", bad[i].text);
        cr_assert_not_null(strstr(err.message, bad[i].why), "%s: %s", bad[i].text, err.message);
        cr_assert_eq(err.line, bad[i].line);
    }
    static const char good[] =
        "\xEF\xBB\xBF; a comment\r\n# another\r\n[run] ; it runs\r\nname = a;b ; c\r\n\r\n[net]\r\n";
    write_file(good, sizeof good - 1);
    cvr_config *c = load();
    cr_assert_str_eq(cvr_config_get(c, "run", "name", NULL), "a;b");
    cr_assert_eq(cvr_config_override(c, "net.;a=3", &err), CVR_ERR_USAGE);
    cr_assert_eq(cvr_config_override(c, "net.=3", &err), CVR_ERR_USAGE);
    cr_assert_eq(cvr_config_override(c, "net.a\n[run]=3", &err), CVR_ERR_USAGE);
    cvr_config_destroy(&c);
}
