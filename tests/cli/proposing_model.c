/*
 * acme.toy: a network that proposes the settings that it is used with, and whose networks may be files.
 * proposals_test.sh reads what becomes of them; MISTAKE in the environment makes it propose what it may not.
 */
#include <cvr/plugin/plugin.h>
#include <stdlib.h>

static int is(const char *mistake) {
    const char *said = getenv("MISTAKE");
    return said && strcmp(said, mistake) == 0;
}

typedef struct toy_attrs {
    const char *toy;
    int64_t width;
} toy_attrs;

static const cvr_attr_desc toy = CVR_ATTR_INIT(PATH, "toy", "", "file of the network");
static const cvr_attr_desc width = CVR_ATTR_INIT(INT, "width", "3", "channels");
static const cvr_attr_desc *const attrs[] = {&toy, &width};

static int32_t toy_proposes(const void *attributes, cvr_propose_fn each, void *ctx, cvr_error *err) {
    static const char *const all[][2] = {{"run.task", "classify"},
                                         {"data.img_size", "48"},
                                         {"data.mean", "0.5"},
                                         {"augment.random_horizontal_flip", "p=0.25"},
                                         {"augment.random_rotation", "10"},
                                         {"augment.random_rotation", "20"},
                                         {"optim.name", "adamw"},
                                         {"optim.lr", "0.02"},
                                         {"optim.weight_decay", "0.125"},
                                         {"sched.name", "cosine"},
                                         {"sched.warmup_epochs", "2"},
                                         {"val.interval", "2"}};
    const toy_attrs *const a = attributes;
    char epochs[32];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) CVR_TRY(each(ctx, all[i][0], all[i][1], err));
    if (is("section")) CVR_TRY(each(ctx, "backend.name", "reference", err));
    if (is("run")) CVR_TRY(each(ctx, "run.seed", "1", err));
    if (is("remark")) CVR_TRY(each(ctx, "", "a toy's third line does nothing", err));
    if (is("key")) CVR_TRY(each(ctx, "train.epoch", "1", err));
    if (is("form")) CVR_TRY(each(ctx, "epochs", "1", err));
    if (is("value")) CVR_TRY(each(ctx, "train.grad_accum", "many", err));
    if (is("fails")) return cvr_fail_at(err, a->toy, 3, cvr_fail(err, CVR_ERR_FORMAT, "no layer of that name"));
    (void)snprintf(epochs, sizeof epochs, "%lld", (long long)a->width);
    return each(ctx, "train.epochs", epochs, err);
}

static int32_t toy_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    (void)b, (void)args, (void)io;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a toy is not built");
}

static const cvr_model_desc toy_model = {
    sizeof toy_model, "acme.toy", "a toy", 2, 0, attrs, toy_build, NULL, NULL, NULL, NULL, 0, 0, toy_proposes, "toy"};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &toy_model, err);
}

CVR_DEFINE_PLUGIN("acme.toy", "1.0.0", "", load)
