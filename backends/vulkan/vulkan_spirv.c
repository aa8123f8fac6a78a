/* See vulkan_spirv.h. Source: the SPIR-V specification 1.6, "Physical Layout of a SPIR-V Module and Instruction". */
#include "vulkan_spirv.h"
#include <cvr/plugin/words.h>
#include <stdio.h>
#include <string.h>

#define MAGIC UINT32_C(0x07230203)
#define HEADER 5u /* words: magic, version, generator, bound, 0 */
#define OP_ENTRY_POINT 15u
#define OP_EXECUTION_MODE 16u
#define OP_CAPABILITY 17u
#define OP_CONSTANT 43u
#define OP_EXECUTION_MODE_ID 331u
#define OP_FUNCTION 54u /* where the functions begin, all of the above is over */
#define MODEL_COMPUTE 5u
#define MODE_LOCAL_SIZE 17u    /* of a group, in numbers */
#define MODE_LOCAL_SIZE_ID 38u /* in ids of constants */

/* The capabilities that a module may have, and the word of cvr_device_info.features that gives each; "": always. */
typedef struct capability {
    uint32_t number;
    const char *name, *word;
} capability;

static const capability capabilities[] = {
    {0, "Matrix", ""},
    {1, "Shader", ""},
    {9, "Float16", "f16_arithmetic"},
    {10, "Float64", "f64"},
    {11, "Int64", ""},
    {22, "Int16", "i16"},
    {39, "Int8", "i8"},
    {61, "GroupNonUniform", ""},
    {63, "GroupNonUniformArithmetic", "subgroup_arithmetic"},
    {65, "GroupNonUniformShuffle", ""},
    {4433, "StorageBuffer16BitAccess", ""},
    {4448, "StorageBuffer8BitAccess", ""},
    {5345, "VulkanMemoryModel", "memory_model"},
    {5347, "PhysicalStorageBufferAddresses", ""},
};

static int32_t check_capability(uint32_t number, const char *features, cvr_error *err) {
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++) {
        if (capabilities[i].number != number) continue;
        const char *word = capabilities[i].word;
        if (!*word || cvr_has_word(features, word, strlen(word))) return CVR_OK;
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "its code needs the capability %s, which the device lacks; say isa \"%s\" in its descriptor",
                        capabilities[i].name, word);
    }
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "its code needs the SPIR-V capability %u, which this backend does not ask devices for", number);
}

/* Words, wherever the bytes lie. */
static uint32_t word_at(const cvr_code *code, uint64_t i) {
    uint32_t w;
    memcpy(&w, (const char *)code->bytes + 4 * i, sizeof w);
    return w;
}

/* Whether the text in words `from` to `end` is `name`. */
static int32_t is_name(const cvr_code *code, uint64_t from, uint64_t end, const char *name) {
    const char *text = (const char *)code->bytes + 4 * from;
    const size_t room = 4 * (size_t)(end - from), n = strlen(name);
    return n < room && memcmp(text, name, n + 1) == 0;
}

/* What has been found so far. */
typedef struct module {
    uint32_t found, id;      /* of the entry */
    uint32_t by_id, size[3]; /* ids of the constants that are the size of a group */
} module;

static int32_t check_size(uint32_t axis, uint32_t size, uint32_t threads, cvr_error *err) {
    if (size == threads) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "groups of its code have %u threads along axis %u, the dispatch says %u", size,
                    axis, threads);
}

/* An instruction of `length` words. */
static int32_t look_at(module *m, const cvr_code *code, uint64_t at, uint64_t length, const char *entry,
                       const uint32_t threads[3], cvr_error *err) {
    const uint32_t op = word_at(code, at) & 0xFFFF;
    if (op == OP_ENTRY_POINT && length >= 4 && word_at(code, at + 1) == MODEL_COMPUTE &&
        is_name(code, at + 3, at + length, entry)) {
        m->found = 1;
        m->id = word_at(code, at + 2);
    }
    const int32_t mode = length >= 6 && m->found && word_at(code, at + 1) == m->id;
    for (uint32_t k = 0; k < 3; k++) {
        if (op == OP_EXECUTION_MODE && mode && word_at(code, at + 2) == MODE_LOCAL_SIZE)
            CVR_TRY(check_size(k, word_at(code, at + 3 + k), threads[k], err));
        if (op == OP_EXECUTION_MODE_ID && mode && word_at(code, at + 2) == MODE_LOCAL_SIZE_ID) {
            m->by_id = 1;
            m->size[k] = word_at(code, at + 3 + k);
        }
        if (op == OP_CONSTANT && length == 4 && m->by_id && word_at(code, at + 2) == m->size[k])
            CVR_TRY(check_size(k, word_at(code, at + 3), threads[k], err));
    }
    return CVR_OK;
}

int32_t vulkan_spirv_check(const cvr_code *code, const char *entry, const uint32_t threads[3], const char *features,
                           cvr_error *err) {
    const uint64_t n = code->n_bytes / 4;
    module m = {0};
    if (code->n_bytes % 4 || n < HEADER || word_at(code, 0) != MAGIC)
        return cvr_fail(err, CVR_ERR_PLUGIN, "its code is no module of SPIR-V");
    for (uint64_t at = HEADER, length; at < n; at += length) {
        const uint32_t op = word_at(code, at) & 0xFFFF;
        length = word_at(code, at) >> 16;
        if (length == 0 || length > n - at)
            return cvr_fail(err, CVR_ERR_PLUGIN, "its code is damaged at word %llu", (unsigned long long)at);
        if (op == OP_FUNCTION) break;
        if (op == OP_CAPABILITY && length >= 2) CVR_TRY(check_capability(word_at(code, at + 1), features, err));
        CVR_TRY(look_at(&m, code, at, length, entry, threads, err));
    }
    if (m.found) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "its code has no compute entry `%.60s`", entry);
}
