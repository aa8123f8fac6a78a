/*
 * The binary layout of the plugin ABI, field by field. A change here is a change of the ABI: it must be meant, it must
 * follow the rules of docs/abi.md, CVR_ABI_MINOR (cvr/plugin/abi.h) must rise, and tests/golden/abi_offsets.txt must be
 * written anew: run this test with CVR_WRITE_GOLDEN=1. While a minor is in the making, before anybody could build
 * against it, CVR_WRITE_GOLDEN=again writes the table of the same minor anew.
 */
#include "support/golden.h"
#include <criterion/criterion.h>
#include <ctype.h>
#include <cvr/base.h>
#include <cvr/plugin/cuda.h>
#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/idle.h>
#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/anchor_entropy_math.h>
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/attention.h>
#include <cvr/plugin/ops/box_loss_math.h>
#include <cvr/plugin/ops/conv.h>
#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss.h>
#include <cvr/plugin/ops/detect_loss_math.h>
#include <cvr/plugin/ops/detections.h>
#include <cvr/plugin/ops/dropout.h>
#include <cvr/plugin/ops/elementwise.h>
#include <cvr/plugin/ops/image.h>
#include <cvr/plugin/ops/linear.h>
#include <cvr/plugin/ops/loss.h>
#include <cvr/plugin/ops/norm.h>
#include <cvr/plugin/ops/optim.h>
#include <cvr/plugin/ops/peak.h>
#include <cvr/plugin/ops/pool.h>
#include <cvr/plugin/ops/quant.h>
#include <cvr/plugin/ops/resize.h>
#include <cvr/plugin/ops/roi_math.h>
#include <cvr/plugin/ops/shape.h>
#include <cvr/plugin/ops/sim_ota_math.h>
#include <cvr/plugin/ops/stochastic_depth.h>
#include <cvr/plugin/ops/yolo_math.h>
#include <cvr/plugin/stablehlo.h>
#include <cvr/writer.h>
#include <stdlib.h>

typedef struct abi_row {
    const char *type, *field;
    size_t offset, size, whole;
} abi_row;

#define ROW(type, field)                                                                                               \
    { #type, #field, offsetof(type, field), sizeof(((type *)0)->field), sizeof(type) }

/* clang-format off */
static const abi_row rows[] = {
#include "abi_rows_base.h"
#include "abi_rows_graph.h"
#include "abi_rows_data.h"
#include "abi_rows_run.h"
    ROW(cvr_registrar, struct_size),
    ROW(cvr_registrar, ctx),
    ROW(cvr_registrar, add),
    ROW(cvr_node_view, struct_size),
    ROW(cvr_node_view, op),
    ROW(cvr_node_view, attrs),
    ROW(cvr_node_view, attrs_size),
    ROW(cvr_node_view, inputs),
    ROW(cvr_node_view, outputs),
    ROW(cvr_node_view, n_inputs),
    ROW(cvr_node_view, n_outputs),
    ROW(cvr_node_view, backward),
    ROW(cvr_node_view, reserved),
    ROW(cvr_node_view, name),
    ROW(cvr_node_view, scope),
    ROW(cvr_rewriter, struct_size),
    ROW(cvr_rewriter, ctx),
    ROW(cvr_rewriter, host),
    ROW(cvr_rewriter, builder),
    ROW(cvr_rewriter, n_nodes),
    ROW(cvr_rewriter, node),
    ROW(cvr_rewriter, producer),
    ROW(cvr_rewriter, uses),
    ROW(cvr_rewriter, current),
    ROW(cvr_rewriter, keep),
    ROW(cvr_rewriter, drop),
    ROW(cvr_rewriter, enter),
    ROW(cvr_rewriter, replace),
    ROW(cvr_rewriter, attrs),
    ROW(cvr_rewriter, value),
    ROW(cvr_rewriter, output),
    ROW(cvr_pass_desc, struct_size),
    ROW(cvr_pass_desc, name),
    ROW(cvr_pass_desc, doc),
    ROW(cvr_pass_desc, stage),
    ROW(cvr_pass_desc, priority),
    ROW(cvr_pass_desc, flags),
    ROW(cvr_pass_desc, n_attrs),
    ROW(cvr_pass_desc, attrs),
    ROW(cvr_pass_desc, run),
    ROW(cvr_gradient, struct_size),
    ROW(cvr_gradient, name),
    ROW(cvr_gradient, stage),
    ROW(cvr_gradient, param),
    ROW(cvr_gradient, grad),
    ROW(cvr_gradients, struct_size),
    ROW(cvr_gradients, ctx),
    ROW(cvr_gradients, host),
    ROW(cvr_gradients, builder),
    ROW(cvr_gradients, attrs),
    ROW(cvr_gradients, n),
    ROW(cvr_gradients, all),
    ROW(cvr_gradients, replace),
    ROW(cvr_gradients, veto),
    ROW(cvr_gradients, output),
    ROW(cvr_gradient_desc, struct_size),
    ROW(cvr_gradient_desc, name),
    ROW(cvr_gradient_desc, doc),
    ROW(cvr_gradient_desc, n_attrs),
    ROW(cvr_gradient_desc, priority),
    ROW(cvr_gradient_desc, attrs),
    ROW(cvr_gradient_desc, run),
    ROW(cvr_cast_attrs, dtype),
#include "abi_rows_ops.h"
    ROW(cvr_plugin, magic),
    ROW(cvr_plugin, struct_size),
    ROW(cvr_plugin, abi_major),
    ROW(cvr_plugin, abi_minor),
    ROW(cvr_plugin, min_host_minor),
    ROW(cvr_plugin, reserved),
    ROW(cvr_plugin, id),
    ROW(cvr_plugin, version),
    ROW(cvr_plugin, sanitizer),
    ROW(cvr_plugin, requires_),
    ROW(cvr_plugin, load),
    ROW(cvr_plugin, shutdown),
    ROW(cvr_counts_trait, struct_size),
    ROW(cvr_counts_trait, honours),
    ROW(cvr_counts_trait, padded),
};
/* clang-format on */
#define N_ROWS (sizeof rows / sizeof *rows)

/* Every struct is listed whole: each field begins where the one before ends, and the last ends with the struct. */
Test(abi, has_no_padding_and_is_listed_whole) {
    for (size_t i = 0; i < N_ROWS; i++) {
        const bool first = i == 0 || strcmp(rows[i - 1].type, rows[i].type) != 0;
        const bool last = i + 1 == N_ROWS || strcmp(rows[i + 1].type, rows[i].type) != 0;
        const size_t begins = first ? 0 : rows[i - 1].offset + rows[i - 1].size;
        cr_assert_eq(rows[i].offset, begins, "%s.%s begins at %zu, not %zu", rows[i].type, rows[i].field,
                     rows[i].offset, begins);
        if (last)
            cr_assert_eq(rows[i].offset + rows[i].size, rows[i].whole, "%s has a tail that is not listed",
                         rows[i].type);
    }
}

static bool is_listed(const char *type, size_t n) {
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strncmp(rows[i].type, type, n) == 0 && rows[i].type[n] == '\0') return true;
    }
    return false;
}

