/* The densities that there are.  */
#include "dist/dist_impl.h"

const struct dfoi_dist_kind dfoi_dist_kinds[] = {
    {"normal", dfoi_dist_normal},
    {"normal-full", dfoi_dist_normal_full},
    {"box", dfoi_dist_box},
    {"logistic", dfoi_dist_logistic},
    {"laplace", dfoi_dist_laplace},
    {"student-t", dfoi_dist_student},
    {"student-t-multivariate", dfoi_dist_student_multivariate},
    {"mixture-normal", dfoi_dist_mixture_normal},
    {"mixture-logistic", dfoi_dist_mixture_logistic},
    {"discretised-logistic-mixture", dfoi_dist_discretised},
    {"conditional-normal", dfoi_dist_conditional_normal},
    {"conditional-mixture", dfoi_dist_conditional_mixture},
    {"resampled", dfoi_dist_resampled},
    {"diffusion-gaussian", dfoi_dist_diffusion_gaussian},
    {"diffusion-binary", dfoi_dist_diffusion_binary},
};

const size_t dfoi_dist_kinds_count = sizeof dfoi_dist_kinds / sizeof *dfoi_dist_kinds;
