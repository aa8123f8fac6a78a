/*
 * Darknet's .data file: lines `key = value` with classes, train, valid and names; and what it has in common with
 * data.yaml.
 */
#include "../csv_table.h"
#include "yolo.h"
#include <stdlib.h>

void yolo_plan_free(yolo_plan *p) {
    for (int i = 0; i < 2; i++)
        if (p->splits[i]) p->host->free(p->host, p->splits[i]);
    name_table_free(&p->names);
}

int32_t yolo_plan_add(yolo_plan *p, uint32_t split, const char *path, cvr_error *err) {
    const uint64_t n = strlen(path) + 1;
    if (n == 1 || n >= YOLO_PATH) return cvr_fail(err, CVR_ERR_FORMAT, "a path that is empty, or over 4095 bytes");
    /* one more, for the empty one at the end */
    char *const all = dataset_grow(p->host, p->splits[split], p->splits_n[split], n + 1, &p->splits_room[split], 1);
    if (!all) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of pictures");
    p->splits[split] = all;
    memcpy(all + p->splits_n[split], path, n);
    p->splits_n[split] += n;
    all[p->splits_n[split]] = '\0';
    return CVR_OK;
}

static char *trimmed(char *s) {
    s += strspn(s, " \t\r");
    for (size_t n = strlen(s); n && strchr(" \t\r", s[n - 1]);) s[--n] = '\0';
    return s;
}

static int32_t take_line(yolo_plan *p, const char *key, const char *value, cvr_error *err) {
    char *end;
    if (strcmp(key, "train") == 0) return yolo_plan_add(p, CVR_SPLIT_TRAIN, value, err);
    if (strcmp(key, "valid") == 0 || strcmp(key, "val") == 0) return yolo_plan_add(p, CVR_SPLIT_VAL, value, err);
    if (strcmp(key, "names") == 0) return dataset_path(p->names_file, sizeof p->names_file, "", value, err);
    if (strcmp(key, "classes") != 0) return CVR_OK; /* backup, eval and others are for Darknet's own training */
    p->n_classes = strtoll(value, &end, 10);
    return end != value && !*end && p->n_classes > 0 && p->n_classes <= YOLO_MOST_CLASSES
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_FORMAT, "`classes` is a whole number from 1 to %d", YOLO_MOST_CLASSES);
}

int32_t yolo_darknet_read(yolo_plan *p, const char *path, cvr_error *err) {
    csv_table lines = {0};
    int32_t status;
    p->darknet = 1;
    CVR_TRY_OUT(csv_table_read(p->host, path, CSV_LINES, &lines, err));
    for (uint64_t i = 0; i < lines.n_rows; i++) {
        char *const key = trimmed(lines.text + lines.cells[lines.rows[i].first]), *const equals = strchr(key, '=');
        if (!*key || *key == '#' || *key == ';') continue;
        if (!equals) CVR_TRY_OUT(csv_table_fail(&lines, path, i, "a line without `=`", err));
        *equals = '\0';
        status = take_line(p, trimmed(key), trimmed(equals + 1), err);
        if (status != CVR_OK) {
            (void)cvr_fail_at(err, path, (uint32_t)lines.rows[i].line, status);
            goto out;
        }
    }
out:
    csv_table_free(&lines);
    return status;
}
