/* The run: scratch memory and a worker's error.  The reduction is in train/plan.c.  */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <diffeo/run.h>

dfo_real *dfo_arena_take(dfo_run *run, size_t n)
{
    size_t size = dfo_arena_size(n);
    if (size > run->arena_size - run->arena_used)
        return NULL;               /* scratch() counted too little: a defect the contract test finds */
    dfo_real *memory = run->arena + run->arena_used;
    run->arena_used += size;
    return memory;
}

dfo_status dfo_run_fail(dfo_run *run, dfo_status status, size_t row, const char *format, ...)
{
    if (run->status != DFO_OK)
        return run->status;
    va_list args;
    va_start(args, format);
    run->status = status;
    run->error_row = row == (size_t)-1 ? row : (size_t)run->key.row + row;
    vsnprintf(run->text, sizeof run->text, format, args);
    va_end(args);
    return status;
}

dfo_status dfo_run_wrap(dfo_run *run, const char *format, ...)
{
    char front[sizeof run->text];
    va_list args;
    va_start(args, format);
    vsnprintf(front, sizeof front, format, args);
    va_end(args);
    size_t have = strlen(front), keep = strlen(run->text);
    if (keep > sizeof run->text - 1 - have)
        keep = sizeof run->text - 1 - have;
    memmove(run->text + have, run->text, keep);
    memcpy(run->text, front, have);
    run->text[have + keep] = 0;
    return run->status;
}
