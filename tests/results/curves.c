/* Curves, or with --dots points, from a table: curves [--log] [--dots] [--side PIXELS] TITLE X-LABEL Y-LABEL OUT.png <TABLE.  A line of
 * the table is name, x and y, with tabs between; lines of one name that follow each other are a series.  --log: both axes.  */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/ctx.h>
#include <diffeo/plot.h>

enum { SERIES = 32, POINTS = 20000, TEXT = 64, COLOURS = 7 };      /* COLOURS: what a plot has before it repeats them */

static char name[SERIES][TEXT];
static double x[POINTS], y[POINTS];

static int fail(const char *what)
{
    fprintf(stderr, "curves: %s\n", what);
    return 1;
}

/* Returns how many series there are, 0 with a message if the table is not one.  */
static size_t read_table(FILE *from, dfo_plot_series *series, int dots)
{
    char line[256], text[TEXT] = "";
    size_t n = 0, points = 0;
    while (fgets(line, sizeof line, from)) {
        if (points == POINTS)
            return fail("too many points"), 0;
        if (sscanf(line, "%63[^\t]\t%lf\t%lf", text, &x[points], &y[points]) != 3)
            return fprintf(stderr, "curves: line %zu: expected name, x and y, got %s", points + 1, line), 0;
        if (!n || strcmp(text, name[n - 1])) {
            if (n == SERIES)
                return fail("too many series"), 0;
            memcpy(name[n], text, sizeof text);
            series[n] = (dfo_plot_series){.name = name[n], .x = x + points, .y = y + points, .style = n < COLOURS ? DFO_PLOT_LINE : DFO_PLOT_DASHED};
            if (dots) {
                series[n].name = NULL;
                series[n].style = DFO_PLOT_DOTS;
            }
            n++;
        }
        series[n - 1].n++;
        points++;
    }
    if (!n)
        fail("no lines");
    return n;
}

int main(int argc, char **argv)
{
    dfo_ctx *ctx;
    dfo_plot_series series[SERIES];
    dfo_plot_curves c = {.series = series};
    int dots = 0, k = 1;
    for (; k < argc && !strncmp(argv[k], "--", 2); k++)
        if (!strcmp(argv[k], "--log"))
            c.x_scale = c.y_scale = DFO_PLOT_LOG;
        else if (!strcmp(argv[k], "--dots"))
            dots = 1;
        else if (!strcmp(argv[k], "--side") && k + 1 < argc)
            c.look.width = c.look.height = strtoul(argv[++k], NULL, 10);
    if (argc - k != 4 || dfo_ctx_new(&ctx))
        return fail("usage: curves [--log] [--dots] [--side PIXELS] TITLE X-LABEL Y-LABEL OUT.png <TABLE"), 2;
    c.look.title = argv[k];
    c.look.x_label = argv[k + 1];
    c.look.y_label = argv[k + 2];
    c.n = read_table(stdin, series, dots);
    int bad = !c.n;
    if (!bad && dfo_plot_curves_png(ctx, &c, argv[k + 3]))
        bad = fail(dfo_ctx_error(ctx));
    dfo_ctx_free(ctx);
    return bad;
}
