/*
 * Networks without some of their channels give what they give where the weights of these channels are zero: models of
 * every kind are traced, half of the units of every group go by chance, residual streams and heads too, and both
 * networks run on the same picture. Groups whose norms count channels are left, as zero and gone differ there.
 */
#include <criterion/criterion.h>
#include <cvr/plugin/rng.h>
#include <cvr/program.h>
#include <math.h>
#include <stdlib.h>

static cvr_error err;

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", err.message);
}

typedef struct narrow_case {
    const char *model, *settings;
    int64_t side;
    size_t groups;   /* at least so many lose units */
    double products; /* about so many of the weights are left, at most */
} narrow_case;

typedef struct network {
    cvr_store *store;
    cvr_graph *graph;
    cvr_program *program;
    cvr_arena *arena;
} network;

typedef struct narrow_subject {
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    cvr_device *device;
    const narrow_case *c;
    cvr_graph *trace;
    cvr_channels *channels;
    network whole, narrow;
} narrow_subject;

/* A graph with its inputs. */
static cvr_graph *begin(const narrow_subject *s, cvr_store *store) {
    const int64_t shape[4] = {2, 3, s->c->side, s->c->side}, size[2] = {2, 2};
    cvr_graph *g;
    cvr_value v;
    cvr_type t;
    good(cvr_graph_create(&g, s->plugins, store, false, &err));
    cvr_type_set(&t, CVR_F32, 4, shape);
    good(cvr_graph_input(g, "image", &t, &v, &err));
    cvr_type_set(&t, CVR_F32, 2, size);
    good(cvr_graph_input(g, "image_size", &t, &v, &err));
    return g;
}

static void build(const narrow_subject *s, cvr_graph *g) {
    const void *desc;
    void *attrs;
    good(cvr_plugins_find(s->plugins, CVR_KIND_MODEL, s->c->model, &desc, &err));
    const cvr_model_desc *model = desc;
    const cvr_schema schema = {model->attrs, model->n_attrs};
    good(cvr_attrs_parse(&schema, s->c->settings, NULL, s->c->model, &attrs, &err));
    const cvr_model_args args = {sizeof args, attrs, 10, 3};
    good(model->build(cvr_graph_builder(g), &args, cvr_graph_io(g), &err));
    cvr_free(attrs);
}

static void plan(const narrow_subject *s, network *n) {
    good(cvr_store_place(n->store, s->device, &err));
    good(cvr_program_plan(&n->program, n->graph, s->device, s->pool, CVR_FALLBACK_ALLOW, &err));
    good(cvr_store_place(n->store, s->device, &err));
    good(cvr_arena_create(&n->arena, s->device, &n->program, 1, 0, &err));
    good(cvr_program_bind(n->program, n->arena, &err));
}

static void run(const narrow_subject *s, const network *n) {
    const size_t count = (size_t)(2 * 3 * s->c->side * s->c->side);
    float *image = malloc(count * sizeof *image),
          size[4] = {(float)s->c->side, (float)s->c->side, (float)s->c->side, (float)s->c->side};
    cvr_rng rng;
    cvr_rng_start(&rng, 1, 2);
    for (size_t i = 0; i < count; i++) image[i] = (float)cvr_rng_normal(&rng);
    good(cvr_program_write(n->program, cvr_program_slot(n->program, "image"), image, &err));
    if (cvr_program_slot(n->program, "image_size") >= 0)
        good(cvr_program_write(n->program, cvr_program_slot(n->program, "image_size"), size, &err));
    good(cvr_program_run(n->program, &err));
    good(cvr_program_wait(n->program, &err));
    free(image);
}

/* ---- weights ---- */

/* Numbers that a trained network could have: what a norm starts with would hide mistakes. */
static void fill(const narrow_subject *s) {
    cvr_store *store = s->whole.store;
    for (size_t i = 0; i < cvr_store_count(store); i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        const bool norm = e->flags & CVR_PARAM_NORM, statistics = e->role == CVR_STORE_BUFFER;
        cvr_rng rng;
        if (e->type.dtype != CVR_F32 || !(norm || statistics || (e->flags & CVR_PARAM_BIAS))) continue;
        float *x = malloc(e->bytes + 4);
        cvr_rng_start(&rng, 3, cvr_hash(e->name));
        for (size_t k = 0; k < e->bytes / 4; k++)
            x[k] = (float)((e->flags & CVR_PARAM_BIAS ? -0.2 : 0.7) + 0.5 * cvr_rng_uniform(&rng));
        good(cvr_store_write(store, i, x, &err));
        free(x);
    }
}

