/* Everything.  */
#ifndef DIFFEO_H
#define DIFFEO_H

#include <diffeo/status.h>
#include <diffeo/ctx.h>
#include <diffeo/real.h>
#include <diffeo/batch.h>
#include <diffeo/rng.h>
#include <diffeo/run.h>
#include <diffeo/store.h>
#include <diffeo/build.h>
#include <diffeo/dist.h>
#include <diffeo/calibration.h>
#include <diffeo/distance.h>
#include <diffeo/normality.h>
#include <diffeo/filter.h>
#include <diffeo/c2st.h>
#include <diffeo/net.h>
#include <diffeo/loss.h>
#include <diffeo/plan.h>
#include <diffeo/source.h>
#include <diffeo/fit.h>
#include <diffeo/plot.h>
#include <diffeo/bijector.h>
#include <diffeo/flow.h>
#include <diffeo/classifier.h>
#include <diffeo/check.h>
#include <diffeo/preset.h>
#include <diffeo/model.h>
#include <diffeo/ode.h>
#include <diffeo/leapfrog.h>
#include <diffeo/fixpoint.h>
#include <diffeo/reversible.h>
#include <diffeo/brownian.h>
#include <diffeo/sde.h>
#include <diffeo/schedule.h>
#include <diffeo/rex.h>
#include <diffeo/ddim.h>
#include <diffeo/denoise.h>
#include <diffeo/path.h>
#include <diffeo/netfield.h>
#include <diffeo/latents.h>

#endif
