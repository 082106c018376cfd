/* diffeo: picks the command, and float or double.  If OpenBLAS fell back to its slowest kernels on a CPU
 * that it does not know, the program starts itself again once with OPENBLAS_CORETYPE set
 * (DIFFEO_REEXEC=0 turns that off; the variable also marks that it was done).  */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

static const struct command {
    const char *name;
    int (*run[2])(int, char **);       /* float, double */
} commands[] = {
#define X(name) {#name, {cmd_##name##_float, cmd_##name##_double}},
    COMMANDS(X)
#undef X
};

#define N (sizeof commands / sizeof *commands)

static void use_better_blas(char **argv)
{
    int fallback;
    dfo_blas_core(&fallback);
    if (!fallback || getenv("DIFFEO_REEXEC"))
        return;
    if (setenv("DIFFEO_REEXEC", "1", 1) ||
        setenv("OPENBLAS_CORETYPE", __builtin_cpu_supports("avx512f") ? "SkylakeX" : "Haswell", 1))
        return;
    execv("/proc/self/exe", argv);     /* on failure: slower, not wrong */
}

static int help(FILE *to)
{
    fputs("Usage: diffeo COMMAND [OPTION…] [ARGUMENT…]\n"
          "Normalizing flows: fit a density, score, sample, encode to latents and decode back.\n\n"
          "  train    fit a model to data                loglik   log-likelihood of data\n"
          "  sample   draw from a model                  check    verify inverses, log-dets, gradients\n"
          "  encode   data to latents                    decode   latents to data\n"
          "  info     what a model or preset is          plot     densities, corner plots, images, curves\n"
          "  classify   class probabilities of rows, and how good they are\n"
          "  edit   rows of one class made into another's, kept where a mask says so\n"
          "  interpolate   rows between those of the data, through the latents\n"
          "  distance   how far two samples are apart\n"
          "  calibrate   whether rows fall where a model says\n"
          "  mcmc   a density known up to a constant, drawn from by Markov chains\n"
          "  filter   pictures convolved with a kernel, and exactly back\n\n"
          "'diffeo COMMAND --help' lists a command's options; 'man diffeo' tells the rest.\n",
          to);
    return 0;
}

static int version(void)
{
    int fallback;
    printf("diffeo %s\nkernels: %s\n", dfo_version(), dfo_cpu_name());
    const char *core = dfo_blas_core(&fallback), *chosen = getenv("DIFFEO_REEXEC");
    printf("OpenBLAS: %s%s%s\n", core, fallback ? " (its slowest kernels: this CPU is unknown to it)" : "",
           chosen && !strcmp(chosen, "1") ? " (chosen by diffeo through OPENBLAS_CORETYPE)" : "");
    return 0;
}

/* 0: float, 1: double, -1: something else was asked for.  usual: where nothing is.  */
static int precision(int argc, char **argv, int usual, const char **bad)
{
    int which = usual;
    for (int i = 2; i < argc && strcmp(argv[i], "--"); i++) {
        const char *value = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        size_t name = strcspn(value, "=");
        if (!strncmp(value, "-P", 2))
            value = value[2] ? value + 2 : next;
        else if (name >= 4 && !strncmp(value, "--precision", name))        /* argp knows it by its beginning, too */
            value = value[name] ? value + name + 1 : next;
        else
            continue;
        if (!value)
            continue;
        *bad = value;
        which = !strcmp(value, "float") ? 0 : !strcmp(value, "double") ? 1 : -1;
    }
    return which;
}

int main(int argc, char **argv)
{
    use_better_blas(argv);
    dfo_blas_rest();
    argp_err_exit_status = EXIT_USAGE;
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))
        return help(stdout);
    if (!strcmp(argv[1], "--version"))
        return version();
    for (size_t i = 0; i < N; i++) {
        if (strcmp(argv[1], commands[i].name))
            continue;
        const char *bad = "";
        int which = precision(argc, argv, !strcmp(argv[1], "filter"), &bad);
        if (which < 0) {
            fprintf(stderr, "diffeo %s: --precision: expected float or double, got '%s'\n", argv[1], bad);
            return EXIT_USAGE;
        }
        char name[64];
        snprintf(name, sizeof name, "diffeo %s", commands[i].name);
        argv[1] = name;
        return commands[i].run[which](argc - 1, argv + 1);
    }
    fprintf(stderr, "diffeo: unknown command '%s'; 'diffeo --help' lists them\n", argv[1]);
    return EXIT_USAGE;
}
