/* The keys that recipes have whatever plugins they choose, as structs that attributes are packed into (see attr.h). */
#ifndef CVR_SETTINGS_H
#define CVR_SETTINGS_H

#include <cvr/config.h>

typedef struct run_settings {
    const char *task, *project, *name;
    int64_t seed;
    const char *save_every;
    int64_t patience;
    double max_hours;
} run_settings;

typedef struct backend_settings {
    const char *name;
    int64_t device, fallback, threads;
    const char *isa;
    const char *passes;
    int64_t precision;
    int64_t pin;
} backend_settings;

typedef struct model_settings {
    const char *name, *weights;
    int64_t head, strict;
    const char *freeze;
    int64_t freeze_bn, num_classes, in_channels;
} model_settings;

typedef struct data_settings {
    const char *format, *root, *train, *val, *names;
    int64_t img_size;
    const char *mean, *std;
    int64_t shuffle, drop_last, limit, workers, on_error, decode;
} data_settings;

typedef struct train_settings {
    int64_t epochs, batch;
    const char *memory;
    int64_t ema;
    double ema_decay;
    int64_t ema_steps;
} train_settings;

typedef struct optim_settings {
    const char *name, *lr, *weight_decay, *norm_weight_decay, *bias_weight_decay;
    double backbone_lr_mult, head_lr_mult;
    const char *param_lr_mult, *param_weight_decay;
} optim_settings;

typedef struct sched_settings {
    const char *name;
    double warmup_epochs, lr_min;
} sched_settings;

typedef struct val_settings {
    int64_t interval;
    const char *metric;
    int64_t resize_size, crop_size, interpolation;
} val_settings;

typedef struct log_settings {
    const char *trace;
} log_settings;

extern const cvr_schema log_schema, run_schema, backend_schema, model_schema, data_schema, train_schema, optim_schema,
    sched_schema, val_schema, predict_schema;

#define PRECISION_NAMES "f32|bf16|bf16x3|auto"
enum { PRECISION_F32, PRECISION_BF16, PRECISION_BF16X3, PRECISION_AUTO };

/* "50 steps", "5 min", "1 epoch". */
typedef struct save_interval {
    int64_t steps, epochs;
    double seconds;
} save_interval;
int32_t parse_save_every(const char *text, save_interval *out, cvr_error *err);
/* "0.5", "0.1,0.2,0.3" or "imagenet"; one number stands for all channels. */
int32_t parse_channels(const char *key, const char *text, const double imagenet[3], double out[4], cvr_error *err);
/* "2G", "1.5G", "800M", "512K", bytes; "" gives 0. */
int32_t parse_bytes(const char *key, const char *text, uint64_t *out, cvr_error *err);
/* "" gives `otherwise`. */
int32_t parse_optional(const char *key, const char *text, double otherwise, double *out, cvr_error *err);

#endif
