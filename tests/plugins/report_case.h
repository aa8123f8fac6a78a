/*
 * What the tests of reporters share: a run folder with nothing in it, the events of a made-up run, batches of pictures,
 * and a look at what was written.
 */
#ifndef CVR_TEST_REPORT_CASE_H
#define CVR_TEST_REPORT_CASE_H

#include <cvr/plugin/plugin.h>
#include <cvr/plugins.h>
#include <stddef.h>

extern cvr_plugins *report_plugins;
extern cvr_error report_error;

/* A suite's .init and .fini: the run folder is support/scratch's, and holds nothing but what reporters write. */
void report_begin(void);
void report_finish(void);

/* All bytes of a file, with a zero after them; NULL where there is none. The caller frees. */
char *report_slurp(const char *name, size_t *size);
void report_spill(const char *name, const char *text);
void report_expect_text(const char *name, const char *wanted);

const cvr_reporter_desc *report_find(const char *name);
/* Of a run that goes on where these say; -1: from the start. */
cvr_run_info report_run(int64_t resume_step, int64_t resume_epoch);
void *report_open(const cvr_reporter_desc *r, const cvr_run_info *info);
int32_t report_tell_step(const cvr_reporter_desc *r, void *self, int64_t step);
int32_t report_tell_epoch(const cvr_reporter_desc *r, void *self, int64_t epoch, uint32_t n_metrics,
                          const uint64_t *matrix);
int32_t report_tell_end(const cvr_reporter_desc *r, void *self, const char *metric, double value, int64_t best_epoch);
/* Both steps of each epoch and its end. */
void report_tell_range(const cvr_reporter_desc *r, void *self, int64_t from_step, int64_t to_step);

/* Leaves what a run that was never cut off leaves. */
void report_whole_run(const cvr_reporter_desc *r);

/* A batch of pictures (n, height, width, channels) in memory, with what is known of them. */
typedef struct report_shown {
    cvr_named_tensor image, label, scores;
    const cvr_named_tensor *fields[2], *results[1];
    cvr_batch_view batch, outputs;
    float score[256];
    cvr_batch_event e;
} report_shown;
/* `predictions` become scores of two classes. */
const cvr_batch_event *report_batch(report_shown *b, const int64_t s[4], uint32_t dtype, const void *pixels,
                                    const int64_t *labels, const int64_t *predictions);

/* A tensor of a batch; `shape` ends with a 0 where the rank is less than 4. */
cvr_named_tensor report_tensor(const char *name, const char *kind, uint32_t dtype, const int64_t shape[4], void *data);

/* Runs `short_run` with a host that has memory for n allocations, for ever larger n, the steps a `share`th of it, until
 * it succeeds; before that it must say that there is none. */
void report_without_memory(const char *reporter, int64_t share,
                           int32_t (*short_run)(const cvr_reporter_desc *r, const cvr_host *host));

/* A picture that was written, as RGB. The caller frees its data. */
cvr_image report_picture(const char *name);
const uint8_t *report_pixel(const cvr_image *image, int64_t x, int64_t y);

#endif
