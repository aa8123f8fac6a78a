/*
 * Runs the entries of device kernels that are compiled for the host (payload "emu.fn/1"): groups one after the other,
 * the threads of a group as fibres that change at barriers and shuffles. In which order they are resumed, and how large
 * a subgroup is, can be chosen: a kernel without a race gives the same bits in every order.
 */
#ifndef EMU_GROUP_H
#define EMU_GROUP_H

#include <cvr/device/emu.h>
#include <cvr/plugin/host.h>

#define EMU_FORWARD 0u
#define EMU_BACKWARD 1u
#define EMU_SHUFFLED 2u

#define EMU_THREADS 256u

typedef struct emu_settings {
    uint32_t order;    /* EMU_FORWARD and so on */
    uint32_t subgroup; /* 1 to 64, a power of two */
    /* A barrier that does nothing, to see whether it is missed: its kernel's name, NULL for none, and its place. */
    const char *left_out_of;
    uint32_t left_out;
    uint32_t reserved;
} emu_settings;

typedef struct emu_group emu_group;

int32_t emu_group_create(emu_group **out, const cvr_host *host, cvr_error *err);
void emu_group_destroy(emu_group **g);
/* The whole grid. */
int32_t emu_group_run(emu_group *g, const emu_settings *s, const cvr_emu_entry *e, const void *params,
                      const uint32_t *constants, uint64_t n_groups, cvr_error *err);

#endif
