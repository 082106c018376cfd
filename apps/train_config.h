/* Where a model's configuration comes from: a preset, a file, a checkpoint, --set, and what these leave to the data.  */
#ifndef DIFFEO_APPS_TRAIN_CONFIG_H
#define DIFFEO_APPS_TRAIN_CONFIG_H

#include "cmd.h"

#define MAX_SETS 64

struct train_config {
    const char *flow;
    const char *set[MAX_SETS];
    int         sets;
};

#define train_config_read CMD(train_config_read)
/* The configuration as one object (a new reference).  Exit status.  */
int train_config_read(const struct common *c, const struct train_config *from, const char *resume, json_t **out);

#define train_config_fill CMD(train_config_fill)
/* What the configuration leaves to the data, null standing for it; start: the model that training begins with, or NULL.  Exit status.  */
int train_config_fill(const struct common *c, const struct input *in, const dfo_model *start, json_t *config);

#endif
