/* dfo_real for private headers, with the private names of the double build.  */
#ifndef DFOI_REAL_IMPL_H
#define DFOI_REAL_IMPL_H

#include <diffeo/real.h>
#ifdef DFO_DOUBLE
#include "names_double_impl.h"
#endif

#endif