/* What headers have for those who write plugins, and no call passes on. */
static bool is_private(const char *type, size_t n) {
    static const char *const all[] = {"cvr_shape_text", "cvr_window", "cvr_batch_mix", "cvr_reference_op"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strlen(all[i]) == n && strncmp(all[i], type, n) == 0) return true;
    }
    return false;
}

/* Structs end in a line `} NAME;`. */
static size_t unlisted_in(const char *path) {
    uint8_t *bytes;
    uint64_t size;
    cvr_error err;
    size_t missing = 0;
    cvr_error_init(&err);
    cr_assert_eq(cvr_fs_read(path, 1u << 20, &bytes, &size, &err), CVR_OK, "%s: %s", path, err.message);
    for (const char *at = strstr((const char *)bytes, "\n} "); at; at = strstr(at + 1, "\n} ")) {
        size_t n = 0;
        while (isalnum((unsigned char)at[3 + n]) || at[3 + n] == '_') n++;
        if (at[3 + n] != ';' || is_listed(at + 3, n) || is_private(at + 3, n)) continue;
        cr_log_error("%s: %.*s has no row in tests/core/abi_rows_*.h", path, (int)n, at + 3);
        missing++;
    }
    cvr_free(bytes);
    return missing;
}

Test(abi, every_public_struct_is_in_the_table) {
    static const char *const folders[] = {CVR_TEST_DIR "/../core/include/cvr/plugin",
                                          CVR_TEST_DIR "/../layers/include/cvr/plugin/ops"};
    size_t missing = unlisted_in(CVR_TEST_DIR "/../plugins/include/cvr/plugin/formats/onnx.h");
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        size_t n;
        char **paths = files_like(folders[f], "", ".h", &n);
        cr_assert_gt(n, 0, "no headers in %s", folders[f]);
        for (size_t i = 0; i < n; i++) {
            missing += unlisted_in(paths[i]);
            free(paths[i]);
        }
        free(paths);
    }
    cr_assert_eq(missing, 0, "%zu structs are not in the table", missing);
}

static char *table_now(void) {
    cvr_text now = {0};
    cvr_text_add(&now, "ABI %u.%u\n", CVR_ABI_MAJOR, CVR_ABI_MINOR);
    for (size_t i = 0; i < N_ROWS; i++)
        cvr_text_add(&now, "%s.%s %zu %zu\n", rows[i].type, rows[i].field, rows[i].offset, rows[i].size);
    cr_assert(!now.failed);
    return now.s;
}

/* The first line of a table is its version. */
static bool same_version(const char *a, const char *b) {
    const size_t n = strcspn(a, "\n");
    return n == strcspn(b, "\n") && strncmp(a, b, n) == 0;
}

Test(abi, has_not_changed_by_accident) {
    static const char path[] = CVR_GOLDEN_DIR "/abi_offsets.txt";
    const char *write = getenv("CVR_WRITE_GOLDEN");
    char *now = table_now();
    uint8_t *golden = NULL;
    uint64_t n = 0;
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_eq(cvr_fs_read(path, 1u << 20, &golden, &n, &err), CVR_OK, "%s", err.message);
    const bool changed = strcmp((const char *)golden, now) != 0, same = same_version((const char *)golden, now);
    const bool may_write = write && (!same || strcmp(write, "again") == 0);
    if (changed && may_write) {
        cr_assert_eq(cvr_fs_write(path, now, strlen(now), &err), CVR_OK, "%s", err.message);
    } else if (changed && same) {
        cr_assert_fail("the ABI's layout is no longer that of %.*s: raise CVR_ABI_MINOR in cvr/plugin/abi.h, then run "
                       "abi_test with CVR_WRITE_GOLDEN=1 (docs/abi.md)",
                       (int)strcspn(now, "\n"), now);
    } else {
        cr_assert(!changed,
                  "the table of tests/golden/abi_offsets.txt is that of %.*s, the headers are %.*s: run "
                  "abi_test with CVR_WRITE_GOLDEN=1 (docs/abi.md)",
                  (int)strcspn((const char *)golden, "\n"), (const char *)golden, (int)strcspn(now, "\n"), now);
    }
    cvr_free(golden);
    cvr_free(now);
}
