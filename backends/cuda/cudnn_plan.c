/* See cudnn_plan.h. */
#include "cudnn_plan.h"

#include <stdbool.h>
#include <stdlib.h>

#define MOST_CONFIGS 64
#define MOST_KNOBS 24
#define MOST_NOTES 16

void cudnn_plan_free(const cudnn_target *t, cudnn_plan *p) {
    cudnn_release(t, &p->owned);
}

/* Descriptors for an attribute whose value is several of them: `get` fills in what is there already. */
static int32_t make_empty(const cudnn_target *t, cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *list,
                          uint32_t n, cvr_error *err) {
    for (uint32_t i = 0; i < n; i++)
        CVR_TRY(cudnn_check(t->table, t->table->descriptor_create(type, &list[i]), "descriptor", err));
    return CVR_OK;
}

static void destroy_all(const cudnn_target *t, cudnnBackendDescriptor_t *list, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (list[i]) (void)t->table->descriptor_destroy(list[i]);
}

/* ---- what an engine says of itself ---- */

static uint32_t notes_of(const cudnn_target *t, cudnnBackendDescriptor_t engine) {
    cudnnBackendNumericalNote_t notes[MOST_NOTES];
    int64_t n = 0;
    uint32_t set = 0;
    if (t->table->get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, MOST_NOTES, &n, notes) !=
        CUDNN_STATUS_SUCCESS)
        return 0;
    for (int64_t i = 0; i < n && i < MOST_NOTES; i++) set |= 1u << notes[i];
    return set;
}

