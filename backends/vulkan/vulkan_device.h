/*
 * A Vulkan device from within. vulkan_device.c opens it, vulkan_memory.c has its blocks, vulkan_lanes.c its two lanes
 * and their tickets, vulkan_transfer.c the copies, vulkan_pipelines.c compiled code, vulkan_record.c recordings.
 */
#ifndef VULKAN_DEVICE_H
#define VULKAN_DEVICE_H

#include "../host/host_grow.h"
#include "vulkan_table.h"

#define VULKAN_ALIGNMENT 256u
#define VULKAN_DEVICES 16u /* physical devices that are listed, at most */

/* The keys in [backend], in the order of vulkan_attrs. */
typedef struct vulkan_keys {
    int64_t validation; /* VULKAN_VALIDATION_* */
    int64_t check;      /* whether recordings are checked, and fresh memory is NaN */
    int64_t barriers;   /* VULKAN_BARRIERS_* */
    int64_t unified;    /* whether memory that host and device share is used in place */
    int64_t submit_ms, timeout_s;
    int64_t drop_barrier, fail_submit, fail_alloc; /* for tests; 0: none */
} vulkan_keys;

#define VULKAN_VALIDATION_NO 0
#define VULKAN_VALIDATION_CORE 1
#define VULKAN_VALIDATION_SYNC 2
#define VULKAN_VALIDATION_GPU 3
#define VULKAN_BARRIERS_NEEDED 0
#define VULKAN_BARRIERS_ALL 1

/* ---- the instance (vulkan_instance.c) ---- */

/* The loader's instance, with what the validation layers said. */
typedef struct vulkan_instance {
    const cvr_host *host;
    vulkan_table table;
    VkInstance handle;
    VkDebugUtilsMessengerEXT messenger;
    uint64_t messages;
    char first_message[512];
} vulkan_instance;

/* `validation`: VULKAN_VALIDATION_*. Messages go to the host's log. The instance stays where it is until it is closed.
 */
int32_t vulkan_instance_open(vulkan_instance *i, const cvr_host *host, int64_t validation, cvr_error *err);
void vulkan_instance_close(vulkan_instance *i);
/* The devices; `n` is the room for them, then their number. */
int32_t vulkan_instance_devices(const vulkan_instance *i, VkPhysicalDevice *out, uint32_t *n, cvr_error *err);
/* The error that there is no device, with what to do. */
int32_t vulkan_no_driver(cvr_error *err);
/* An error where the validation layers have complained. */
int32_t vulkan_instance_complaints(const vulkan_instance *i, cvr_error *err);

/* ---- what a device is (vulkan_physical.c) ---- */

#define VULKAN_QUEUE_FAMILIES 16u

/* The structs of features that are asked about and, in a copy, asked for. */
typedef struct vulkan_features {
    VkPhysicalDeviceFeatures2 all;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceVulkan13Features v13;
} vulkan_features;

/* Everything that is known of a device before it is opened. */
typedef struct vulkan_physical {
    VkPhysicalDevice handle;
    char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE], driver[2 * VK_MAX_DRIVER_NAME_SIZE], uuid[40], features[128];
    vulkan_features wanted; /* the features to open it with; linked by vulkan_features_link */
    VkPhysicalDeviceLimits limits;
    VkPhysicalDeviceMemoryProperties memory;
    uint32_t vendor, device, driver_version, type;
    uint8_t cache_uuid[VK_UUID_SIZE];
    uint32_t family, upload_family; /* of queues; the same where there is no second queue */
    uint32_t upload_queue;          /* its number in the family */
    uint32_t timestamp_bits;
    int32_t has_budget; /* tells how much memory is free */
    cvr_device_info info;
} vulkan_physical;

/* Puts the structs into one chain; the first is what Vulkan is given. */
VkPhysicalDeviceFeatures2 *vulkan_features_link(vulkan_features *f);
/* Fills all of it; the texts of `info` are in `p`, which stays where it is. A device that lacks something is refused
 * with the names of what it lacks. */
int32_t vulkan_physical_read(vulkan_physical *p, const vulkan_table *t, VkPhysicalDevice handle, cvr_error *err);

/* ---- memory (vulkan_memory.c) ---- */

typedef struct vulkan_block {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t address, bytes;
    uint8_t *mapped; /* where the host sees it; NULL: nowhere */
} vulkan_block;

/* What memory is for, which decides the type of memory it is taken from. */
typedef enum vulkan_use {
    VULKAN_USE_TENSORS, /* the device's own; host-visible only where that costs nothing */
    VULKAN_USE_WRITTEN, /* written by the host, read by the device */
    VULKAN_USE_READ     /* written by the device, read by the host */
} vulkan_use;

/* ---- lanes (vulkan_lanes.c) ---- */

#define VULKAN_LANES 2u
#define VULKAN_UPLOADS 0u
#define VULKAN_MAIN 1u
#define VULKAN_NOTES 256u
#define VULKAN_SLOTS 8u /* of a lane, for transfers */

