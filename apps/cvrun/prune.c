/* cvrun prune: a network with fewer channels, or with zeros, from a trained run, and what that costs and brings. */
#include "compress_json.h"
#include "cvrun.h"
#include "measured_side.h"
#include "prune_folder.h"
#include "run_folder.h"
#include <math.h>
#include <stdlib.h>

typedef struct pruning_run {
    compress_notes notes;
    measured_side before, untrained, after; /* `untrained`: before it was trained further, where it was */
    prune_folder folder;
    int64_t epochs, steps;
    double lr_factor;
    char method[64], share[64], origin[4096]; /* share: prune.target or prune.amount of each of several steps; "" */
} pruning_run;

/* ---- what came of it ---- */

static void describe(const pruning_run *p, cvr_text *t) {
    cvr_text_add(t, "{\n  \"method\": ");
    cvr_text_add_json(t, p->method);
    cvr_text_add(t, ",\n  \"origin\": ");
    cvr_text_add_json(t, p->origin);
    cvr_text_add(t, ",\n  \"epochs\": %lld, \"steps\": %lld,\n", (long long)p->epochs, (long long)p->steps);
    measured_side_json(t, "before", &p->before);
    cvr_text_add(t, ",\n");
    if (p->epochs) measured_side_json(t, "untrained", &p->untrained);
    if (p->epochs) cvr_text_add(t, ",\n");
    measured_side_json(t, "after", &p->after);
    cvr_text_add(t, ",\n  ");
    compress_notes_json(t, &p->notes);
    cvr_text_add(t, "\n}\n");
}

static int32_t write_json(const pruning_run *p, bool print, cvr_error *err) {
    cvr_text t = {0};
    describe(p, &t);
    return compress_json_write(p->folder.path, &t, print, err);
}

static void print_table(const pruning_run *p) {
    char a[32], b[32];
    measured_sides_print(&p->before, &p->after);
    (void)snprintf(a, sizeof a, "%lld", (long long)p->before.params);
    (void)snprintf(b, sizeof b, "%lld", (long long)p->after.params);
    print_text("%-22s %12s %12s\n", "parameters", a, b);
    for (size_t i = 0; p->epochs && i < p->untrained.metrics.n; i++)
        print_text("before it was trained further: %s %.4f\n", p->untrained.metrics.names[i],
                   p->untrained.metrics.values[i]);
    compress_notes_print(&p->notes);
}

/* ---- the folder of a step ---- */

/* What training in it needs: the weights to start from, and with epochs, how long and how fast. Who prunes the result
 * again says anew how much. */
static int32_t write_config(cvr_session *s, const pruning_run *p, const cvr_compress_result *r, int64_t step,
                            const char *folder, cvr_error *err) {
    const bool first = step == 0, last = step + 1 == p->steps;
    const char *slash = strrchr(p->folder.path, '/');
    char network[64], epochs[32], lr[32];
    cvr_setting instead[MOST_INSTEAD] = {
        {.section = "run", .key = "name", .value = slash ? slash + 1 : p->folder.path},
        {.section = "model", .key = "weights", .value = CVR_PRUNED_WEIGHTS},
        {.section = "prune", .key = "held", .value = r->held},
        {.section = "prune", .key = "epochs", .value = "0"},
        {.section = "prune", .key = "steps", .value = "1"},
    };
    size_t n = 5;
    if (last) instead[n++] = (cvr_setting){.section = "prune", .key = "target", .value = ""};
    if (last) instead[n++] = (cvr_setting){.section = "prune", .key = "amount", .value = "0"};
    (void)snprintf(epochs, sizeof epochs, "%lld", (long long)(p->epochs / p->steps));
    (void)snprintf(lr, sizeof lr, "%.9g", r->lr * p->lr_factor);
    if (p->epochs) instead[n++] = (cvr_setting){.section = "train", .key = "epochs", .value = epochs};
    if (p->epochs && first && r->lr > 0) instead[n++] = (cvr_setting){.section = "optim", .key = "lr", .value = lr};
    CVR_TRY(run_folder_begin(s, folder, instead, n, network, err));
    return run_folder_sync(folder, network, err);
}

/* Prunes the session's network into the folder of a step. */
static int32_t prune_into(pruning_run *p, cvr_session *s, int64_t step, const char *folder, cvr_error *err) {
    cvr_compress_result result;
    const cvr_compress_options o = {.folder = folder, .note = compress_notes_take, .ctx = &p->notes};
    compress_notes_clear(&p->notes);
    CVR_TRY(cvr_session_prune(s, &o, &result, err));
    CVR_TRY(write_config(s, p, &result, step, folder, err));
    (void)snprintf(p->method, sizeof p->method, "%s", result.by);
    return prune_step_write(&p->folder, step, p->method, &p->notes, err);
}

