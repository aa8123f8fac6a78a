/*
 * What cuDNN's own planner says of ResNet-50's convolutions, on devices that are only described: for each of them a
 * plan that a run may use, or it is known that the device kernel computes. See golden/cudnn/README.md.
 */
#include "cudnn_case.h"

#include "cuda/cudnn_plan.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* All different convolutions of ResNet-50 (version 1.5: the stride is in the 3x3 one), 64 pictures of 224 x 224. */
static const conv_case convs[] = {
    {64, 3, 224, 64, 7, 2, 3, 1},    {64, 64, 56, 64, 1, 1, 0, 1},     {64, 64, 56, 64, 3, 1, 1, 1},
    {64, 64, 56, 256, 1, 1, 0, 1},   {64, 256, 56, 64, 1, 1, 0, 1},    {64, 256, 56, 128, 1, 1, 0, 1},
    {64, 128, 56, 128, 3, 2, 1, 1},  {64, 256, 56, 512, 1, 2, 0, 1},   {64, 128, 28, 512, 1, 1, 0, 1},
    {64, 512, 28, 128, 1, 1, 0, 1},  {64, 128, 28, 128, 3, 1, 1, 1},   {64, 512, 28, 256, 1, 1, 0, 1},
    {64, 256, 28, 256, 3, 2, 1, 1},  {64, 512, 28, 1024, 1, 2, 0, 1},  {64, 256, 14, 1024, 1, 1, 0, 1},
    {64, 1024, 14, 256, 1, 1, 0, 1}, {64, 256, 14, 256, 3, 1, 1, 1},   {64, 1024, 14, 512, 1, 1, 0, 1},
    {64, 512, 14, 512, 3, 2, 1, 1},  {64, 1024, 14, 2048, 1, 2, 0, 1}, {64, 512, 7, 2048, 1, 1, 0, 1},
    {64, 2048, 7, 512, 1, 1, 0, 1},  {64, 512, 7, 512, 3, 1, 1, 1}};
#define CONVS (sizeof convs / sizeof *convs)

static const char *const devices[] = {"h100", "a100", "rtx4090", "b200"};
static const uint32_t types[] = {CVR_F16, CVR_BF16, CVR_F32};

