/*
 * By expat. Only what lies at its place counts: an object's `part` has a name and a box as well.
 */
#include "voc_xml.h"
#include "../dataset_file.h"
#include "../dataset_picture.h"
#include <expat.h>
#include <math.h>
#include <stdlib.h>

#define DEEPEST 32
#define CHUNK 16384

const char *const voc_corner_names[4] = {"xmin", "ymin", "xmax", "ymax"};

/* Where the parser is: in which element of each depth that matters. */
enum place { NOWHERE, ROOT, SIZE, OBJECT, BOX, LEAF };

typedef struct reading {
    XML_Parser parser;
    voc_page *page;
    cvr_error *err;
    int32_t status;
    uint32_t depth, objects;
    enum place places[DEEPEST];
    char leaf[32];
    char text[512];
    uint32_t n_text;
    int32_t too_long;
    voc_object o;
} reading;

static void stop(reading *r, int32_t status) {
    if (r->status == CVR_OK) r->status = status;
    (void)XML_StopParser(r->parser, XML_FALSE);
}

static enum place place_of(const reading *r, const char *name) {
    static const char *const of_object[] = {"name", "difficult", NULL};
    static const char *const of_size[] = {"width", "height", NULL};
    const enum place parent = r->depth ? r->places[r->depth - 1] : NOWHERE;
    const char *const *leaves = parent == OBJECT ? of_object : parent == SIZE ? of_size : NULL;
    if (r->depth == 0) return ROOT;
    if (parent == ROOT) return strcmp(name, "object") == 0 ? OBJECT : strcmp(name, "size") == 0 ? SIZE : NOWHERE;
    if (parent == OBJECT && strcmp(name, "bndbox") == 0) return BOX;
    for (; leaves && *leaves; leaves++)
        if (strcmp(*leaves, name) == 0) return LEAF;
    for (int i = 0; parent == BOX && i < 4; i++)
        if (strcmp(voc_corner_names[i], name) == 0) return LEAF;
    return NOWHERE;
}

static void XMLCALL on_start(void *ctx, const XML_Char *name, const XML_Char **attributes) {
    reading *const r = ctx;
    (void)attributes;
    if (r->depth == DEEPEST) {
        stop(r, cvr_fail(r->err, CVR_ERR_FORMAT, "elements nested %d deep; is this an annotation?", DEEPEST));
        return;
    }
    const enum place p = place_of(r, name);
    r->places[r->depth++] = p;
    r->n_text = 0;
    r->too_long = 0;
    if (p == LEAF) (void)snprintf(r->leaf, sizeof r->leaf, "%s", name);
    if (p != OBJECT) return;
    memset(&r->o, 0, sizeof r->o);
    r->o.line = (uint32_t)XML_GetCurrentLineNumber(r->parser);
}

static void XMLCALL on_text(void *ctx, const XML_Char *s, int n) {
    reading *const r = ctx;
    if (r->depth == 0 || r->places[r->depth - 1] != LEAF) return;
    r->too_long |= (uint32_t)n >= sizeof r->text - r->n_text;
    if (r->too_long) return;
    memcpy(r->text + r->n_text, s, (size_t)n);
    r->n_text += (uint32_t)n;
}

/* Without the blanks around it. */
static const char *trimmed(reading *r) {
    const char *at = r->text;
    while (r->n_text && strchr(" \t\r\n", r->text[r->n_text - 1])) r->n_text--;
    r->text[r->n_text] = '\0';
    return at + strspn(at, " \t\r\n");
}

static void take_corner(reading *r, const char *text) {
    char *end;
    for (int i = 0; i < 4; i++) {
        if (strcmp(r->leaf, voc_corner_names[i]) != 0) continue;
        r->o.corners[i] = strtod(text, &end);
        r->o.given |= 1u << i;
        if (r->too_long || end == text || *end || !isfinite(r->o.corners[i])) r->o.bad |= 1u << i;
    }
}

