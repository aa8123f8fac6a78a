/* Every field of every descriptor: what is missing, unknown or out of bounds is refused, and the field is named. */
#include "registry_fields.h"
#include <criterion/criterion.h>
#include <cvr/config.h>
#include <math.h>

static const char *const kinds[] = {
    CVR_KIND_OP,        CVR_KIND_KERNEL,   CVR_KIND_LAYER,    CVR_KIND_MODEL,   CVR_KIND_TASK,    CVR_KIND_OPTIMIZER,
    CVR_KIND_SCHEDULER, CVR_KIND_GRADIENT, CVR_KIND_PASS,     CVR_KIND_AUGMENT, CVR_KIND_DATASET, CVR_KIND_FIELD,
    CVR_KIND_CODEC,     CVR_KIND_WEIGHTS,  CVR_KIND_REPORTER, CVR_KIND_BACKEND, CVR_KIND_EXPORTER};
#define N_KINDS (sizeof kinds / sizeof *kinds)

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)a, (void)err;
    return CVR_OK;
}

static const cvr_cpu_fn payload = {sizeof payload, run};
static const cvr_attr_desc attr = CVR_ATTR_INIT(INT, "k", "1", "a number");
static const cvr_attr_desc *const attrs[] = {&attr};
static const cvr_attr_desc backend_attr = CVR_ATTR_INIT(INT, "acme.x_k", "1", "a number");
static const cvr_attr_desc *const backend_attrs[] = {&backend_attr};
static const cvr_stage stage = {sizeof stage, "head", "fc.*"};
static const cvr_stage *const stages[] = {&stage};
static const cvr_want want = {sizeof want, "label", "label", 0, 0, "use other data", NULL};
static const cvr_want *const wants[] = {&want};
static const char *const texts[] = {"cpu"};

static void set(char *desc, size_t at, const void *value, size_t n) {
    memcpy(desc + at, value, n);
}

static void set_u32(char *desc, size_t at, uint32_t value) {
    set(desc, at, &value, sizeof value);
}

static void set_pointer(char *desc, size_t at, const void *p) {
    set(desc, at, &p, sizeof p);
}

static void set_list(char *desc, const desc_field *f, const void *list) {
    set_pointer(desc, f->offset, list);
    set_u32(desc, f->count_offset, 1);
}

/* A good value for a field. Functions are only looked at. */
static void set_good(char *desc, const desc_field *f) {
    switch (f->kind) {
    case NAME:
    case TEXT:
    case DOC: set_pointer(desc, f->offset, strcmp(f->name, "payload_kind") == 0 ? CVR_PAYLOAD_CPU_FN : "acme.x"); break;
    case FUNCTION: set_pointer(desc, f->offset, &payload); break;
    case ATTRS: set_list(desc, f, attrs); break;
    case TEXTS: set_list(desc, f, texts); break;
    case STAGES: set_list(desc, f, stages); break;
    case WANTS: set_list(desc, f, wants); break;
    case NUMBER: set_u32(desc, f->offset, f->least ? f->least : strcmp(f->name, "n_outputs") == 0); break;
    default: break;
    }
}

/* A good descriptor of this kind. */
static void make(const desc_kind *k, char *desc) {
    memset(desc, 0, k->size);
    set(desc, 0, &k->size, sizeof k->size);
    for (const desc_field *f = k->fields; f->kind != END; f++) set_good(desc, f);
    if (strcmp(k->kind, CVR_KIND_FIELD) == 0) set_u32(desc, offsetof(cvr_field_kind, height_axis), CVR_NO_AXIS);
    if (strcmp(k->kind, CVR_KIND_AUGMENT) == 0) set_pointer(desc, offsetof(cvr_augment_desc, apply), &payload);
    if (strcmp(k->kind, CVR_KIND_BACKEND) == 0) set_pointer(desc, offsetof(cvr_backend_desc, attrs), backend_attrs);
}

/* Registers it; what was said goes to `message`. */
static int32_t add(const desc_kind *k, const char *desc, char message[1024]) {
    registry r = {0};
    cvr_error err = CVR_ERROR_INIT;
    const int32_t status = registry_add(&r, "com.acme.x", k->kind, desc, &err);
    for (size_t i = 0; i < r.n; i++) registry_warn(&r.entries[i]);
    registry_clear(&r);
    (void)snprintf(message, 1024, "%s", err.message);
    return status;
}

