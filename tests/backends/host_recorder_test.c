/* What device code may get wrong while it records: each mistake is refused in one line, and nothing wrong reaches the
 * backend. */
#include "host/host_recorder.h"
#include <criterion/criterion.h>
#include <string.h>

static uint8_t block[256];
static const uint8_t beside[64];
static const cvr_launch *current; /* whose code runs, as the host is told */

static struct {
    cvr_dispatch d;
    cvr_code code;
    int32_t status; /* that `record` returns where nothing is refused */
    int swallows, fills, copies;
    void *to;
    const void *from;
    uint64_t bytes;
    const cvr_launch *launch; /* that records now */
    int reached;              /* requests that came through */
} now;

/* ---- the backend's own recorder ---- */

static int32_t inner_dispatch(const cvr_recorder *r, const cvr_dispatch *d, cvr_error *err) {
    (void)r;
    now.reached++;
    return strcmp(d->entry, "right") == 0 ? CVR_OK : cvr_fail(err, CVR_ERR_PLUGIN, "no entry %s", d->entry);
}

static int32_t inner_fill(const cvr_recorder *r, void *to, uint64_t bytes, uint32_t word, cvr_error *err) {
    (void)r, (void)to, (void)bytes, (void)word, (void)err;
    now.reached++;
    return CVR_OK;
}

static int32_t inner_copy(const cvr_recorder *r, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    (void)r, (void)to, (void)from, (void)bytes, (void)err;
    now.reached++;
    return CVR_OK;
}

/* ---- a kernel ---- */

static int32_t request(const cvr_recorder *r, cvr_error *err) {
    if (now.fills) return r->fill(r, now.to, now.bytes, 0, err);
    if (now.copies) return r->copy(r, now.to, now.from, now.bytes, err);
    return r->dispatch(r, now.d.struct_size == 1 ? NULL : &now.d, err);
}

static int32_t record(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    (void)a;
    cr_expect_eq(current, now.launch);
    if (now.swallows) {
        (void)request(r, NULL);
        return now.status;
    }
    const int32_t status = request(r, err);
    return status == CVR_OK ? now.status : status;
}

static void be_right(void) {
    static const uint64_t params[4];
    memset(&now, 0, sizeof now);
    now.code = (cvr_code){sizeof now.code, block, sizeof block};
    now.d = (cvr_dispatch){.struct_size = sizeof now.d,
                           .code = &now.code,
                           .entry = "right",
                           .params = params,
                           .params_size = sizeof params,
                           .groups = {1, 65535, 1},
                           .threads = {64, 4, 1}};
}

/* ---- a host, who is told whose code runs ---- */

static const cvr_launch **where(const cvr_launch_service *s) {
    (void)s;
    return &current;
}

static const void *get(const cvr_host *h, const char *service) {
    static const cvr_launch_service launches = {.struct_size = sizeof launches, .current = where};
    (void)h;
    return strcmp(service, CVR_SERVICE_LAUNCHES) == 0 ? &launches : NULL;
}

static const cvr_host host = {.struct_size = sizeof host, .get = get};

static int32_t record_now(const cvr_device_fn *fn, cvr_error *err) {
    const cvr_device_info info = {
        .struct_size = sizeof info, .shared_bytes = 1024, .group_threads = 256, .subgroup_min = 8, .subgroup_max = 32};
    const cvr_recorder inner = {sizeof inner, NULL, &info, inner_dispatch, inner_fill, inner_copy};
    const cvr_kernel_desc kernel = {.struct_size = sizeof kernel, .op = "acme.op", .backend = "dev", .payload = fn};
    const cvr_range range = {.struct_size = sizeof range, .address = block + 64, .bytes = 128};
    const cvr_range *const touches[] = {&range};
    const cvr_kernel_args args = {.struct_size = sizeof args};
    const cvr_launch l = {
        .struct_size = sizeof l, .kernel = &kernel, .args = &args, .name = "node", .touches = touches, .n_touches = 1};
    cvr_error_init(err);
    now.launch = &l;
    const int32_t status = host_record_code(&host, &l, &inner, "dev", err);
    cr_expect(current == (status == CVR_OK ? NULL : &l), "who runs is told wrongly");
    return status;
}

static const cvr_device_fn good = {sizeof good, record};

static void refused(const char *words) {
    cvr_error err;
    const int32_t status = record_now(&good, &err);
    cr_expect_eq(status, CVR_ERR_PLUGIN, "%s: status %d", words, status);
    cr_expect(strstr(err.message, words), "`%s` is not in `%s`", words, err.message);
    cr_expect(strncmp(err.message, "node on dev: ", 13) == 0, "%s", err.message);
    cr_expect_eq(now.reached, 0, "%s: it came through", words);
}

