/*
 * Recordings. vulkan_record.c makes the list of commands of a request, vulkan_build.c command buffers of the list,
 * vulkan_replay.c submits them and measures.
 */
#ifndef VULKAN_RECORDING_H
#define VULKAN_RECORDING_H

#include "vulkan_barriers.h"
#include "vulkan_pipelines.h"

typedef enum vulkan_kind { VULKAN_DISPATCH, VULKAN_FILL, VULKAN_COPY } vulkan_kind;

typedef struct vulkan_command {
    vulkan_kind kind;
    uint32_t word; /* of a fill */
    VkPipeline pipeline;
    uint64_t params; /* where the parameters lie among those of the recording */
    uint32_t groups[3], reserved;
    VkBuffer to, from;
    uint64_t to_offset, from_offset, bytes;
} vulkan_command;

/* A command buffer holds the commands of a few launches. So many commands, and milliseconds once it has run. */
typedef struct vulkan_part {
    uint64_t first, n;
    double ms;
    uint32_t submit; /* this one begins a submit */
    uint32_t reserved;
} vulkan_part;

#define VULKAN_LAUNCHES_A_PART 4u

typedef struct vulkan_recording {
    vulkan_device *d;
    const cvr_launch *const *launches;
    uint64_t n_launches, id;
    const cvr_profiler *profiler; /* each launch writes two time stamps for it; NULL: none */
    vulkan_command *commands;
    vulkan_order *order; /* of the commands */
    uint64_t n, capacity, order_capacity;
    uint8_t *params; /* of all dispatches, until they are in `block` */
    uint64_t n_params, params_capacity;
    vulkan_block block;
    vulkan_part *parts;
    VkCommandBuffer *buffers; /* one a part */
    uint32_t n_parts;
    int32_t measured;    /* the parts' times are known */
    uint32_t replays;    /* until then */
    VkQueryPool queries; /* two a part, then two a launch; none where the device has no clock */
    uint64_t last;       /* ticket of the last replay */
} vulkan_recording;

int32_t vulkan_record(vulkan_device *d, const cvr_record_request *request, void **recording, cvr_error *err);
int32_t vulkan_replay(vulkan_device *d, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err);
void vulkan_discard(vulkan_device *d, void *recording);

/* vulkan_build.c: command buffers of the commands. */
int32_t vulkan_build(vulkan_recording *r, cvr_error *err);

#endif
