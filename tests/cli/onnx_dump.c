/*
 * Prints what an ONNX file says, for export_cli_test.sh and its golden files: a reader of its own, of Protocol Buffers'
 * wire format and of the fields of onnx.proto, that shares nothing with the exporter.
 *     onnx_dump FILE           nodes, tensors, ends, metadata
 *     onnx_dump FILE TENSOR    the numbers of a stored f32 tensor
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct span {
    const uint8_t *p, *end;
} span;

typedef struct field {
    uint64_t number, value; /* value: of a varint, or the bits of a float */
    span bytes;             /* of a field with a length */
    int wire;
} field;

static void die(const char *why) {
    fprintf(stderr, "onnx_dump: %s\n", why);
    exit(1);
}

static uint64_t varint(span *s) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (s->p == s->end) die("a number that ends with the file");
        const uint8_t byte = *s->p++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return value;
    }
    die("a number of more than 64 bits");
    return 0;
}

static int next(span *s, field *f) {
    if (s->p == s->end) return 0;
    const uint64_t key = varint(s);
    uint64_t n;
    f->number = key >> 3;
    f->wire = (int)(key & 7);
    f->value = 0;
    switch (f->wire) {
    case 0: f->value = varint(s); break;
    case 2:
        n = varint(s);
        if (n > (uint64_t)(s->end - s->p)) die("a field that ends behind the file");
        f->bytes = (span){s->p, s->p + n};
        s->p += n;
        break;
    case 5:
        if (s->end - s->p < 4) die("a float that ends behind the file");
        for (int i = 0; i < 4; i++) f->value |= (uint64_t)*s->p++ << 8 * i;
        break;
    default: die("a wire type that ONNX has not");
    }
    return 1;
}

static void print_text(span s) {
    printf("%.*s", (int)(s.end - s.p), (const char *)s.p);
}

/* The text field `number` of a message, or nothing. */
static span text_of(span message, uint64_t number) {
    span found = {0};
    field f;
    while (next(&message, &f))
        if (f.number == number && f.wire == 2) found = f.bytes;
    return found;
}

static void print_attribute(span s) {
    float real;
    uint32_t bits;
    field f;
    printf(" ");
    print_text(text_of(s, 1));
    printf("=");
    while (next(&s, &f)) {
        if (f.number == 2) {
            bits = (uint32_t)f.value;
            memcpy(&real, &bits, sizeof real);
            printf("%g", (double)real);
        }
        if (f.number == 3 || f.number == 8) printf("%" PRId64 "%s", (int64_t)f.value, f.number == 8 ? "," : "");
        if (f.number == 4) print_text(f.bytes);
    }
}

static void print_node(span s) {
    field f;
    span again = s;
    print_text(text_of(s, 7));
    print_text(text_of(s, 4));
    printf(" \"");
    print_text(text_of(s, 3));
    printf("\" (");
    while (next(&again, &f))
        if (f.number == 1) {
            printf(" ");
            print_text(f.bytes);
        }
    printf(" ) -> (");
    for (again = s; next(&again, &f);)
        if (f.number == 2) {
            printf(" ");
            print_text(f.bytes);
        }
    printf(" )");
    for (again = s; next(&again, &f);)
        if (f.number == 5) print_attribute(f.bytes);
    printf("\n");
}

static void print_tensor(span s) {
    field f;
    uint64_t raw = 0, type = 0;
    span again = s;
    printf("tensor ");
    print_text(text_of(s, 8));
    printf(" (");
    while (next(&again, &f)) {
        if (f.number == 1) printf(" %" PRId64, (int64_t)f.value);
        if (f.number == 2) type = f.value;
        if (f.number == 9) raw = (uint64_t)(f.bytes.end - f.bytes.p);
        if (f.number == 13) {
            printf(" ");
            print_text(text_of(f.bytes, 1));
            printf("=");
            print_text(text_of(f.bytes, 2));
        }
    }
    printf(" ) type %" PRIu64 " %" PRIu64 " bytes\n", type, raw);
}

/* ValueInfoProto: name 1, type 2 {tensor_type 1 {elem_type 1, shape 2 {dim 1 {dim_value 1, dim_param 2}}}} */
static void print_info(const char *what, span s) {
    span tensor = text_of(text_of(s, 2), 1), shape = text_of(tensor, 2);
    field f, d;
    printf("%s ", what);
    print_text(text_of(s, 1));
    while (next(&tensor, &f))
        if (f.number == 1) printf(" type %" PRIu64, f.value);
    printf(" (");
    while (next(&shape, &f)) {
        printf(" ");
        if (f.bytes.p == f.bytes.end) printf("?");
        while (next(&f.bytes, &d)) {
            if (d.number == 1) printf("%" PRId64, (int64_t)d.value);
            if (d.number == 2) print_text(d.bytes);
        }
    }
    printf(" )\n");
}

static void print_graph(span s) {
    field f;
    printf("graph ");
    print_text(text_of(s, 2));
    printf("\n");
    while (next(&s, &f)) {
        if (f.number == 1) print_node(f.bytes);
        if (f.number == 5) print_tensor(f.bytes);
        if (f.number == 11) print_info("input", f.bytes);
        if (f.number == 12) print_info("output", f.bytes);
        if (f.number == 13) print_info("value", f.bytes);
    }
}

static void print_model(span s) {
    field f;
    while (next(&s, &f)) {
        if (f.number == 1) printf("ir %" PRIu64 "\n", f.value);
        if (f.number == 7) print_graph(f.bytes);
        if (f.number == 8) {
            field v;
            printf("opset ");
            print_text(text_of(f.bytes, 1));
            while (next(&f.bytes, &v))
                if (v.number == 2) printf(" %" PRIu64 "\n", v.value);
        }
        if (f.number == 14) {
            printf("metadata ");
            print_text(text_of(f.bytes, 1));
            printf(" = ");
            print_text(text_of(f.bytes, 2));
            printf("\n");
        }
    }
}

static void print_numbers(span s, const char *name) {
    span graph = text_of(s, 7);
    field f;
    while (next(&graph, &f)) {
        const span is = f.number == 5 ? text_of(f.bytes, 8) : (span){0};
        const span raw = f.number == 5 ? text_of(f.bytes, 9) : (span){0};
        if (!is.p || (size_t)(is.end - is.p) != strlen(name) || memcmp(is.p, name, strlen(name)) != 0) continue;
        for (const uint8_t *p = raw.p; p + 4 <= raw.end; p += 4) {
            float x;
            memcpy(&x, p, sizeof x);
            printf("%.6g\n", (double)x);
        }
        return;
    }
    die("no such tensor");
}

int main(int argc, char **argv) {
    static uint8_t bytes[64 << 20];
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!f) die("give a file");
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    if (argc > 2)
        print_numbers((span){bytes, bytes + n}, argv[2]);
    else
        print_model((span){bytes, bytes + n});
    return 0;
}
