/*
 * The zip container that torch.save writes since 1.6: one folder with data.pkl, data/KEY for every storage, byteorder
 * and version, nothing compressed. Sizes stand in the central directory at the file's end (the local headers in front
 * of the data say 0); zip64's records take over where 32 bits are too few. Checksums are not looked at: PyTorch can be
 * told to write none.
 *
 * Format: PKWARE's APPNOTE.TXT, 4.3 and 4.5.3.
 */
#include "pth.h"
#include <stdlib.h>

#define LOCAL_SIGNATURE 0x04034b50u
#define ENTRY_SIGNATURE 0x02014b50u
#define END_SIGNATURE 0x06054b50u
#define END64_SIGNATURE 0x06064b50u
#define LOCATOR64_SIGNATURE 0x07064b50u
#define LOCAL_BYTES 30u
#define ENTRY_BYTES 46u
#define END_BYTES 22u
#define END64_BYTES 56u
#define LOCATOR64_BYTES 20u
#define EXTRA_ZIP64 1u
#define FLAG_ENCRYPTED 1u

typedef struct zip_entry {
    const uint8_t *name;
    uint64_t n_name;
    uint64_t header; /* byte of the file where the local header lies */
    uint64_t size;   /* bytes of the data */
    uint32_t method, flags;
} zip_entry;

/* The central directory, its entries in the order of their names. */
typedef struct zip_directory {
    const uint8_t *file;
    uint64_t n_file;
    uint64_t at, size, n; /* of the central directory */
    zip_entry *entries;
    const uint8_t *folder; /* "archive/" */
    uint64_t n_folder;
    cvr_error *err;
} zip_directory;

int32_t pth_is_zip(const uint8_t *bytes, uint64_t n) {
    return n >= 4 && pth_u32(bytes) == LOCAL_SIGNATURE;
}

static int32_t zip_fail(const zip_directory *z, uint64_t at, const char *what) {
    return cvr_fail(z->err, CVR_ERR_FORMAT, "zip, byte %llu: %s", (unsigned long long)at, what);
}

static int32_t entry_fail(const zip_directory *z, const zip_entry *e, const char *what) {
    char shown[PTH_SHOWN];
    return cvr_fail(z->err, CVR_ERR_FORMAT, "zip, byte %llu: '%s' %s", (unsigned long long)e->header,
                    pth_show(e->name, e->n_name, shown), what);
}

/* Where zip64's end record lies, and what it says. */
static int32_t read_end64(zip_directory *z, uint64_t locator) {
    const uint64_t at = pth_u64(z->file + locator + 8);
    if (at > locator || locator - at < END64_BYTES || pth_u32(z->file + at) != END64_SIGNATURE)
        return zip_fail(z, locator, "the zip64 record that it points to is not there; the file is damaged");
    z->n = pth_u64(z->file + at + 32);
    z->size = pth_u64(z->file + at + 40);
    z->at = pth_u64(z->file + at + 48);
    if (z->at > at || z->size > at - z->at) return zip_fail(z, at, "the directory does not lie in the file");
    return CVR_OK;
}

/* The end record, behind which only a comment of at most 65,535 bytes may follow. */
static int32_t find_end(zip_directory *z) {
    const uint8_t *const f = z->file;
    uint64_t at = z->n_file;
    for (uint64_t back = END_BYTES; back <= z->n_file && back <= END_BYTES + 65535u && at == z->n_file; back++) {
        if (pth_u32(f + z->n_file - back) == END_SIGNATURE && pth_u16(f + z->n_file - back + 20) == back - END_BYTES)
            at = z->n_file - back;
    }
    if (at == z->n_file) return zip_fail(z, at, "no directory at the end; the file was cut short, copy it again");
    if (at >= LOCATOR64_BYTES && pth_u32(f + at - LOCATOR64_BYTES) == LOCATOR64_SIGNATURE)
        return read_end64(z, at - LOCATOR64_BYTES);
    z->n = pth_u16(f + at + 10);
    z->size = pth_u32(f + at + 12);
    z->at = pth_u32(f + at + 16);
    if (z->at > at || z->size > at - z->at) return zip_fail(z, at, "the directory does not lie in the file");
    return CVR_OK;
}

