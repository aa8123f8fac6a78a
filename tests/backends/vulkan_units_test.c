/* What of the backend `vulkan` needs no device: barriers, the look at modules of SPIR-V, the pipeline cache's header.
 */
#include "vulkan/vulkan_barriers.h"
#include "vulkan/vulkan_pipelines.h"
#include "vulkan/vulkan_spirv.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- barriers ---- */

#define LAUNCHES 40
#define COMMANDS 80
#define TOUCHES 3

typedef struct made_up {
    cvr_range ranges[LAUNCHES][TOUCHES];
    const cvr_range *touches[LAUNCHES][TOUCHES];
    cvr_launch launches[LAUNCHES];
    const cvr_launch *list[LAUNCHES];
    vulkan_order order[COMMANDS];
} made_up;

static uint32_t next(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

/* Launches that read and write at random within `room` bytes, two commands each, of which some are concurrent. */
static void make_up(made_up *m, uint64_t seed, uint32_t room) {
    memset(m, 0, sizeof *m);
    for (uint64_t i = 0; i < LAUNCHES; i++) {
        for (int k = 0; k < TOUCHES; k++) {
            m->ranges[i][k] = (cvr_range){.struct_size = sizeof(cvr_range),
                                          .address = (void *)(uintptr_t)(4096 + next(&seed) % room * 64),
                                          .bytes = 64 + next(&seed) % 3 * 64,
                                          .flags = next(&seed) % 3 ? CVR_RANGE_READ : CVR_RANGE_WRITE};
            m->touches[i][k] = &m->ranges[i][k];
        }
        m->launches[i] = (cvr_launch){
            .struct_size = sizeof(cvr_launch), .name = "node", .touches = m->touches[i], .n_touches = TOUCHES};
        m->list[i] = &m->launches[i];
    }
    for (uint64_t c = 0; c < COMMANDS; c++)
        m->order[c] = (vulkan_order){.launch = c / 2, .concurrent = c % 2 && next(&seed) % 2};
}

static uint64_t count(const made_up *m) {
    uint64_t n = 0;
    for (int i = 0; i < COMMANDS; i++) n += m->order[i].barrier != 0;
    return n;
}

/* The checker is content with what is placed, and with none of the barriers gone. */
Test(vulkan_units, each_barrier_that_is_dropped_is_missed) {
    static made_up m;
    uint64_t dropped = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        cvr_error err = CVR_ERROR_INIT;
        make_up(&m, seed, seed % 2 ? 40 : 4000);
        vulkan_barriers_place(m.order, COMMANDS, m.list);
        const uint64_t n = count(&m);
        cr_assert_eq(vulkan_barriers_check(m.order, COMMANDS, m.list, &err), CVR_OK, "%s", err.message);
        for (uint64_t k = 1; k <= n; k++) {
            vulkan_barriers_place(m.order, COMMANDS, m.list);
            cr_assert(vulkan_barriers_drop(m.order, COMMANDS, k));
            cr_assert_eq(vulkan_barriers_check(m.order, COMMANDS, m.list, &err), CVR_ERR_PLUGIN,
                         "seed %llu: barrier %llu of %llu is not missed", (unsigned long long)seed,
                         (unsigned long long)k, (unsigned long long)n);
            dropped++;
        }
        cr_assert_not(vulkan_barriers_drop(m.order, COMMANDS, n + 1));
        vulkan_barriers_all(m.order, COMMANDS);
        cr_assert_eq(vulkan_barriers_check(m.order, COMMANDS, m.list, &err), CVR_OK);
    }
    cr_expect_gt(dropped, 500, "only %llu barriers", (unsigned long long)dropped);
}

/* Launches that share nothing, or only read the same, wait for nobody. */
Test(vulkan_units, no_barrier_where_ranges_do_not_meet) {
    static made_up m;
    make_up(&m, 1, 40);
    for (int i = 0; i < LAUNCHES; i++)
        for (int k = 0; k < TOUCHES; k++) {
            m.ranges[i][k].bytes = 64;
            m.ranges[i][k].flags = k ? CVR_RANGE_READ : CVR_RANGE_WRITE;
            m.ranges[i][k].address = (void *)(uintptr_t)(k ? 64 : 4096 + 64 * (uintptr_t)i);
        }
    for (uint64_t c = 0; c < COMMANDS; c++) m.order[c].concurrent = c % 2 != 0;
    vulkan_barriers_place(m.order, COMMANDS, m.list);
    cr_expect_eq(count(&m), 0);
}

/* ---- modules ---- */

extern const cvr_code device_code_copy;
static const uint32_t threads[3] = {256, 1, 1};