static void refused(const desc_kind *k, const char *desc, const char *field) {
    char message[1024], quoted[64];
    const int32_t status = add(k, desc, message);
    (void)snprintf(quoted, sizeof quoted, "`%s", field);
    cr_expect_eq(status, CVR_ERR_PLUGIN, "%s: a bad %s is taken", k->word, field);
    cr_expect(strstr(message, k->word) && strstr(message, quoted), "%s, %s: %s", k->word, field, message);
}

static void break_list(const desc_kind *k, const desc_field *f, char *desc) {
    static const void *const nothing[] = {NULL};
    char field[64];
    make(k, desc);
    set_pointer(desc, f->offset, NULL);
    refused(k, desc, f->name);
    make(k, desc);
    set_pointer(desc, f->offset, nothing);
    refused(k, desc, f->name);
    make(k, desc);
    set_u32(desc, f->count_offset, f->most + 1);
    (void)snprintf(field, sizeof field, "n_%s", f->name);
    refused(k, desc, field);
}

static void break_field(const desc_kind *k, const desc_field *f, char *desc) {
    const double nan = NAN;
    make(k, desc);
    switch (f->kind) {
    case NAME:
        set_pointer(desc, f->offset, "Bad Name!");
        refused(k, desc, f->name);
        set_pointer(desc, f->offset, "");
        refused(k, desc, f->name);
        set_pointer(desc, f->offset, NULL);
        break;
    case TEXT:
    case FUNCTION: set_pointer(desc, f->offset, NULL); break;
    case FLAGS: set_u32(desc, f->offset, ~f->most); break;
    case NUMBER:
        if (f->least) {
            set_u32(desc, f->offset, f->least - 1);
            refused(k, desc, f->name);
        }
        set_u32(desc, f->offset, f->most + 1);
        break;
    case REAL: set(desc, f->offset, &nan, sizeof nan); break;
    case TEXT_OR_NULL:
    case DOC:
    case END: return;
    default: break_list(k, f, desc); return;
    }
    refused(k, desc, f->name);
}

Test(descriptors, every_field_of_every_kind) {
    char desc[512], message[1024];
    for (size_t i = 0; i < N_KINDS; i++) {
        const desc_kind *k = desc_kind_find(kinds[i]);
        cr_assert(k && k->size <= sizeof desc);
        make(k, desc);
        cr_assert_eq(add(k, desc, message), CVR_OK, "%s: %s", k->word, message);
        for (const desc_field *f = k->fields; f->kind != END; f++) break_field(k, f, desc);
        for (uint64_t size = 0; size < 3; size++) {
            const uint64_t sizes[] = {0, k->size - 8, 100000};
            make(k, desc);
            set(desc, 0, &sizes[size], sizeof *sizes);
            refused(k, desc, "struct_size");
        }
    }
}

