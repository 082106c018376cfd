/* Status codes: every function that can fail returns one of these.  */
#ifndef DIFFEO_STATUS_H
#define DIFFEO_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* One list gives the enum, the names and the texts.  */
#define DFO_STATUS_LIST(X)                                                    \
    X(OK,        "success")                                                   \
    X(EMEM,      "out of memory")                                             \
    X(ESHAPE,    "shapes do not fit")                                         \
    X(EARG,      "invalid argument")                                          \
    X(EFORMAT,   "malformed input")                                           \
    X(EIO,       "input or output failed")                                    \
    X(EUNSUP,    "not supported")                                             \
    X(ENUM,      "numerical failure")                                         \
    X(EINTR,     "interrupted")                                               \
    X(ELIMIT,    "a limit was reached")

typedef enum dfo_status {
#define X(name, text) DFO_##name,
    DFO_STATUS_LIST(X)
#undef X
    DFO_STATUS_COUNT
} dfo_status;

/* Returns a constant English text for a status, "unknown status" if it is none.  Never NULL.  */
const char *dfo_status_text(dfo_status status);

#ifdef __cplusplus
}
#endif
#endif
