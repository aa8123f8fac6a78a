/* The devices of a plugin's backends, as backend.device names them, and what each can do. */
#ifndef CVRUN_LIST_DEVICES_H
#define CVRUN_LIST_DEVICES_H

#include <cvr/plugins.h>

/* Of a plugin that is not loaded, or has no backend: nothing. */
void print_devices(cvr_plugins *plugins, const cvr_plugin_info *p);
/* The same as a JSON list. */
void add_devices(cvr_text *t, cvr_plugins *plugins, const cvr_plugin_info *p);

#endif