/* What was submitted with a value of the semaphore, for messages. */
typedef struct vulkan_note {
    uint64_t value;
    const char *first, *last; /* nodes; or `first` alone says what it is */
} vulkan_note;

/* A command buffer and a piece of staging memory for one transfer. */
typedef struct vulkan_slot {
    VkCommandBuffer commands;
    uint64_t value; /* that the lane's semaphore has when the slot is free again */
    void *to;       /* of a download: where the bytes go when they are there; NULL: nowhere */
    uint64_t bytes;
} vulkan_slot;

/* Things that are done one after the other. A ticket is value * VULKAN_LANES + the lane's number. */
typedef struct vulkan_lane {
    VkQueue queue;
    VkCommandPool pool;
    VkSemaphore semaphore;
    uint64_t issued, done; /* values of the semaphore */
    vulkan_note notes[VULKAN_NOTES];
    vulkan_slot slots[VULKAN_SLOTS];
    uint32_t next_slot;
    vulkan_block staging; /* made when it is first needed */
} vulkan_lane;

typedef struct vulkan_pipelines vulkan_pipelines;

#define VULKAN_LOST 1
#define VULKAN_HANGS 2 /* what was submitted may still run: nothing of it is destroyed */

typedef struct vulkan_device {
    const cvr_host *host;
    vulkan_keys keys;
    vulkan_instance instance;
    vulkan_table vk;
    vulkan_physical physical;
    VkDevice handle;
    vulkan_lane lanes[VULKAN_LANES];
    vulkan_pipelines *pipelines;
    vulkan_block *blocks;
    uint64_t n_blocks, capacity, used;
    uint64_t n_submits, n_allocs;
    int32_t lost; /* VULKAN_LOST, VULKAN_HANGS: nothing works any more, because of `why` */
    cvr_error why;
} vulkan_device;

int32_t vulkan_device_open(vulkan_device **out, const cvr_host *host, int64_t index, const vulkan_keys *keys,
                           cvr_error *err);
void vulkan_device_close(vulkan_device *d);

/* A block of its own, not among the device's. */
int32_t vulkan_block_create(vulkan_device *d, vulkan_use use, uint64_t bytes, vulkan_block *out, cvr_error *err);
void vulkan_block_destroy(vulkan_device *d, vulkan_block *b);
/* A block for tensors, which vulkan_find finds. */
int32_t vulkan_alloc(vulkan_device *d, uint64_t bytes, void **address, cvr_error *err);
void vulkan_free(vulkan_device *d, void *address);
/* The block that all of these bytes are in. */
const vulkan_block *vulkan_find(const vulkan_device *d, const void *address, uint64_t bytes);
int32_t vulkan_memory(const vulkan_device *d, uint64_t *used, uint64_t *available);

#define VULKAN_COMMANDS_AT_ONCE 64u

/* One submit: it gets the next value of the lane's semaphore. `after` is a ticket of the other lane. */
typedef struct vulkan_submit {
    const VkCommandBuffer *commands;
    uint32_t n; /* VULKAN_COMMANDS_AT_ONCE, at most */
    uint32_t reserved;
    uint64_t after;
    const char *first, *last; /* the nodes that it runs; `last` NULL: `first` says what it is */
} vulkan_submit;

int32_t vulkan_lanes_open(vulkan_device *d, cvr_error *err);
void vulkan_lanes_close(vulkan_device *d);
/* A command buffer of the lane's, in the state to be recorded once it has been begun. */
int32_t vulkan_lane_commands(vulkan_device *d, uint32_t lane, uint32_t n, VkCommandBuffer *out, cvr_error *err);
int32_t vulkan_lane_submit(vulkan_device *d, uint32_t lane, const vulkan_submit *s, uint64_t *ticket, cvr_error *err);
/* Whether a ticket is done, without waiting. */
int32_t vulkan_is_done(vulkan_device *d, uint64_t ticket);
/* Whether all that was ever issued to a lane is done. */
int32_t vulkan_lane_is_idle(vulkan_device *d, uint32_t lane);
int32_t vulkan_wait(vulkan_device *d, uint64_t ticket, cvr_error *err);
/* The error that every call gives once the device is lost. */
int32_t vulkan_alive(const vulkan_device *d, cvr_error *err);
/* Begins a command buffer that sees all that came before. */
int32_t vulkan_commands_begin(const vulkan_device *d, VkCommandBuffer c, cvr_error *err);
/* Ends it; the host sees all that it wrote. */
int32_t vulkan_commands_end(const vulkan_device *d, VkCommandBuffer c, cvr_error *err);
/* All that the device did before is seen by all that it does afterwards. */
void vulkan_commands_barrier(const vulkan_device *d, VkCommandBuffer c);

/* ---- transfers (vulkan_transfer.c) ---- */

int32_t vulkan_upload(vulkan_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err);
int32_t vulkan_download(vulkan_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err);
int32_t vulkan_copy(vulkan_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err);
/* Downloads whose bytes have come go to where they belong. */
void vulkan_downloads_finish(vulkan_device *d);

#endif
