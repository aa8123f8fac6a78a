/* See device_stand_in.h. */
#include "device_stand_in.h"

#include "emu/emu_record.h"
#include <criterion/criterion.h>
#include <stdlib.h>

stand_in stand;

/* ---- a host ---- */

int64_t case_blocks;
char case_log[4000];
uint32_t case_lines;
const cvr_tuning_service *case_tuning;

static void *take_memory(const cvr_host *host, uint64_t bytes, uint64_t align) {
    (void)host;
    case_blocks++;
    return aligned_alloc(align, (bytes + align - 1) / align * align);
}

static void give_memory(const cvr_host *host, void *p) {
    (void)host;
    case_blocks -= p != NULL;
    free(p);
}

static void take_line(const cvr_host *host, uint32_t level, const char *text) {
    const size_t n = strlen(case_log);
    (void)host;
    case_lines += level <= CVR_LOG_WARNING;
    (void)snprintf(case_log + n, sizeof case_log - n, "%s\n", text);
}

static const void *give_service(const cvr_host *host, const char *name) {
    (void)host;
    return strcmp(name, CVR_SERVICE_TUNING) == 0 ? case_tuning : NULL;
}

const cvr_host case_host = {
    .struct_size = sizeof case_host, .log = take_line, .alloc = take_memory, .free = give_memory, .get = give_service};

/* ---- the lab ---- */

static emu_group *group;

static int32_t lab_alloc(void *ctx, uint64_t bytes, void **address, cvr_error *err) {
    (void)ctx;
    if (stand.alloc_most && bytes > stand.alloc_most) return cvr_fail(err, CVR_ERR_NOMEM, "out of device memory");
    *address = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(*address, 0xff, bytes);
    stand.blocks++;
    return CVR_OK;
}

static void lab_free(void *ctx, void *address) {
    (void)ctx;
    stand.blocks--;
    free(address);
}

static int32_t lab_copy(void *ctx, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    (void)ctx, (void)err;
    memcpy(to, from, bytes);
    return CVR_OK;
}

static int32_t lab_run(void *ctx, int32_t (*enqueue)(void *, void *, cvr_error *), void *work, uint32_t repeats,
                       double *seconds, cvr_error *err) {
    (void)ctx;
    stand.runs++;
    if (stand.run_status != CVR_OK) return cvr_fail(err, stand.run_status, "the test says so");
    stand.seconds = stand.own_seconds;
    (void)repeats; /* all runs do the same */
    CVR_TRY(enqueue(work, &stand, err));
    *seconds = stand.seconds;
    return CVR_OK;
}

/* A dispatch runs at once. */
static int32_t run_now(const cvr_recorder *r, const cvr_dispatch *d, cvr_error *err) {
    emu_list list;
    (void)r;
    emu_list_init(&list, &case_host);
    const cvr_recorder inner = emu_recorder(&list, &stand.info);
    int32_t status = inner.dispatch(&inner, d, err);
    if (status == CVR_OK)
        status = emu_list_run(&list, group, &(const emu_settings){.order = EMU_FORWARD, .subgroup = 32}, err);
    emu_list_clear(&list);
    return status;
}

static int32_t fill_now(const cvr_recorder *r, void *to, uint64_t bytes, uint32_t word, cvr_error *err) {
    (void)r, (void)err;
    cr_assert(bytes % 4 == 0 && (uintptr_t)to % 4 == 0, "a fill of what is not made of words");
    for (uint64_t i = 0; i < bytes / 4; i++) ((uint32_t *)to)[i] = word;
    return CVR_OK;
}

static const cvr_recorder *lab_recorder(void *ctx, void *stream) {
    static cvr_recorder r;
    (void)ctx;
    cr_assert_eq(stream, &stand, "the stream is not the one that was given");
    r = (cvr_recorder){.struct_size = sizeof r, .device = &stand.info, .dispatch = run_now, .fill = fill_now};
    return &r;
}

void stand_in_begin(void) {
    cvr_error err = CVR_ERROR_INIT;
    *case_log = 0;
    case_lines = 0;
    stand = (stand_in){
        .lab = {.alloc = lab_alloc,
                .free = lab_free,
                .upload = lab_copy,
                .download = lab_copy,
                .run = lab_run,
                .recorder = lab_recorder},
        .info = {.struct_size = sizeof stand.info, .name = "H100", .driver = "580.1", .uuid = "", .features = ""},
        .own_seconds = 1};
    cr_assert_eq(emu_group_create(&group, &case_host, &err), CVR_OK);
}

void stand_in_end(void) {
    emu_group_destroy(&group);
    cr_expect_eq(stand.blocks, 0);
    cr_expect_eq(case_blocks, 0);
}