/* Sets to zero what belongs to units that go. */
static void mask(const narrow_subject *s, const cvr_channel_group *g, const uint8_t *units) {
    for (uint64_t m = 0; m < g->n_members; m++) {
        const cvr_channel_member *of = g->members[m];
        const int64_t at = cvr_store_find(s->whole.store, of->param);
        const cvr_store_entry *e = at < 0 ? NULL : cvr_store_get(s->whole.store, (size_t)at);
        if (!e || e->role == CVR_STORE_BUFFER || e->type.dtype != CVR_F32) continue;
        float *x = malloc(e->bytes + 4);
        good(cvr_store_read(s->whole.store, (size_t)at, x, &err));
        int64_t outer = 1, inner = 1;
        for (uint32_t i = 0; i < of->axis; i++) outer *= e->type.shape[i];
        for (uint32_t i = of->axis + 1; i < e->type.rank; i++) inner *= e->type.shape[i];
        for (uint64_t u = 0; u < g->units; u++)
            for (uint64_t k = 0; k < of->each && units[u]; k++)
                for (int64_t o = 0; o < outer; o++)
                    for (int64_t i = 0; i < inner; i++)
                        x[(o * e->type.shape[of->axis] + of->elements[u * of->each + k]) * inner + i] = 0;
        good(cvr_store_write(s->whole.store, (size_t)at, x, &err));
        free(x);
    }
}

/* About half of each group. */
static void choose(const narrow_subject *s) {
    const cvr_channel_group *const *groups;
    size_t n, at = 0, lost = 0;
    good(cvr_channels_view(s->channels, &groups, &n, &err));
    for (size_t i = 0; i < n; i++) at += groups[i]->units;
    uint8_t *units = calloc(at + 1, 1);
    at = 0;
    for (size_t i = 0; i < n; at += groups[i++]->units) {
        cvr_rng rng;
        cvr_rng_start(&rng, 5, cvr_hash(groups[i]->name) + i);
        lost += !(groups[i]->flags & CVR_CHANNELS_STATISTICS);
        for (uint64_t u = 0; u + 1 < groups[i]->units && !(groups[i]->flags & CVR_CHANNELS_STATISTICS); u++)
            units[at + u] = cvr_rng_uniform(&rng) < 0.5;
        mask(s, groups[i], units + at);
    }
    cr_expect_geq(lost, s->c->groups, "%s: only %zu groups lose channels", s->c->model, lost);
    good(cvr_channels_remove(s->channels, units, &err));
    free(units);
}

/* What is left of the masked network's weights. */
static void cut(const narrow_subject *s) {
    for (size_t i = 0; i < cvr_store_count(s->narrow.store); i++) {
        const cvr_store_entry *e = cvr_store_get(s->narrow.store, i);
        const int64_t at = cvr_store_find(s->whole.store, e->name);
        cr_assert_geq(at, 0, "%s", e->name);
        const cvr_store_entry *from = cvr_store_get(s->whole.store, (size_t)at);
        char *x = malloc(from->bytes + 8), *y = malloc(from->bytes + 8);
        good(cvr_store_read(s->whole.store, (size_t)at, x, &err));
        cr_assert(cvr_channels_cut(s->channels, e->name, x, y));
        good(cvr_store_write(s->narrow.store, i, y, &err));
        free(x);
        free(y);
    }
}

static double weights_of(const cvr_store *store) {
    double n = 0;
    for (size_t i = 0; i < cvr_store_count(store); i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        if (e->role == CVR_STORE_TRAINED) n += (double)cvr_numel(e->type.rank, e->type.shape);
    }
    return n;
}

/* ---- both ---- */