Test(descriptors, schemas) {
    const struct {
        cvr_attr_desc a;
        const char *says;
    } cases[] = {
        {{.struct_size = 8, .name = "k", .kind = CVR_ATTR_INT, .doc = "d"}, "struct_size"},
        {CVR_ATTR_INIT(INT, NULL, "1", "d"), "name"},
        {CVR_ATTR_INIT(INT, "two words", "1", "d"), "name"},
        {{.struct_size = sizeof attr, .name = "k", .kind = 99, .doc = "d"}, "`kind`"},
        {CVR_ATTR_INIT(INT, "k", "1", "d", .count = 1u << 30), "`count`"},
        {CVR_ATTR_INIT(BOOL, "k", "yes", "d", .count = 2), "`count`"},
        {CVR_ATTR_INIT(INT, "k", "1", "d", .flags = 0x100), "`flags`"},
        {CVR_ATTR_INIT(STRING, "k", "x", "d", .flags = CVR_ATTR_MIN), "`flags`"},
        {CVR_ATTR_INIT(INT, "k", "1", "d", .reserved = 1), "`reserved`"},
        {CVR_ATTR_INIT(FLOAT, "k", "1", "d", CVR_ATTR_BETWEEN(5, 2)), "`max`"},
        {CVR_ATTR_INIT(FLOAT, "k", "1", "d", CVR_ATTR_AT_LEAST(NAN)), "`min`"},
        {CVR_ATTR_INIT(FLOAT, "k", "abc", "d"), "`default_text`"},
        {CVR_ATTR_INIT(INT, "k", "1.5", "d"), "`default_text`"},
        {CVR_ATTR_INIT(INT, "k", "1", "d", CVR_ATTR_AT_LEAST(2)), "`default_text`"},
        {CVR_ATTR_INIT(INTS, "k", "1,2,3", "d", .count = 2), "`default_text`"},
        {CVR_ATTR_INIT(CHOICE, "k", "a", "d"), "`choices`"},
        {CVR_ATTR_INIT(CHOICE, "k", "a", "d", .choices = "a||b"), "`choices`"},
        {CVR_ATTR_INIT(CHOICE, "k", "a", "d", .choices = "a|b|a"), "`choices`"},
        {CVR_ATTR_INIT(CHOICE, "k", "c", "d", .choices = "a|b"), "`default_text`"},
        {CVR_ATTR_INIT(FLOAT, "k", "1", "d", .choices = "a|b"), "`choices`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cvr_attr_desc *const one[] = {&cases[i].a};
        cvr_error err = CVR_ERROR_INIT;
        cr_expect_eq(registry_check_attrs(one, 1, "layer acme.x", &err), CVR_ERR_PLUGIN, "schema %zu is taken", i);
        cr_expect(strstr(err.message, cases[i].says) && strstr(err.message, "layer acme.x"), "schema %zu: %s", i,
                  err.message);
    }
    const cvr_attr_desc *const twice[] = {&attr, &attr};
    cvr_error err = CVR_ERROR_INIT;
    cr_expect_eq(registry_check_attrs(twice, 2, "op acme.x", &err), CVR_ERR_PLUGIN);
    cr_expect(strstr(err.message, "both called `k`"), "%s", err.message);
}

/* What takes two fields to see. */
Test(descriptors, as_a_whole) {
    static const cvr_cpu_fn no_run = {sizeof no_run, NULL}, no_size = {0, run};
    const desc_kind *op = desc_kind_find(CVR_KIND_OP), *kernel = desc_kind_find(CVR_KIND_KERNEL),
                    *augment = desc_kind_find(CVR_KIND_AUGMENT), *backend = desc_kind_find(CVR_KIND_BACKEND);
    cvr_backend_desc b;
    cvr_op_desc o;
    cvr_kernel_desc k;
    cvr_augment_desc a;
    make(op, (char *)&o);
    o.min_inputs = 3;
    o.max_inputs = 1;
    refused(op, (char *)&o, "min_inputs");
    make(op, (char *)&o);
    o.max_inputs = 1;
    o.mutates = 2;
    refused(op, (char *)&o, "mutates");
    o.mutates = 0;
    o.optional = 1u << 5;
    refused(op, (char *)&o, "optional");
    o.optional = 0;
    o.n_outputs = 0;
    refused(op, (char *)&o, "n_outputs");
    make(kernel, (char *)&k);
    k.payload = &no_run;
    refused(kernel, (char *)&k, "payload->run");
    k.payload = &no_size;
    refused(kernel, (char *)&k, "payload->struct_size");
    make(backend, (char *)&b);
    b.attrs = attrs;
    refused(backend, (char *)&b, "attrs");
    make(backend, (char *)&b);
    set_pointer((char *)&b, offsetof(cvr_backend_desc, pin), &payload);
    refused(backend, (char *)&b, "pin");
    make(kernel, (char *)&k);
    k.prepares = 1;
    refused(kernel, (char *)&k, "prepares");
    make(augment, (char *)&a);
    a.n_params = 2;
    refused(augment, (char *)&a, "n_params");
    a.n_params = 0;
    a.fresh = 1;
    refused(augment, (char *)&a, "fresh");
    a.fresh = 0;
    set_pointer((char *)&a, offsetof(cvr_augment_desc, alone), &payload);
    refused(augment, (char *)&a, "fresh`, `alone");
    a.alone = NULL;
    a.closes = 1;
    for (size_t at = offsetof(cvr_augment_desc, part_size); at <= offsetof(cvr_augment_desc, part_apply); at += 8)
        set_pointer((char *)&a, at, &payload);
    refused(augment, (char *)&a, "closes`, `part_size");
    make(augment, (char *)&a);
    a.closes = 1;
    a.stage = CVR_STAGE_NORMALISE;
    refused(augment, (char *)&a, "closes");
    make(augment, (char *)&a);
    a.apply = NULL;
    refused(augment, (char *)&a, "apply");
}
