/*
 * What the parts of the pth plugin share: the values that a pickle can hold here, the machine that reads it, and the
 * two containers around it. Nothing in such a file is ever run: a pickle's calls are recognised by name and turned
 * into the few values below, and any other name is refused.
 *
 * Formats: torch/serialization.py and caffe2/serialize/inline_container.cc of PyTorch, Python's pickletools.
 */
#ifndef CVR_PTH_H
#define CVR_PTH_H

#include <cvr/plugin/plugin.h>

#define PTH_MAX_RANK 8u              /* of cvr_weight */
#define PTH_MAX_STACK (1u << 18)     /* values on a pickle's stack; Python writes containers in batches of 1000 */
#define PTH_MAX_MARKS 256u           /* nesting of a pickle's containers */
#define PTH_MAX_OPCODES (1ull << 26) /* of one pickle */
#define PTH_MAX_TENSORS (1ull << 20)
#define PTH_MAX_NAME 4096u

/*
 * Memory for everything that is read, given back at once. It has a limit that follows from the size of the file, so
 * that no file takes more memory than a fixed multiple of its own size.
 */
typedef struct pth_arena {
    const cvr_host *host;
    struct pth_chunk *chunks;
    uint64_t used, limit; /* bytes */
} pth_arena;

void pth_arena_init(pth_arena *a, const cvr_host *host, uint64_t file_size);
void pth_arena_free(pth_arena *a);
/* Zeroed. Fails with a message when memory or the limit is out. */
int32_t pth_arena_take(pth_arena *a, uint64_t bytes, void **out, cvr_error *err);
/* Makes room for at least `n` elements in an array of the arena; the old array stays behind. */
int32_t pth_arena_grow(pth_arena *a, void **array, uint64_t n, uint64_t *room, uint64_t size, cvr_error *err);

/* An element type. */
typedef struct pth_dtype {
    const char *storage; /* "FloatStorage" of the module torch; NULL where torch has none */
    const char *torch;   /* "float32" */
    const char *word;    /* as safetensors spells it, for cvr_weight.source_dtype */
    uint32_t size;       /* bytes of one element */
    uint32_t dtype;      /* CVR_*, CVR_FILE_*, or 0 where cvrun has no such type */
} pth_dtype;

/* NULL for another name. */
const pth_dtype *pth_dtype_of_storage(const char *name);
const pth_dtype *pth_dtype_of_torch(const char *name);

/* A name that a pickle may mention. */
typedef struct pth_global {
    const char *module, *name;
    uint32_t role; /* see pth_globals.c */
    uint32_t reserved;
    const pth_dtype *dtype; /* of storages and dtypes */
} pth_global;

typedef enum pth_kind {
    PTH_UNSET, /* a place of the memo that nothing was put into */
    PTH_NONE,
    PTH_BOOL,
    PTH_INT,
    PTH_FLOAT,
    PTH_STRING, /* n bytes of the file at `bytes` */
    PTH_TUPLE,
    PTH_LIST,
    PTH_DICT, /* keys and values in turn */
    PTH_GLOBAL,
    PTH_STORAGE,
    PTH_TENSOR,
    PTH_OPAQUE, /* something that no tensor depends on, such as a date; its contents are dropped */
} pth_kind;

typedef struct pth_value {
    pth_kind kind;
    uint32_t n;
    union {
        int64_t i;
        double f;
        const uint8_t *bytes;
        struct pth_items *items;
        const pth_global *global;
        struct pth_storage *storage;
        struct pth_tensor *tensor;
    };
} pth_value;

typedef struct pth_items {
    pth_value *v;
    uint64_t n, room;
    uint64_t n_tensors; /* of the n values */
} pth_items;

/* A block of elements that tensors are views of. The container fills in `data`. */
typedef struct pth_storage {
    pth_value key;          /* a string */
    const pth_dtype *dtype; /* NULL: untyped, and `numel` counts bytes */
    uint64_t numel;
    const uint8_t *data;
    uint64_t at; /* byte of the file that mentions it */
    struct pth_storage *next;
} pth_storage;

typedef struct pth_tensor {
    const pth_storage *storage;
    const pth_dtype *dtype;
    uint64_t offset, numel; /* elements */
    uint32_t rank;
    uint32_t reserved;
    int64_t shape[PTH_MAX_RANK], stride[PTH_MAX_RANK];
} pth_tensor;