/* zip64's extra field holds those of three numbers that 32 bits could not: size, compressed size, local header. */
static int32_t read_extra(const zip_directory *z, zip_entry *e, uint64_t *packed, const uint8_t *extra, uint64_t n) {
    uint64_t *const numbers[3] = {&e->size, packed, &e->header};
    while (n >= 4) {
        const uint64_t size = pth_u16(extra + 2);
        if (size > n - 4) return entry_fail(z, e, "has an extra field that is cut short; the file is damaged");
        for (uint64_t k = 0, at = 0; pth_u16(extra) == EXTRA_ZIP64 && k < 3; k++) {
            if (*numbers[k] != UINT32_MAX) continue;
            if (size - at < 8) return entry_fail(z, e, "lacks a number of zip64; the file is damaged");
            *numbers[k] = pth_u64(extra + 4 + at);
            at += 8;
        }
        extra += 4 + size;
        n -= 4 + size;
    }
    return CVR_OK;
}

/* One entry at byte `at` of the directory, whose end is `end`; `at` moves behind it. */
static int32_t read_entry(const zip_directory *z, uint64_t *at, uint64_t end, zip_entry *e) {
    const uint8_t *const b = z->file + *at;
    if (end - *at < ENTRY_BYTES || pth_u32(b) != ENTRY_SIGNATURE)
        return zip_fail(z, *at, "no entry where the directory has one; the file is damaged");
    const uint64_t n_extra = pth_u16(b + 30), n_comment = pth_u16(b + 32);
    uint64_t packed = pth_u32(b + 20);
    *e = (zip_entry){b + ENTRY_BYTES, pth_u16(b + 28), pth_u32(b + 42),
                     pth_u32(b + 24), pth_u16(b + 10), pth_u16(b + 8)};
    if (e->n_name + n_extra + n_comment > end - *at - ENTRY_BYTES)
        return zip_fail(z, *at, "an entry that reaches out of the directory; the file is damaged");
    CVR_TRY(read_extra(z, e, &packed, e->name + e->n_name, n_extra));
    *at += ENTRY_BYTES + e->n_name + n_extra + n_comment;
    if (e->flags & FLAG_ENCRYPTED) return entry_fail(z, e, "is encrypted, which torch.save never does");
    if (e->method != 0)
        return entry_fail(z, e, "is compressed, which torch.save never does; unpack it and pack it with `zip -0`");
    return packed == e->size ? CVR_OK : entry_fail(z, e, "has two sizes; the file is damaged");
}

static int compare(const uint8_t *a, uint64_t n_a, const uint8_t *b, uint64_t n_b) {
    const uint64_t n = n_a < n_b ? n_a : n_b;
    const int order = n ? memcmp(a, b, n) : 0;
    return order ? order : (n_a > n_b) - (n_a < n_b);
}

static int by_name(const void *a, const void *b) {
    const zip_entry *const x = a, *const y = b;
    return compare(x->name, x->n_name, y->name, y->n_name);
}

static int32_t read_directory(zip_directory *z, pth_arena *arena) {
    void *entries = NULL;
    uint64_t at = z->at;
    if (z->n > z->size / ENTRY_BYTES) return zip_fail(z, z->at, "more entries than the directory has room for");
    CVR_TRY(pth_arena_take(arena, (z->n + 1) * sizeof(zip_entry), &entries, z->err));
    z->entries = entries;
    for (uint64_t i = 0; i < z->n; i++) CVR_TRY(read_entry(z, &at, z->at + z->size, &z->entries[i]));
    if (z->n > 1) qsort(z->entries, z->n, sizeof *z->entries, by_name);
    for (uint64_t i = 1; i < z->n; i++) {
        if (by_name(&z->entries[i - 1], &z->entries[i]) == 0)
            return entry_fail(z, &z->entries[i], "is there twice; the file is damaged, or made to do harm");
    }
    return CVR_OK;
}

/* The data of an entry, behind its local header, whose extra field has a length of its own. */
static int32_t entry_data(const zip_directory *z, const zip_entry *e, const uint8_t **out) {
    if (e->header > z->at || z->at - e->header < LOCAL_BYTES || pth_u32(z->file + e->header) != LOCAL_SIGNATURE)
        return entry_fail(z, e, "has no local header there; the file is damaged");
    const uint8_t *const b = z->file + e->header;
    const uint64_t n_name = pth_u16(b + 26), skip = LOCAL_BYTES + n_name + pth_u16(b + 28), left = z->at - e->header;
    if (skip > left || e->size > left - skip)
        return entry_fail(z, e, "reaches into the directory; the file is damaged or was cut short");
    if (compare(b + LOCAL_BYTES, n_name, e->name, e->n_name) != 0)
        return entry_fail(z, e, "has another name in its local header; the file is damaged, or made to do harm");
    *out = b + skip;
    return CVR_OK;
}