/* The first plan of an offer, as a line of the table. Every plan is held to the budget. */
static void add_line(FILE *to, const described *d, const conv_case *c, int pass, uint32_t dtype, uint32_t *planned) {
    conv_node n;
    library_offer offer = {.n = 0};
    cvr_error err = CVR_ERROR_INIT;
    make_conv_node(&n, c, pass, dtype, CVR_MATH_F32, &d->info);
    cr_assert_eq(n.node.op->takes(&n.sig, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cudnn_library.offer(d->library.self, &n.node, &offer, &err), CVR_OK, "%s", err.message);
    fprintf(to, "%s %s %s %lldx%lld %lld->%lld %lldx%lld/%lld: ", d->info.name, cvr_dtype_name(dtype), pass_names[pass],
            (long long)c->size, (long long)c->size, (long long)c->channels, (long long)c->filters, (long long)c->window,
            (long long)c->window, (long long)c->stride);
    if (offer.n)
        fprintf(to, "%s, %llu\n", offer.candidates[0].name, (unsigned long long)offer.candidates[0].workspace);
    else
        fprintf(to, "device kernel\n");
    *planned += offer.n > 0;
    for (uint32_t i = 0; i < offer.n; i++) {
        cr_assert_leq(offer.candidates[i].workspace, LIBRARY_WORKSPACE);
        cudnn_library.release(d->library.self, offer.candidates[i].plan);
    }
}

/* The stem by a form that pads, on an H100: there are plans, and the first one uses tensor cores. */
static void plan_padded_stem(const cudnn_target *target, uint32_t dtype, int pass, uint32_t number) {
    conv_node n;
    cudnn_plans plans;
    cvr_error err = CVR_ERROR_INIT;
    make_conv_node(&n, &convs[0], pass, dtype, CVR_MATH_F32, NULL);
    const cudnn_op *op = (const cudnn_op *)n.node.op;
    cudnn_form form = {.pads = op->pads(&n.sig)};
    cr_assert(form.pads);
    op->forms[number](&n.sig, &form);
    const cudnn_wish wish = {.most = LIBRARY_WORKSPACE - form.scratch, .room = 2};
    cr_assert_eq(cudnn_plans_make(target, &form.graph, &wish, &plans, &err), CVR_OK, "%s", err.message);
    cr_assert_gt(plans.n, 0, "%s", plans.reason);
    cr_expect(plans.list[0].notes >> CUDNN_NUMERICAL_NOTE_TENSOR_CORE & 1, "%s", plans.list[0].name);
    for (uint32_t i = 0; i < plans.n; i++) cudnn_plan_free(target, &plans.list[i]);
}

/* The whole table of this version of cuDNN. */
static char *make_table(char version[32]) {
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    cr_assert(to);
    for (size_t k = 0; k < sizeof devices / sizeof *devices; k++) {
        described d;
        uint32_t planned = 0;
        open_described(&d, devices[k]);
        (void)snprintf(version, 32, "%s", cudnn_library.version(d.library.self) + strlen("cudnn "));
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            for (size_t i = 0; i < CONVS; i++)
                for (int pass = 0; pass < PASSES; pass++) add_line(to, &d, &convs[i], pass, types[t], &planned);
        cr_assert_gt(planned, 3 * CONVS * PASSES * 3 / 4, "%s: %u plans", devices[k], planned);
        close_described(&d);
    }
    cr_assert_eq(fclose(to), 0);
    return text;
}

/* Names the first line that differs. */
static void compare(const char *want, const char *have) {
    for (uint32_t line = 1; *want && *have; line++) {
        const size_t n = strcspn(want, "\n"), m = strcspn(have, "\n");
        cr_assert(n == m && memcmp(want, have, n) == 0, "line %u: was\n%.*s\nis\n%.*s", line, (int)n, want, (int)m,
                  have);
        want += n + (want[n] != 0);
        have += m + (have[m] != 0);
    }
    cr_assert(!*want && !*have, "another number of lines");
}

Test(cudnn_plans, resnet50_is_planned_as_ever) {
    char version[32], path[600], *table;
    const char *write = getenv("CVR_WRITE_GOLDEN");
    if (!has_cudnn()) return;
    table = make_table(version);
    cr_assert_eq(case_blocks, 0);
    (void)snprintf(path, sizeof path, "%s/cudnn/plans-%s.txt", CVR_GOLDEN_DIR, version);
    FILE *f = fopen(path, write ? "w" : "r");
    if (write) {
        cr_assert(f && fputs(table, f) >= 0, "%s cannot be written", path);
    } else if (f) {
        const size_t room = strlen(table) * 2 + 1;
        char *want = calloc(1, room);
        cr_assert(want);
        (void)fread(want, 1, room - 1, f);
        compare(want, table);
        free(want);
    } else {
        fprintf(stderr, "there is no table for cuDNN %s: the choices are not compared (golden/cudnn/README.md)\n",
                version);
    }
    if (f) (void)fclose(f);
    free(table);
}

/* A picture of three channels, padded to four: a deterministic plan on tensor cores in each 16-bit type and pass. */
Test(cudnn_plans, padded_stem_has_plans_on_tensor_cores) {
    described d;
    cvr_error err = CVR_ERROR_INIT;
    cudnn_owned owned = {.n = 0};
    cudnn_target target = {NULL, NULL, NULL};
    if (!has_cudnn()) return;
    open_described(&d, "h100");
    target.table = cudnn_table_open(&err);
    cr_assert_eq(
        CUDNN_MAKE(&target, &owned, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &target.described, &err,
                   {CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(d.json), d.json}),
        CVR_OK, "%s", err.message);
    for (size_t t = 0; t < 2; t++) {
        for (int pass = PASS_FORWARD; pass < PASSES; pass += PASS_WEIGHT - PASS_FORWARD) {
            const uint32_t form = pass == PASS_FORWARD ? 1 : 0; /* without the one for a bias */
            plan_padded_stem(&target, types[t], pass, form);
        }
    }
    cudnn_release(&target, &owned);
    close_described(&d);
}