static void take_size(reading *r, const char *text) {
    char *end;
    const double x = strtod(text, &end);
    int64_t *const side = strcmp(r->leaf, "width") == 0 ? &r->page->width : &r->page->height;
    *side = *text && *end == '\0' && x >= 1 && x <= INT32_MAX && x == floor(x) ? (int64_t)x : -1;
}

static void end_leaf(reading *r) {
    const enum place parent = r->depth ? r->places[r->depth - 1] : NOWHERE;
    const char *const text = trimmed(r);
    if (parent == BOX)
        take_corner(r, text);
    else if (parent == SIZE)
        take_size(r, text);
    else if (strcmp(r->leaf, "difficult") == 0)
        r->o.difficult = *text && strcmp(text, "0") != 0 && strcmp(text, "false") != 0; /* labelImg: 0, CVAT: false */
    else if (!r->too_long && strlen(text) < sizeof r->o.name)
        memcpy(r->o.name, text, strlen(text) + 1);
}

static void XMLCALL on_end(void *ctx, const XML_Char *name) {
    reading *const r = ctx;
    (void)name;
    if (r->status != CVR_OK) return; /* stopped in the middle of an element */
    const enum place p = r->places[--r->depth];
    if (p == LEAF) end_leaf(r);
    if (p != OBJECT) return;
    r->objects++;
    const int32_t status = r->page->object(r->page->ctx, &r->o, r->err);
    if (status != CVR_OK) stop(r, status);
}

/* Entities could make much of little; no annotation has them. */
static void XMLCALL on_doctype(void *ctx, const XML_Char *name, const XML_Char *system, const XML_Char *public,
                               int has_internal) {
    reading *const r = ctx;
    (void)name;
    (void)system;
    (void)public;
    if (has_internal)
        stop(r, cvr_fail(r->err, CVR_ERR_FORMAT, "it defines its own document type; is this an annotation?"));
}

static int32_t fail_syntax(const reading *r) {
    return cvr_fail(r->err, CVR_ERR_FORMAT, "column %llu: this is no XML (%.100s); write it anew",
                    (unsigned long long)XML_GetCurrentColumnNumber(r->parser) + 1,
                    XML_ErrorString(XML_GetErrorCode(r->parser)));
}

static int32_t feed(reading *r, dataset_file *f) {
    uint64_t got;
    do {
        void *const chunk = XML_GetBuffer(r->parser, CHUNK);
        if (!chunk) return cvr_fail(r->err, CVR_ERR_NOMEM, "out of memory for reading XML");
        CVR_TRY(dataset_file_read(f, chunk, CHUNK, &got, r->err));
        const enum XML_Status x = XML_ParseBuffer(r->parser, (int)got, got < CHUNK);
        if (r->status != CVR_OK) return r->status;
        if (x != XML_STATUS_OK)
            return XML_GetErrorCode(r->parser) == XML_ERROR_NO_MEMORY
                       ? cvr_fail(r->err, CVR_ERR_NOMEM, "out of memory for reading XML")
                       : fail_syntax(r);
    } while (got == CHUNK);
    return CVR_OK;
}

int32_t voc_xml_read(const cvr_host *host, const char *path, voc_page *page, cvr_error *err) {
    reading r = {.page = page, .err = err};
    dataset_file *f = NULL;
    uint32_t line = 0;
    int32_t status;
    page->height = page->width = 0;
    CVR_TRY_OUT(dataset_file_open(host, path, &f, err));
    r.parser = XML_ParserCreate(NULL);
    if (!r.parser) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory for reading XML"));
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    status = feed(&r, f);
    line = (uint32_t)XML_GetCurrentLineNumber(r.parser);
out:
    if (r.parser) XML_ParserFree(r.parser);
    dataset_file_close(f);
    return status == CVR_OK ? CVR_OK : cvr_fail_at(err, path, line, status);
}