/* By the folder's name, `dir` and a key that need not end with a NUL; NULL where there is none. */
static const zip_entry *find_entry(const zip_directory *z, const char *dir, const uint8_t *key, uint64_t n_key) {
    uint8_t name[1024];
    const uint64_t n_dir = strlen(dir);
    if (n_key > 256 || z->n_folder > 512) return NULL;
    if (z->n_folder) memcpy(name, z->folder, z->n_folder);
    memcpy(name + z->n_folder, dir, n_dir);
    if (n_key) memcpy(name + z->n_folder + n_dir, key, n_key);
    const zip_entry want = {.name = name, .n_name = z->n_folder + n_dir + n_key};
    return z->n ? bsearch(&want, z->entries, z->n, sizeof want, by_name) : NULL;
}

static const zip_entry *find_file(const zip_directory *z, const char *name) {
    return find_entry(z, name, NULL, 0);
}

/* The one folder is that of data.pkl. */
static int32_t find_folder(zip_directory *z) {
    static const char end[] = "/data.pkl";
    const uint64_t n_end = sizeof end - 1;
    for (uint64_t i = 0; i < z->n; i++) {
        const zip_entry *const e = &z->entries[i];
        if (e->n_name < n_end || memcmp(e->name + e->n_name - n_end, end, n_end) != 0) continue;
        const uint64_t n = e->n_name - n_end + 1;
        if (memchr(e->name, '/', n - 1)) continue;
        if (z->folder) return entry_fail(z, e, "is a second pickle of tensors in one file");
        z->folder = e->name;
        z->n_folder = n;
    }
    if (z->folder) return CVR_OK;
    return cvr_fail(z->err, CVR_ERR_UNSUPPORTED,
                    "a zip file without data.pkl, so not one of torch.save's; give the .pth or .pt file itself");
}

static int32_t check_kind(const zip_directory *z) {
    const uint8_t *b = NULL;
    const zip_entry *const order = find_file(z, "byteorder"), *const version = find_file(z, "version");
    if (find_file(z, "constants.pkl"))
        return cvr_fail(z->err, CVR_ERR_UNSUPPORTED,
                        "a TorchScript program; save its tensors with torch.save(torch.jit.load(FILE).state_dict(), "
                        "...)");
    if (order) {
        CVR_TRY(entry_data(z, order, &b));
        if (order->size == 3 && memcmp(b, "big", 3) == 0)
            return cvr_fail(z->err, CVR_ERR_UNSUPPORTED,
                            "saved on a big-endian machine; load it with PyTorch on this one and save it anew");
        if (order->size != 6 || memcmp(b, "little", 6) != 0) return entry_fail(z, order, "is neither little nor big");
    }
    if (!version) return CVR_OK;
    CVR_TRY(entry_data(z, version, &b));
    if (version->size < 1 || version->size > 3 || b[0] < '1' || b[0] > '9')
        return entry_fail(z, version, "is no version that PyTorch wrote");
    return CVR_OK;
}

static int32_t find_storages(const zip_directory *z, const pth_pickle *p) {
    for (pth_storage *s = p->storages; s; s = s->next) {
        char shown[PTH_SHOWN];
        const zip_entry *const e = find_entry(z, "data/", s->key.bytes, s->key.n);
        const uint64_t size = s->dtype ? s->dtype->size : 1;
        if (!e)
            return cvr_fail(z->err, CVR_ERR_FORMAT, "pickle, byte %llu: the file has no data/%s, which it mentions",
                            (unsigned long long)s->at, pth_show(s->key.bytes, s->key.n, shown));
        CVR_TRY(entry_data(z, e, &s->data));
        if (s->numel != e->size / size || e->size % size != 0)
            return entry_fail(z, e, "has not as many bytes as the pickle says; the file is damaged");
    }
    return CVR_OK;
}

int32_t pth_zip_read(pth_pickle *p, const uint8_t *bytes, uint64_t n, pth_value *out) {
    zip_directory z = {.file = bytes, .n_file = n, .err = p->err};
    const uint8_t *pickle = NULL;
    CVR_TRY(find_end(&z));
    CVR_TRY(read_directory(&z, p->arena));
    CVR_TRY(find_folder(&z));
    CVR_TRY(check_kind(&z));
    const zip_entry *const e = find_file(&z, "data.pkl");
    if (!e) return zip_fail(&z, z.at, "data.pkl lies in a folder with a name of more than 512 bytes");
    CVR_TRY(entry_data(&z, e, &pickle));
    CVR_TRY(pth_pickle_read(p, pickle, pickle + e->size, out));
    return find_storages(&z, p);
}
