/* The texts of status codes and the version.  */
#include <diffeo/ctx.h>

#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

const char *dfo_status_text(dfo_status status)
{
    static const char *const text[] = {
#define X(name, words) words,
        DFO_STATUS_LIST(X)
#undef X
    };
    return (unsigned)status < DFO_STATUS_COUNT ? text[status] : "unknown status";
}

const char *dfo_version(void)
{
    return PACKAGE_VERSION;
}
