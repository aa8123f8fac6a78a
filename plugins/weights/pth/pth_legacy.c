/*
 * The container that torch.save wrote before 1.6: five pickles one after the other (a magic number, the protocol, the
 * machine, the object, the list of storage keys), then each storage in the order of the list: a count of elements in 8
 * bytes, and the elements.
 */
#include "pth.h"
#include <stdlib.h>

#define PROTOCOL 1001

/* PROTO 2, LONG1 0x1950a86a20f9469cfc6c, STOP */
static const uint8_t magic[15] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

int32_t pth_is_pickle(const uint8_t *bytes, uint64_t n) {
    return n >= 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5;
}

static int32_t next(pth_pickle *p, pth_value *out) {
    return pth_pickle_read(p, p->at, p->end, out);
}

/* {protocol_version: 1001, little_endian: True, type_sizes: {...}} */
static int32_t check_machine(const pth_pickle *p, const pth_value *v) {
    int known = 0;
    for (uint64_t i = 0; v->kind == PTH_DICT && i + 1 < v->items->n; i += 2) {
        const pth_value *const key = &v->items->v[i], *const value = key + 1;
        if (!pth_string_is(key, "little_endian") || value->kind != PTH_BOOL) continue;
        known = 1;
        if (!value->i)
            return cvr_fail(p->err, CVR_ERR_UNSUPPORTED,
                            "saved on a big-endian machine; load it with PyTorch on this one and save it anew");
    }
    return known ? CVR_OK : pth_pickle_fail(p, CVR_ERR_FORMAT, "no description of the machine; the file is damaged");
}

static int compare_keys(const pth_value *a, const pth_value *b) {
    const uint32_t n = a->n < b->n ? a->n : b->n;
    const int order = n ? memcmp(a->bytes, b->bytes, n) : 0;
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static int by_key(const void *a, const void *b) {
    return compare_keys(&(*(const pth_storage *const *)a)->key, &(*(const pth_storage *const *)b)->key);
}

static int32_t storage_fail(const pth_pickle *p, const pth_value *key, const char *what) {
    char shown[PTH_SHOWN];
    return cvr_fail(p->err, CVR_ERR_FORMAT, "byte %llu: storage '%s' %s", (unsigned long long)(p->at - p->file),
                    pth_show(key->bytes, key->n, shown), what);
}

/* Every mention of a storage, in the order of the keys; all mentions of one must agree. */
static int32_t sort_storages(const pth_pickle *p, pth_storage ***out) {
    void *list = NULL;
    uint64_t n = 0;
    CVR_TRY(pth_arena_take(p->arena, (p->n_storages + 1) * sizeof(pth_storage *), &list, p->err));
    pth_storage **const s = *out = list;
    for (pth_storage *one = p->storages; one; one = one->next) s[n++] = one;
    if (n > 1) qsort(s, n, sizeof *s, by_key);
    for (uint64_t i = 1; i < n; i++) {
        if (by_key(&s[i - 1], &s[i]) == 0 && (s[i - 1]->numel != s[i]->numel || s[i - 1]->dtype != s[i]->dtype))
            return storage_fail(p, &s[i]->key, "is mentioned twice, with another type or size; the file is damaged");
    }
    return CVR_OK;
}

/* The elements of one storage, at p->at. */
static int32_t read_storage(pth_pickle *p, pth_storage **sorted, const pth_value *key) {
    pth_storage want, *const wanted = &want;
    want.key = *key;
    pth_storage **found = p->n_storages ? bsearch(&wanted, sorted, p->n_storages, sizeof *sorted, by_key) : NULL;
    if (!found) return storage_fail(p, key, "is in the list, but no tensor has it; the file is damaged");
    while (found > sorted && by_key(found - 1, found) == 0) found--;
    if ((*found)->data) return storage_fail(p, key, "is in the list twice; the file is damaged");
    const uint64_t size = (*found)->dtype ? (*found)->dtype->size : 1, left = (uint64_t)(p->end - p->at);
    if (left < 8) return storage_fail(p, key, "is not there; the file was cut short, copy it again");
    if (pth_u64(p->at) != (*found)->numel)
        return storage_fail(p, key, "has not as many elements as the pickle says; the file is damaged");
    if ((*found)->numel > (left - 8) / size)
        return storage_fail(p, key, "reaches over the end; the file was cut short, copy it again");
    for (pth_storage **s = found; s < sorted + p->n_storages && by_key(s, found) == 0; s++) (*s)->data = p->at + 8;
    p->at += 8 + (*found)->numel * size;
    return CVR_OK;
}

int32_t pth_legacy_read(pth_pickle *p, const uint8_t *bytes, uint64_t n, pth_value *out) {
    pth_value v;
    pth_storage **sorted = NULL;
    if (n < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0)
        return cvr_fail(p->err, CVR_ERR_UNSUPPORTED,
                        "a pickle (protocol %u), but not one of torch.save's; save it anew with "
                        "torch.save(model.state_dict(), ...)",
                        bytes[1]);
    p->at = bytes + sizeof magic;
    p->end = bytes + n;
    CVR_TRY(next(p, &v));
    if (v.kind != PTH_INT || v.i != PROTOCOL)
        return pth_pickle_fail(p, CVR_ERR_UNSUPPORTED, "another protocol of torch.save than %d", PROTOCOL);
    CVR_TRY(next(p, &v));
    CVR_TRY(check_machine(p, &v));
    CVR_TRY(next(p, out));
    CVR_TRY(next(p, &v));
    if (v.kind != PTH_LIST) return pth_pickle_fail(p, CVR_ERR_FORMAT, "no list of storages; the file is damaged");
    CVR_TRY(sort_storages(p, &sorted));
    for (uint64_t i = 0; i < v.items->n; i++) {
        if (v.items->v[i].kind != PTH_STRING)
            return pth_pickle_fail(p, CVR_ERR_FORMAT, "a storage whose key is no text; the file is damaged");
        CVR_TRY(read_storage(p, sorted, &v.items->v[i]));
    }
    for (const pth_storage *s = p->storages; s; s = s->next) {
        if (!s->data) return storage_fail(p, &s->key, "is not in the list of storages; the file is damaged");
    }
    return CVR_OK;
}
