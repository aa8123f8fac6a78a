/* What was recorded: dispatches, fills and copies, with copies of their parameters, in order. */
#ifndef EMU_RECORD_H
#define EMU_RECORD_H

#include "emu_fence.h"
#include "emu_group.h"

typedef struct emu_command emu_command;

typedef struct emu_list {
    const cvr_host *host;
    emu_command *first, **last;
    const char *name;         /* of the launch that records now, for messages */
    const cvr_launch *launch; /* itself, and what it is fenced in by; NULL: nothing is fenced */
    const emu_fence *fence;
    const cvr_launch_service *service; /* is told which launch runs; NULL: nobody is */
} emu_list;

void emu_list_init(emu_list *l, const cvr_host *host);
void emu_list_clear(emu_list *l);
/* A recorder that adds to the list. */
cvr_recorder emu_recorder(emu_list *l, const cvr_device_info *info);
/* The first entry of this name that is dispatched, or NULL. */
const cvr_emu_entry *emu_list_entry(const emu_list *l, const char *name);
int32_t emu_list_run(const emu_list *l, emu_group *g, const emu_settings *s, cvr_error *err);

#endif