/* The widths as a config has them, read back for another trace, and the network built by them. */
static void build_narrow(narrow_subject *s) {
    cvr_text lines = {0};
    cvr_graph *trace;
    cvr_channels *channels;
    s->narrow.graph = begin(s, s->narrow.store);
    good(cvr_graph_trace(&trace, s->narrow.graph, &err));
    build(s, trace);
    good(cvr_channels_create(&channels, trace, &err));
    cvr_channels_write(s->channels, &lines);
    for (char *save = NULL, *line = strtok_r(lines.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        good(cvr_channels_read(channels, line, &err));
    good(cvr_graph_narrow(s->narrow.graph, trace, channels, &err));
    cvr_text_clear(&lines);
    cvr_channels_destroy(&channels);
    cvr_graph_destroy(&trace);
}

static void compare(const narrow_subject *s) {
    const cvr_io *io = cvr_graph_io(s->whole.graph);
    const cvr_io_output *o;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        const int32_t a = cvr_program_slot(s->whole.program, o->name), b = cvr_program_slot(s->narrow.program, o->name);
        if (o->role != CVR_ROLE_RESULT) continue;
        const cvr_type *t = cvr_program_slot_type(s->whole.program, a);
        const int64_t n = cvr_numel(t->rank, t->shape);
        float *x = malloc((size_t)n * 8), *y = malloc((size_t)n * 8);
        double most = 0, largest = 0;
        good(cvr_program_read(s->whole.program, a, x, &err));
        good(cvr_program_read(s->narrow.program, b, y, &err));
        if (t->dtype != CVR_F32) cr_expect_arr_eq(x, y, (size_t)n * cvr_dtype_size(t->dtype), "%s", o->name);
        for (int64_t k = 0; k < n && t->dtype == CVR_F32; k++) {
            most = fmax(most, fabs((double)x[k] - (double)y[k]));
            largest = fmax(largest, fabs((double)x[k]));
        }
        cr_expect(t->dtype != CVR_F32 || (largest > 0 && most <= 2e-5 * largest), "%s: %s differs by %g of %g",
                  s->c->model, o->name, most, largest);
        free(x);
        free(y);
    }
}

static void leave(network *n) {
    cvr_program_destroy(&n->program);
    cvr_arena_destroy(&n->arena);
    cvr_graph_destroy(&n->graph);
    cvr_store_destroy(&n->store);
}

static void check(const narrow_case *c) {
    narrow_subject s = {.c = c};
    cvr_error_init(&err);
    good(cvr_plugins_open(&s.plugins, NULL, 0, &err));
    good(cvr_pool_create(&s.pool, 2, &err));
    good(cvr_device_open(&s.device, s.plugins, &(cvr_device_choice){.backend = "cpu"}, s.pool, &err));
    good(cvr_store_create(&s.whole.store, 1, &err));
    good(cvr_store_create(&s.narrow.store, 2, &err));
    s.whole.graph = begin(&s, s.whole.store);
    good(cvr_graph_trace(&s.trace, s.whole.graph, &err));
    build(&s, s.trace);
    good(cvr_channels_create(&s.channels, s.trace, &err));
    build(&s, s.whole.graph);
    plan(&s, &s.whole);
    fill(&s);
    choose(&s);
    build_narrow(&s);
    plan(&s, &s.narrow);
    cut(&s);
    const double left = weights_of(s.narrow.store) / weights_of(s.whole.store);
    cr_expect_leq(left, c->products, "%s: %.3f of the weights are left", c->model, left);
    run(&s, &s.whole);
    run(&s, &s.narrow);
    compare(&s);
    cvr_channels_destroy(&s.channels);
    cvr_graph_destroy(&s.trace);
    leave(&s.narrow);
    leave(&s.whole);
    cvr_device_close(&s.device);
    cvr_pool_destroy(&s.pool);
    cvr_plugins_close(&s.plugins);
}

static const narrow_case cases[] = {
    {"resnet18", "", 32, 12, 0.3},
    {"resnet_cifar", "", 32, 12, 0.3},
    {"resnext50_32x4d", "", 32, 30, 0.5},
    {"mobilenet_v2", "width_mult=0.5", 32, 20, 0.35},
    {"mobilenet_v3_small", "", 32, 20, 0.4},
    {"vgg11", "", 32, 8, 0.35},
    {"densenet121", "", 32, 80, 0.5},
    {"unet", "width=8", 32, 12, 0.35},
    {"yolox_nano", "", 64, 30, 0.5},
    {"vit_b_16", "hidden_dim=64 num_layers=2 num_heads=4 mlp_dim=128 patch_size=8", 32, 4, 0.9},
};

Test(narrow, gone_is_as_zero) {
    const char *only = getenv("NARROW");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!only || strcmp(only, cases[i].model) == 0) check(&cases[i]);
}
