/* --target: densities with names in place of data; what train, sample and mcmc share.  */
#ifndef DIFFEO_APPS_TARGET_H
#define DIFFEO_APPS_TARGET_H

#include "cmd.h"

#define target_open CMD(target_open)
#define target_names CMD(target_names)
#define target_sink CMD(target_sink)
/* A density by its name.  Exit status.  */
int target_open(const struct common *c, const char *spec, dfo_named_target **out);
/* Its columns' names, or those of the model (or NULL), or x1, x2, ... (a new reference).  NULL: out of memory.  */
json_t *target_names(const dfo_named_target *target, dfo_model *model);
/* Opens an output of rows with these names, and one more if that is not NULL.  Exit status.  */
int target_sink(const struct common *c, const char *path, const char *format, uint64_t rows, const json_t *names, const char *more,
                dfo_sink **out);

/* What train needs in place of data: rows that only count.  */
struct train_target {
    const char *name;                  /* NULL: data */
    double      alpha;
    int         has_alpha;
    dfo_named_target *target;
    dfo_real   *rows;
    dfo_source *valid;
};

#define train_target_argp CMD(train_target_argp)
#define train_target_open CMD(train_target_open)
#define train_target_note CMD(train_target_note)
#define train_target_extra CMD(train_target_extra)
#define train_target_resumes CMD(train_target_resumes)
#define train_target_close CMD(train_target_close)
extern const struct argp train_target_argp;        /* a child parser; its input is struct train_target */
/* Opens the density and, as in->source, rows for a step of `batch`.  Exit status.  */
int train_target_open(const struct common *c, struct train_target *of, struct input *in, size_t batch);
/* What a checkpoint keeps (to be freed): the configuration and what is fitted, in words; and whether a checkpoint fitted the same, an error if
 * not.  Exit status.  */
int train_target_extra(const struct common *c, const struct train_target *of, const json_t *config, char **out);
int train_target_resumes(const struct common *c, const struct train_target *of, const char *checkpoint);
/* Its columns' names to the model's notes; not 0: out of memory.  */
int train_target_note(const struct train_target *of, json_t *notes);
void train_target_close(struct train_target *of);

#define draw_weighted CMD(draw_weighted)
/* sample --target: draws of a model with their weights as a target's, or resampled by them.  */
struct weighted {
    const char *model, *target, *output, *format;
    uint64_t n;
    int resample;
};
/* Exit status.  */
int draw_weighted(const struct common *c, const struct weighted *how);

#endif