/* A pickle being read: a stack, a memo, and the storages that it mentioned, in the order of the file. */
typedef struct pth_pickle {
    pth_arena *arena;
    cvr_error *err;
    const uint8_t *file; /* its first byte: messages count from there */
    const uint8_t *at, *end;
    const uint8_t *op;  /* the opcode that is being read */
    void *stack, *memo; /* pth_value */
    uint64_t n_stack, room_stack, n_memo, room_memo;
    uint64_t marks[PTH_MAX_MARKS];
    uint64_t n_marks;
    uint64_t n_opcodes, n_tensors, n_storages;
    pth_storage *storages, **last_storage;
} pth_pickle;

void pth_pickle_init(pth_pickle *p, pth_arena *arena, const uint8_t *file, cvr_error *err);
/* Reads one pickle from `at` on, at most until `end`; p->at is then the byte after it. */
int32_t pth_pickle_read(pth_pickle *p, const uint8_t *at, const uint8_t *end, pth_value *out);
/* "pickle, byte 12, opcode REDUCE: ..." */
int32_t pth_pickle_fail(const pth_pickle *p, int32_t code, const char *format, ...) CVR_PRINTF(3, 4);
/* The name of an opcode, NULL for a byte that is none. */
const char *pth_opcode_name(uint8_t opcode);
/* Runs the opcode at p->op, whose name is known; p->at is behind it. */
int32_t pth_opcode_run(pth_pickle *p);

/* What opcodes are made of: `n` bytes; a number of `n` bytes, little-endian, without sign; the values of the stack. */
int32_t pth_take(pth_pickle *p, uint64_t n, const uint8_t **out);
int32_t pth_take_number(pth_pickle *p, uint64_t n, uint64_t *out);
pth_value *pth_stack(const pth_pickle *p);
/* Values below the last mark belong to a container that is still open. */
uint64_t pth_stack_floor(const pth_pickle *p);
int32_t pth_push(pth_pickle *p, pth_value v);
int32_t pth_pop(pth_pickle *p, pth_value *out);
int32_t pth_top(pth_pickle *p, pth_value **out);
/* The values above the last mark, which goes. They stay readable until the next push. */
int32_t pth_pop_mark(pth_pickle *p, const pth_value **v, uint64_t *n);

/* What names in a pickle mean. `out` may be one of the arguments. */
int32_t pth_global_find(pth_pickle *p, const char *module, const char *name, pth_value *out);
int32_t pth_global_call(pth_pickle *p, const pth_value *callable, const pth_value *args, pth_value *out);
int32_t pth_global_new(pth_pickle *p, const pth_value *type, pth_value *out);
int32_t pth_global_build(pth_pickle *p, const pth_value *object, const pth_value *state);
int32_t pth_global_persistent(pth_pickle *p, const pth_value *id, pth_value *out);

int32_t pth_items_make(pth_pickle *p, pth_kind kind, const pth_value *v, uint64_t n, pth_value *out);
int32_t pth_items_add(pth_pickle *p, pth_items *to, const pth_value *v, uint64_t n);

/* A tensor of checked shape and strides: every element lies in its storage. */
int32_t pth_tensor_make(pth_pickle *p, const pth_storage *s, const pth_dtype *dtype, const pth_value *args,
                        pth_value *out);
int32_t pth_tensor_is_contiguous(const pth_tensor *t);
/* Copies the elements, row-major, to `to`. */
void pth_tensor_copy(const pth_tensor *t, uint8_t *to);

/* The dictionary of tensors in what a file holds: itself, or one that lies where people put it. */
int32_t pth_state_find(const pth_value *root, const pth_items **out, cvr_error *err);

/* The containers: each reads the pickle and finds the bytes of every storage. */
int32_t pth_zip_read(pth_pickle *p, const uint8_t *bytes, uint64_t n, pth_value *out);
int32_t pth_legacy_read(pth_pickle *p, const uint8_t *bytes, uint64_t n, pth_value *out);
int32_t pth_read(const cvr_host *host, const uint8_t *bytes, uint64_t n, cvr_weight_fn each, void *ctx, cvr_error *err);

/* First bytes of the formats. */
int32_t pth_is_zip(const uint8_t *bytes, uint64_t n);
int32_t pth_is_pickle(const uint8_t *bytes, uint64_t n);
int32_t pth_is_tar(const uint8_t *bytes, uint64_t n);

/* Little-endian numbers. */
uint32_t pth_u16(const uint8_t *b);
uint32_t pth_u32(const uint8_t *b);
uint64_t pth_u64(const uint8_t *b);

/* Text of a file as it may stand in a message: cut, and every byte that is not printable ASCII as '?'. */
#define PTH_SHOWN 121
const char *pth_show(const uint8_t *s, uint64_t n, char buf[PTH_SHOWN]);
int32_t pth_string_is(const pth_value *v, const char *text);

#endif
