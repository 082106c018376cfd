/* The floating-point type of rows and weights.  The library holds everything that mentions
 * dfo_real twice: dfo_... for float and dfod_... for double.  A program that wants double defines
 * DFO_DOUBLE before its first include; the names in its source stay dfo_... .  */
#ifndef DIFFEO_REAL_H
#define DIFFEO_REAL_H

#include <float.h>

#ifdef DFO_DOUBLE
typedef double dfo_real;
#define DFO_REAL_EPS DBL_EPSILON
#define DFO_REAL_MAX DBL_MAX
#define DFO_REAL_NAME "double"
#include <diffeo/names_double.h>
#else
typedef float dfo_real;
#define DFO_REAL_EPS FLT_EPSILON
#define DFO_REAL_MAX FLT_MAX
#define DFO_REAL_NAME "float"
#endif

#endif
