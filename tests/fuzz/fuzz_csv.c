/* Fuzz target: plugins/datasets/csv, the lists that it makes of a file. */
#include "../../plugins/datasets/csv/csv_list.h"
#include "fuzz.h"

static const csv_attrs settings[] = {
    {0, 1, ",", "", "", "", "", "", ""},      {0, 0, ",", "1", "2", "", "", "", ".jpg"},
    {0, 1, ",", "file", "", "*", "", "", ""}, {0, 1, ",", "", "label", "", "|", "", ""},
    {0, 0, ";", "", "", "2", "", "", ""},
};

static void check_list(const csv_list *l) {
    for (uint64_t i = 0; i < l->n; i++) {
        const struct csv_item *const item = &l->items[i];
        fuzz_touch(l->text + item->path, strlen(l->text + item->path));
        fuzz_check(l->multi || item->n_ids == 1, "%llu classes", (unsigned long long)item->n_ids);
        for (uint64_t k = 0; k < item->n_ids; k++) {
            const int64_t id = l->ids[item->first + k];
            fuzz_check(id >= 0 && id < (int64_t)l->classes.n, "a class of no name");
        }
    }
    for (int64_t i = 0; i < (int64_t)l->classes.n; i++)
        fuzz_check(name_table_find(&l->classes, name_table_get(&l->classes, i)) == i, "a name that is not found");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const uint64_t number = fuzz_number(bytes, n);
    const csv_attrs *const a = &settings[number % 5];
    const char *const path = fuzz_file("train.csv", bytes, n);
    fuzz_host h;
    cvr_error err = CVR_ERROR_INIT;
    fuzz_host_init(&h, (1u << 20) + 1100 * 64 * (uint64_t)n);
    csv_list l = {.host = &h.host, .classes = {.host = &h.host}};
    int32_t status = csv_list_read(&l, a, path, "/pictures", 1, 1, &err);
    fuzz_check_error(status, &err);
    if (status == CVR_OK) {
        const uint64_t all = l.n;
        check_list(&l);
        fuzz_check(csv_list_split(&l, CVR_SPLIT_VAL, 0.3, number, &err) == CVR_OK && l.n <= all, "a split");
        check_list(&l);
        cvr_error_init(&err);
        status = csv_list_read(&l, a, path, "/pictures", 0, 1, &err);
        fuzz_check(status == CVR_OK, "the same file does not have the same classes: %s", err.message);
    }
    csv_list_free(&l);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    return 0;
}