static uint32_t compiles(const cudnn_target *t, cudnnBackendDescriptor_t engine) {
    cudnnBackendBehaviorNote_t notes[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    int64_t n = 0;
    if (t->table->get(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT,
                      &n, notes) != CUDNN_STATUS_SUCCESS)
        return 0;
    for (int64_t i = 0; i < n && i < CUDNN_BEHAVIOR_NOTE_TYPE_COUNT; i++)
        if (notes[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) return 1;
    return 0;
}

#define NOTE(name_) (1u << CUDNN_NUMERICAL_NOTE_##name_)

/* Why a run cannot use an engine with these notes; NULL where it can. */
static const char *refusal(uint32_t notes, const cudnn_wish *wish) {
    if (notes & NOTE(NONDETERMINISTIC)) return "not deterministic";
    if (notes & NOTE(REDUCED_PRECISION_REDUCTION)) return "adds up in less than f32";
    if (wish->is_f32 && (notes & NOTE(DOWN_CONVERT_INPUTS))) return "rounds its operands";
    if (wish->is_f32 && !wish->tf32 && (notes & NOTE(TENSOR_CORE))) return "rounds its operands to tf32";
    return NULL;
}

/* " 2=3 5=1" after what is there. */
static void name_knobs(const cudnn_target *t, cudnnBackendDescriptor_t config, char *name) {
    cudnnBackendDescriptor_t knobs[MOST_KNOBS] = {NULL};
    int64_t n = 0, got;
    if (make_empty(t, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, knobs, MOST_KNOBS, NULL) != CVR_OK ||
        t->table->get(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_KNOBS, &n,
                      knobs) != CUDNN_STATUS_SUCCESS)
        n = 0;
    for (int64_t i = 0; i < n && i < MOST_KNOBS; i++) {
        cudnnBackendKnobType_t type = (cudnnBackendKnobType_t)0;
        int64_t value = 0;
        const size_t at = strlen(name);
        (void)t->table->get(knobs[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &got, &type);
        (void)t->table->get(knobs[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &got, &value);
        (void)snprintf(name + at, LIBRARY_NAME - at, " %d=%lld", (int)type, (long long)value);
    }
    destroy_all(t, knobs, MOST_KNOBS);
}

/* The engine of a configuration: its notes and the way's name. */
static int32_t look_at(const cudnn_target *t, cudnnBackendDescriptor_t config, cudnn_plan *p, cvr_error *err) {
    cudnnBackendDescriptor_t engine = NULL;
    int64_t got, index = -1;
    CVR_TRY(make_empty(t, CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine, 1, err));
    const int32_t status = cudnn_check(
        t->table, t->table->get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &got, &engine),
        "engine", err);
    if (status == CVR_OK) {
        (void)t->table->get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &got, &index);
        p->notes = notes_of(t, engine);
        p->compiles = compiles(t, engine);
        (void)snprintf(p->name, LIBRARY_NAME, "engine %lld", (long long)index);
        name_knobs(t, config, p->name);
    }
    destroy_all(t, &engine, 1);
    return status;
}

/* ---- plans ---- */

/* As in cudnn_graph_make: a device that is there is told by its handle, which works with every cuDNN 9. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static int32_t make_plan(const cudnn_target *t, cudnnBackendDescriptor_t config, cudnn_plan *p, cvr_error *err) {
    int64_t got, workspace = 0;
    CVR_TRY(CUDNN_MAKE(
        t, &p->owned, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &p->descriptor, err,
        {CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, t->handle != NULL, &t->handle},
        {CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, t->described != NULL, &t->described},
        {CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config}));
    CVR_TRY(cudnn_check(
        t->table,
        t->table->get(p->descriptor, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &got, &workspace),
        "workspace", err));
    p->workspace = (uint64_t)workspace;
    return CVR_OK;
}
#pragma GCC diagnostic pop

static void refuse(cudnn_plans *out, const char *name, const char *why) {
    out->refused++;
    (void)snprintf(out->reason, sizeof out->reason, "%.60s: %.90s", name, why);
}

/* Two modes of the heuristics may offer the same. */
static bool is_there(const cudnn_plans *out, const char *name) {
    for (uint32_t i = 0; i < out->n; i++)
        if (strcmp(out->list[i].name, name) == 0) return true;
    return false;
}

/* Adds a plan for a configuration, or says why not. Takes the configuration over. */
static void add_plan(const cudnn_target *t, cudnnBackendDescriptor_t config, const cudnn_wish *wish, cudnn_plans *out) {
    cudnn_plan *p = &out->list[out->n];
    cvr_error err = CVR_ERROR_INIT;
    *p = (cudnn_plan){.owned = {.list = {config}, .n = 1}};
    int32_t status = look_at(t, config, p, &err);
    const bool wanted = !wish->only || strcmp(p->name, wish->only) == 0;
    const char *why = status == CVR_OK ? refusal(p->notes, wish) : err.message;
    if (!why && p->compiles && out->compiled == CUDNN_COMPILED) why = "enough others were compiled";
    if (!why && wanted && !is_there(out, p->name)) {
        out->compiled += p->compiles;
        status = make_plan(t, config, p, &err);
        if (status != CVR_OK) why = err.message;
        if (!why && p->workspace > wish->most) why = "wants too much workspace";
        if (!why) {
            out->n++;
            return;
        }
    }
    if (why) refuse(out, p->name, why);
    cudnn_plan_free(t, p);
}

/* Configurations that one mode of the heuristics offers. None where it knows nothing of the graph. */
static uint32_t ask(const cudnn_target *t, cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode,
                    cudnnBackendDescriptor_t *configs, cudnn_plans *out) {
    cudnn_owned owned = {.n = 0};
    cudnnBackendDescriptor_t heuristics;
    cvr_error err = CVR_ERROR_INIT;
    int64_t n = 0;
    int32_t status = CUDNN_MAKE(
        t, &owned, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics, &err,
        {CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph},
        {CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode},
        {CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, t->described != NULL, &t->described});
    if (status == CVR_OK) status = make_empty(t, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, configs, MOST_CONFIGS, &err);
    if (status == CVR_OK)
        status = cudnn_check(t->table,
                             t->table->get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                           MOST_CONFIGS, &n, configs),
                             "heuristics", &err);
    if (status != CVR_OK) refuse(out, "heuristics", err.message);
    cudnn_release(t, &owned);
    return status != CVR_OK ? 0 : n < MOST_CONFIGS ? (uint32_t)n : MOST_CONFIGS;
}

static void add_mode(const cudnn_target *t, cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode,
                     const cudnn_wish *wish, cudnn_plans *out) {
    cudnnBackendDescriptor_t configs[MOST_CONFIGS] = {NULL};
    const uint32_t n = ask(t, graph, mode, configs, out);
    for (uint32_t i = 0; i < n && out->n < wish->room; i++) {
        add_plan(t, configs[i], wish, out);
        configs[i] = NULL;
    }
    destroy_all(t, configs, MOST_CONFIGS);
}

int32_t cudnn_plans_make(const cudnn_target *t, const cudnn_graph *g, const cudnn_wish *wish, cudnn_plans *out,
                         cvr_error *err) {
    cudnn_owned owned = {.n = 0};
    cudnnBackendDescriptor_t graph;
    *out = (cudnn_plans){.n = 0};
    const int32_t status = cudnn_graph_make(t, g, &owned, &graph, err);
    if (status == CVR_OK) {
        add_mode(t, graph, CUDNN_HEUR_MODE_A, wish, out);
        if (out->n < wish->room) add_mode(t, graph, CUDNN_HEUR_MODE_FALLBACK, wish, out);
    }
    cudnn_release(t, &owned);
    return status;
}

/* ---- running ---- */

int32_t cudnn_plan_enqueue(const cudnn_target *t, const cudnn_plan *p, const cudnn_graph *g, void *const *addresses,
                           void *workspace, void *stream, cvr_error *err) {
    int64_t ids[CUDNN_GRAPH_TENSORS], n = 0;
    void *at[CUDNN_GRAPH_TENSORS];
    cudnn_owned owned = {.n = 0};
    cudnnBackendDescriptor_t pack;
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        if (g->tensors[i].place == CUDNN_AT_NONE) continue;
        ids[n] = (int64_t)i + 1;
        at[n++] = addresses[i];
    }
    CVR_TRY(cudnn_check(t->table, t->table->set_stream(t->handle, (cudaStream_t)stream), "stream", err));
    int32_t status = CUDNN_MAKE(t, &owned, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack, err,
                                {CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, ids},
                                {CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, at},
                                {CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace});
    if (status == CVR_OK)
        status = cudnn_check(t->table, t->table->execute(t->handle, p->descriptor, pack), p->name, err);
    cudnn_release(t, &owned);
    return status;
}
