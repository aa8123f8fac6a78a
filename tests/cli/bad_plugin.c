/* Plugins that break one rule each; bad_plugins_test.sh builds one for every CASE. */
#include <cvr/plugin/plugin.h>

#ifndef NAME
#define NAME "bad"
#endif

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    (void)attrs, (void)n_in;
    return cvr_layer(b, "inner", "relu", "", in[0], out, err);
}

static cvr_layer_desc layer = {.struct_size = sizeof layer,
                               .name = "acme.relu",
                               .doc = "relu",
                               .min_inputs = 1,
                               .max_inputs = 1,
                               .n_outputs = 1,
                               .build = build};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
#if defined(CASE_BUILTIN_NAME)
    layer.name = "relu";
#elif defined(CASE_SHORT_STRUCT)
    layer.struct_size = 16;
#elif defined(CASE_NO_BUILD)
    layer.build = NULL;
#elif defined(CASE_UNKNOWN_KIND)
    return r->add(r, "cvr.teapot/1", &layer, err);
#elif defined(CASE_LOAD_FAILS)
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "the licence server is on fire");
#endif
    int32_t status = r->add(r, CVR_KIND_LAYER, &layer, err);
#if defined(CASE_HALF_WAY)
    layer.name = "acme.second";
    layer.build = NULL;
    status = r->add(r, CVR_KIND_LAYER, &layer, err);
#elif defined(CASE_HIDES_FAILURE)
    layer.build = NULL;
    (void)r->add(r, CVR_KIND_LAYER, &layer, err);
#elif defined(CASE_TWICE)
    status = r->add(r, CVR_KIND_LAYER, &layer, err);
#endif
    return status;
}

#if defined(CASE_WRONG_ABI)
#define MAJOR (CVR_ABI_MAJOR + 7)
#else
#define MAJOR CVR_ABI_MAJOR
#endif
#if defined(CASE_NO_MAGIC)
#define MAGIC 42
#else
#define MAGIC CVR_PLUGIN_MAGIC
#endif
#if defined(CASE_REQUIRES)
#define REQUIRES "op:acme.nowhere"
#else
#define REQUIRES ""
#endif

#if !defined(CASE_NO_ENTRY)
static const cvr_plugin plugin = {.magic = MAGIC,
                                  .struct_size = sizeof plugin,
                                  .abi_major = MAJOR,
                                  .abi_minor = CVR_ABI_MINOR,
                                  .min_host_minor = CVR_ABI_MINOR,
                                  .id = NAME,
                                  .version = "2.3",
                                  .sanitizer = CVR_SANITIZER,
                                  .requires_ = REQUIRES,
                                  .load = load};

const cvr_plugin *cvr_plugin_query(uint32_t host_major, uint32_t host_minor) {
    (void)host_major, (void)host_minor;
    return &plugin;
}
#else
int32_t (*const unused)(const cvr_host *, const cvr_registrar *, cvr_error *) = load;
#endif