static int32_t train_on(const char *folder, cvr_error *err) {
    const arguments there = {.path = folder};
    const cvr_train_options o = {.folder = folder, .resume = true};
    cvr_train_result result;
    cvr_session *s = NULL;
    int32_t status = try_session(&there, CVR_FOR_TRAINING, &s, err);
    if (status == CVR_OK) status = train_in_folder(s, &o, &result, err);
    cvr_session_close(&s);
    return status;
}

/* As the last step left it, or before that was trained further. */
static int32_t measure_pruned(const pruning_run *p, bool trained, measured_side *to, cvr_error *err) {
    char weights[4200];
    arguments there = {.path = p->folder.path};
    cvr_session *s = NULL;
    (void)snprintf(weights, sizeof weights, "model.weights=%s/" CVR_PRUNED_WEIGHTS, p->folder.path);
    if (!trained) there.settings[there.n_settings++] = weights;
    if (!trained) there.settings[there.n_settings++] = "model.head=keep";
    int32_t status = try_session(&there, CVR_FOR_EVALUATION, &s, err);
    measured_side_clear(to);
    if (status == CVR_OK) status = measure_side(s, p->folder.path, to, err);
    cvr_session_close(&s);
    return status;
}

/* ---- the run that is pruned ---- */

/* Of several steps each leaves the same share of what it finds. Methods without a target take a share of what is left
 * as it is. */
static void share_of_step(pruning_run *p, cvr_session *s) {
    cvr_config *c = cvr_session_config(s);
    char word[16] = "macs";
    double share = 0.5;
    const double amount = strtod(cvr_config_get(c, "prune", "amount", NULL), NULL), each = 1 / (double)p->steps;
    const char *target = cvr_config_get(c, "prune", "target", NULL); /* until the next question */
    if (!target) return;
    const bool given = sscanf(target, "%15[a-z]:%lf", word, &share) == 2;
    if (!given && amount > 0 && amount < 1)
        (void)snprintf(p->share, sizeof p->share, "prune.amount=%.9g", 1 - pow(1 - amount, each));
    else
        (void)snprintf(p->share, sizeof p->share, "prune.target=%s:%.9g", word, pow(share, each));
}

static int32_t read_settings(pruning_run *p, cvr_session *s, cvr_error *err) {
    cvr_config *c = cvr_session_config(s);
    p->epochs = strtoll(cvr_config_get(c, "prune", "epochs", NULL), NULL, 10);
    p->steps = strtoll(cvr_config_get(c, "prune", "steps", NULL), NULL, 10);
    p->lr_factor = strtod(cvr_config_get(c, "prune", "lr_factor", NULL), NULL);
    if (p->epochs % p->steps == 0) return CVR_OK;
    cvr_fail(err, CVR_ERR_USAGE, "prune.epochs = %lld is no multiple of prune.steps = %lld, which train as long each",
             (long long)p->epochs, (long long)p->steps);
    return cvr_config_blame(c, "prune", "epochs", CVR_ERR_USAGE, err);
}

/* For the first step, with the share that it leaves. */
static int32_t open_origin(const arguments *a, pruning_run *p, cvr_session **s, cvr_error *err) {
    arguments each = *a;
    CVR_TRY(try_session(a, CVR_FOR_COMPRESSION | CVR_FOR_PRUNING, s, err));
    CVR_TRY(read_settings(p, *s, err));
    if (p->steps > 1) share_of_step(p, *s);
    if (!*p->share) return CVR_OK;
    if (each.n_settings == sizeof each.settings / sizeof *each.settings)
        return cvr_fail(err, CVR_ERR_USAGE, "too many settings");
    each.settings[each.n_settings++] = p->share;
    cvr_session_close(s);
    return try_session(&each, CVR_FOR_COMPRESSION | CVR_FOR_PRUNING, s, err);
}

/* ---- steps ---- */

/* What the step before it left. */
static int32_t prune_again(pruning_run *p, int64_t step, const char *folder, cvr_error *err) {
    char before[4096];
    arguments there = {.path = before};
    cvr_session *s = NULL;
    CVR_TRY(prune_folder_step(&p->folder, step - 1, p->steps, before, err));
    if (*p->share) there.settings[there.n_settings++] = p->share;
    int32_t status = try_session(&there, CVR_FOR_COMPRESSION | CVR_FOR_PRUNING, &s, err);
    if (status == CVR_OK) status = prune_into(p, s, step, folder, err);
    cvr_session_close(&s);
    if (status != CVR_OK)
        cvr_log(CVR_LOG_INFO, "step %lld of %lld failed; the step before it left %s", (long long)step + 1,
                (long long)p->steps, before);
    return status;
}

/* Interrupted training goes on by this command. */
static int32_t blame_signal(const pruning_run *p, int32_t status, cvr_error *err) {
    if (status == CVR_ERR_INTERRUPTED)
        cvr_fail(err, status, "interrupted, everything is saved; go on with: cvrun prune --resume %s", p->folder.path);
    return status;
}