static void refuses(const cvr_code *code, const char *entry, const uint32_t *of, const char *says) {
    cvr_error err = CVR_ERROR_INIT;
    cr_expect_neq(vulkan_spirv_check(code, entry, of, "", &err), CVR_OK, "%s", says);
    cr_expect(strstr(err.message, says), "`%s` lacks `%s`", err.message, says);
}

Test(vulkan_units, looks_at_modules) {
    const cvr_code *good = &device_code_copy;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(vulkan_spirv_check(good, "copy", threads, "", &err), CVR_OK, "%s", err.message);
    refuses(good, "cop", threads, "no compute entry `cop`");
    refuses(good, "copying", threads, "no compute entry");
    refuses(good, "copy", (const uint32_t[3]){128, 1, 1}, "256 threads along axis 0, the dispatch says 128");
    refuses(&(const cvr_code){sizeof(cvr_code), good->bytes, good->n_bytes - 1}, "copy", threads, "no module");
    refuses(&(const cvr_code){sizeof(cvr_code), good->bytes, 16}, "copy", threads, "no module");
    refuses(&(const cvr_code){sizeof(cvr_code), (const char *)good->bytes + 4, good->n_bytes - 4}, "copy", threads,
            "no module");
    for (uint64_t n = 20; n < 80; n += 4) /* all of these end before the entry */
        cr_expect_neq(
            vulkan_spirv_check(&(const cvr_code){sizeof(cvr_code), good->bytes, n}, "copy", threads, "", &err), CVR_OK,
            "%llu bytes are enough", (unsigned long long)n);
}

/* Capabilities that have to be asked for go by the device's words. */
Test(vulkan_units, capabilities_go_by_the_devices_words) {
    uint32_t words[64] = {0x07230203, 0x00010600, 0, 100, 0};
    const cvr_code code = {sizeof code, words, 5 * 4 + 2 * 4 + 5 * 4 + 6 * 4};
    cvr_error err = CVR_ERROR_INIT;
    const uint32_t rest[] = {
        2 << 16 | 17, 10 /* Float64 */, 5 << 16 | 15, 5, 1, 0x6E69616D /* main */, 0, 6 << 16 | 16, 1, 17, 256, 1, 1};
    memcpy(words + 5, rest, sizeof rest);
    cr_expect_eq(vulkan_spirv_check(&code, "main", threads, "f16 f64 i64", &err), CVR_OK, "%s", err.message);
    refuses(&code, "main", threads, "capability Float64, which the device lacks; say isa \"f64\"");
    words[6] = 5000;
    refuses(&code, "main", threads, "capability 5000");
    words[5] = 17; /* an instruction of no words */
    refuses(&code, "main", threads, "damaged at word 5");
    words[5] = 60000u << 16 | 17;
    refuses(&code, "main", threads, "damaged at word 5");
}

/* ---- the library ---- */

Test(vulkan_units, a_machine_without_the_library_gets_a_line) {
    vulkan_table t;
    cvr_error err = CVR_ERROR_INIT;
    cr_expect_eq(vulkan_table_load(&t, "libvulkan_nowhere.so.1", &err), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(err.message,
                     "libvulkan_nowhere.so.1 cannot be loaded (libvulkan_nowhere.so.1: cannot open shared object file"),
              "%s", err.message);
    cr_expect_eq(vulkan_table_load(&t, "libm.so.6", &err), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(err.message, "libm.so.6 has no vkGetInstanceProcAddr"), "%s", err.message);
    cr_expect_eq(vulkan_status(VK_ERROR_DEVICE_LOST), CVR_ERR_DEVICE);
    cr_expect_eq(vulkan_status(VK_ERROR_OUT_OF_DEVICE_MEMORY), CVR_ERR_NOMEM);
}

/* ---- the cache ---- */

Test(vulkan_units, a_cache_is_of_this_driver_or_none) {
    uint8_t bytes[48] = {0}, uuid[VK_UUID_SIZE];
    const uint32_t words[4] = {32, 1, 7, 9};
    for (uint8_t i = 0; i < VK_UUID_SIZE; i++) uuid[i] = (uint8_t)(i * 3);
    memcpy(bytes, words, sizeof words);
    memcpy(bytes + 16, uuid, sizeof uuid);
    cr_expect(vulkan_cache_fits(bytes, sizeof bytes, 7, 9, uuid));
    cr_expect_not(vulkan_cache_fits(bytes, 31, 7, 9, uuid));
    cr_expect_not(vulkan_cache_fits(bytes, 0, 7, 9, uuid));
    cr_expect_not(vulkan_cache_fits(bytes, sizeof bytes, 8, 9, uuid));
    for (int i = 0; i < 32; i++) {
        bytes[i] ^= 1;
        cr_expect_not(vulkan_cache_fits(bytes, sizeof bytes, 7, 9, uuid), "byte %d", i);
        bytes[i] ^= 1;
    }
}