static void goes_through(int requests) {
    cvr_error err;
    cr_expect_eq(record_now(&good, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(now.reached, requests);
}

#define WRONG(field_, value_, words_) (be_right(), now.field_ = (value_), refused(words_))

Test(host_recorder, dispatches) {
    be_right(), goes_through(1);
    WRONG(d.struct_size, 1, "the dispatch is NULL");
    WRONG(d.struct_size, sizeof(cvr_dispatch) - 8, "`struct_size` is too small");
    WRONG(d.code, NULL, "no cvr_code");
    WRONG(code.struct_size, 8, "no cvr_code");
    WRONG(code.bytes, NULL, "no cvr_code");
    WRONG(code.bytes, block + 1, "no cvr_code");
    WRONG(d.entry, NULL, "no `entry`");
    WRONG(d.entry, "", "no `entry`");
    WRONG(d.params, NULL, "32 bytes of parameters");
    WRONG(d.params_size, CVR_PARAMS_MOST + 8, "4104 bytes of parameters");
    WRONG(d.params_size, UINT64_MAX, "bytes of parameters");
    WRONG(d.n_constants, 3, "3 constants");
    WRONG(d.flags, 6, "`flags` is 0x6");
    WRONG(d.groups[0], 0, "0 groups along axis 0");
    WRONG(d.groups[2], CVR_GROUPS_MOST + 1, "65536 groups along axis 2");
    WRONG(d.threads[1], 0, "groups of 64 x 0 x 1 threads");
    WRONG(d.threads[2], 2, "groups of 64 x 4 x 2 threads");
    WRONG(d.threads[0], UINT32_MAX, "threads; the device has 1 to 256");
    WRONG(d.shared_bytes, 1025, "1025 shared bytes");
    WRONG(d.subgroup, 4, "subgroups of 4");
    WRONG(d.subgroup, 64, "subgroups of 64");
}

Test(host_recorder, fills_and_copies) {
    static const struct {
        int64_t at; /* in the block; the node touches 64 to 192 */
        uint64_t bytes;
        const char *words; /* NULL: right */
    } cases[] = {
        {64, 128, NULL},
        {188, 4, NULL},
        {60, 8, "a fill of 8 bytes"},
        {188, 8, "a fill of 8 bytes"},
        {64, UINT64_MAX - 3, "bytes at"},
        {66, 8, "whole words"},
        {64, 6, "whole words"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        be_right();
        now.fills = 1;
        now.to = block + cases[i].at;
        now.bytes = cases[i].bytes;
        if (cases[i].words)
            refused(cases[i].words);
        else
            goes_through(1);
    }
    be_right(), now.copies = 1, now.to = block + 64, now.from = block + 128, now.bytes = 64, goes_through(1);
    be_right(), now.copies = 1, now.to = block + 64, now.from = beside, now.bytes = 64, refused("a copy of 64 bytes");
    be_right(), now.copies = 1, now.to = NULL, now.from = block + 64, now.bytes = 64, refused("a copy of 64 bytes");
    be_right(), now.copies = 1, now.to = NULL, now.bytes = 0, goes_through(0);
}

static int32_t in_block(const void *device, uint64_t address) {
    return address - (uint64_t)(uintptr_t)device < sizeof block;
}

/* Of addresses first and numbers behind them, those in the device's memory have to be in what the node touches. */
Test(host_recorder, addresses) {
    const uint64_t first = (uint64_t)(uintptr_t)block + 64;
    const cvr_range range = {.struct_size = sizeof range, .address = block + 64, .bytes = 128};
    const cvr_range *const touches[] = {&range};
    const cvr_launch l = {.struct_size = sizeof l, .touches = touches, .n_touches = 1};
    const struct {
        uint64_t params[4];
        const char *words; /* NULL: right */
    } cases[] = {
        {{first, 0, first + 127, 0}, NULL},
        {{first, first + 128, 0, 0},
         "acme_check: entry right gets an address, at byte 8 of its parameters, that is in"},
        {{0, 0, 0, first - 1}, "at byte 24"},
        {{first, 7, first + 128, 0}, NULL}, /* behind a number there is none */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cvr_error err = CVR_ERROR_INIT;
        be_right(), now.d.params = cases[i].params;
        const int32_t status = host_check_addresses("acme_check", &l, &now.d, block, in_block, &err);
        cr_expect_eq(status, cases[i].words ? CVR_ERR_PLUGIN : CVR_OK, "case %zu: %s", i, err.message);
        if (cases[i].words) cr_expect(strstr(err.message, cases[i].words), "case %zu: %s", i, err.message);
    }
    cr_expect_not(host_touches(&l, first - 1));
    cr_expect_not(host_touches(&l, first + 128));
}

/* A record that takes no notice of being refused has failed; one without words is left to the core's. */
Test(host_recorder, what_record_returns) {
    cvr_error err;
    WRONG(swallows, (now.d.groups[0] = 0, 1), "0 groups");
    be_right(), now.swallows = 1, now.d.entry = "other";
    cr_expect_eq(record_now(&good, &err), CVR_ERR_PLUGIN);
    cr_expect_str_eq(err.message, "node on dev: no entry other");
    be_right(), now.status = 99;
    cr_expect_eq(record_now(&good, &err), 99);
    cr_expect_str_empty(err.message);
}

Test(host_recorder, payloads) {
    const cvr_device_fn small = {8, record}, empty = {sizeof empty, NULL};
    cvr_error err;
    be_right();
    cr_expect_eq(record_now(&small, &err), CVR_ERR_PLUGIN);
    cr_expect_str_eq(err.message, "node on dev: the payload of kernel dev/acme.op is no cvr_device_fn with a `record`");
    cr_expect_eq(record_now(&empty, &err), CVR_ERR_PLUGIN);
    cr_expect_eq(record_now(NULL, &err), CVR_ERR_PLUGIN);
    cr_expect_eq(now.reached, 0);
}
