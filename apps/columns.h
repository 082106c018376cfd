/* train --type and --missing: kinds of columns for the layer that stands in front of a preset's.  */
#ifndef DIFFEO_APPS_COLUMNS_H
#define DIFFEO_APPS_COLUMNS_H

#include "cmd.h"

#define MAX_TYPES 64

struct columns {
    const char *type[MAX_TYPES];       /* as they were given */
    int         types;
    const char *missing;               /* NULL: refused */
};

#define columns_argp CMD(columns_argp)
#define columns_configure CMD(columns_configure)
#define columns_words CMD(columns_words)
#define columns_note CMD(columns_note)
extern const struct argp columns_argp;     /* a child parser; its input is struct columns */

/* Before the data are opened: columns that may hold words, and whether rows may lack something, to in.  Exit status.  */
int columns_words(const struct common *c, const struct columns *of, const json_t *config, struct input *in);
/* Names of a table's columns, and their words, to the model's notes; not 0: out of memory.  */
int columns_note(const struct input *in, json_t *notes);

/* Puts the kinds into a preset's configuration; what they leave open (how many categories, where a period begins) is taken from
 * the data, and from `more` rows for validation (or NULL).  A value that its column's kind does not allow is an error.  Exit status.  */
int columns_configure(const struct common *c, const struct columns *of, const struct input *in, const struct input *more, json_t *config);

#endif