/* What was done before the command was stopped is not done again. */
static int32_t prune_step(pruning_run *p, cvr_session *origin, int64_t step, cvr_error *err) {
    char folder[4096];
    bool pruned;
    CVR_TRY(prune_folder_step(&p->folder, step, p->steps, folder, err));
    CVR_TRY(prune_step_read(&p->folder, step, &pruned, p->method, &p->notes, err));
    int32_t status = CVR_OK;
    if (!pruned && step) status = prune_again(p, step, folder, err);
    if (!pruned && !step) status = prune_into(p, origin, step, folder, err);
    if (status != CVR_OK && !step) prune_folder_discard(&p->folder, folder);
    CVR_TRY(status);
    if (!p->epochs) return CVR_OK;
    if (step + 1 == p->steps) CVR_TRY(measure_pruned(p, false, &p->untrained, err));
    return blame_signal(p, train_on(folder, err), err);
}

/* ---- the command ---- */

/* The folder: that of --resume, with its words, or that of these words. */
static int32_t take_folder(arguments *a, pruning_run *p, cvr_text *words, cvr_error *err) {
    if (a->resume && a->n_settings)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "%s: --resume goes on with the settings that pruning began with; leave it out", a->settings[0]);
    if (a->resume) CVR_TRY(prune_folder_open(&p->folder, a->resume, a, words, err));
    if (!a->path || !cvr_fs_is_folder(a->path))
        return cvr_fail(err, CVR_ERR_USAGE, "%s is not a run folder; train first: cvrun train",
                        a->path ? a->path : "that");
    char *real = realpath(a->path, NULL);
    (void)snprintf(p->origin, sizeof p->origin, "%s", real ? real : a->path);
    free(real);
    return a->resume ? CVR_OK : prune_folder_words(words, p->origin, a, err);
}

static int32_t prune(const arguments *a, pruning_run *p, const char *words, cvr_error *err) {
    cvr_session *s = NULL;
    int32_t status;
    CVR_TRY_OUT(open_origin(a, p, &s, err));
    CVR_TRY_OUT(measure_side(s, a->path, &p->before, err));
    if (!a->resume) CVR_TRY_OUT(prune_folder_claim(&p->folder, p->origin, words, err));
    CVR_TRY_OUT(prune_step(p, s, 0, err));
    cvr_session_close(&s);
    for (int64_t step = 1; step < p->steps; step++) CVR_TRY_OUT(prune_step(p, NULL, step, err));
    CVR_TRY_OUT(measure_pruned(p, true, &p->after, err));
    status = write_json(p, a->json, err);
out:
    cvr_session_close(&s);
    return status;
}

static int run_prune(const arguments *given) {
    arguments a = *given;
    cvr_error err = CVR_ERROR_INIT;
    pruning_run p = {.folder.lock = -1};
    cvr_text own[sizeof a.settings / sizeof *a.settings] = {{0}}, words = {0};
    int32_t status = take_own_settings(&a, "prune", own, &err);
    if (status == CVR_OK) status = take_folder(&a, &p, &words, &err);
    if (status == CVR_OK) status = prune(&a, &p, words.s, &err);
    if (status == CVR_OK && !a.json) print_table(&p);
    if (status == CVR_OK && !a.json) print_text("%s\n", p.folder.path);
    prune_folder_leave(&p.folder);
    compress_notes_clear(&p.notes);
    measured_side_clear(&p.before);
    measured_side_clear(&p.untrained);
    measured_side_clear(&p.after);
    cvr_text_clear(&words);
    for (size_t i = 0; i < given->n_settings; i++) cvr_text_clear(&own[i]);
    return status == CVR_OK ? EXIT_OK : report_error(&err);
}

const command prune_command = {
    .name = "prune",
    .usage = "RUN_DIR [method=l1] [target=macs:0.5] [key=value ...]",
    .summary = "a network with fewer channels from a trained run",
    .help = "Makes RUN_DIR-pruned, a run like any other, and prints what it costs and brings; the same is in its "
            "compress.json. Keys of [prune] need no section. Stopped anywhere and called again with the same words it "
            "goes on.\n"
            "  cvrun prune RUN_DIR target=macs:0.5 epochs=20\n"
            "      half of the products, and 20 epochs of training with a tenth of the learning rate\n"
            "  cvrun prune RUN_DIR method=l1_unstructured prune.layers=conv1 prune.amount=0.5 remove=yes\n"
            "      weights become zero, as by torch.nn.utils.prune; nothing becomes smaller or faster\n"
            "  cvrun prune --resume RUN_DIR-pruned\n"
            "      the same as with these words\n"
            "`cvrun help compressors` has the methods and their keys.\n",
    .run = run_prune,
    .needs_path = true,
    .resumes = true,
};
