include_diffeo_HEADERS += \
    lib/diffeo/net.h
noinst_HEADERS += \
    lib/nn/net_impl.h \
    lib/nn/made_impl.h \
    lib/nn/mlp_impl.h \
    lib/nn/residual_impl.h \
    lib/nn/rows_impl.h \
    lib/nn/panel_sum_impl.h \
    lib/nn/config_impl.h \
    lib/nn/dense_impl.h \
    lib/nn/conv_impl.h \
    lib/nn/conv_kern_impl.h \
    lib/nn/winograd_kern_impl.h \
    lib/nn/batch_kern_impl.h \
    lib/nn/convnet_impl.h \
    lib/nn/embed_impl.h \
    lib/nn/group_impl.h \
    lib/nn/group_kern_impl.h \
    lib/nn/attend_impl.h \
    lib/nn/unet_impl.h \
    lib/nn/residual_conv_impl.h \
    lib/nn/unit_impl.h \
    lib/nn/kernel_impl.h \
    lib/nn/kernel_kern_impl.h \
    lib/nn/squash_impl.h \
    lib/nn/time_mlp_impl.h \
    lib/nn/jet_impl.h \
    lib/nn/squash_kern_impl.h \
    lib/nn/unit_kern_impl.h
LIB_REAL += \
    lib/nn/net.c \
    lib/nn/net_rows.c \
    lib/nn/registry.c \
    lib/nn/config.c \
    lib/nn/linear.c \
    lib/nn/norm.c \
    lib/nn/unit.c \
    lib/nn/unit_jvp.c \
    lib/nn/mlp.c \
    lib/nn/made.c \
    lib/nn/made_sweep.c \
    lib/nn/made_residual.c \
    lib/nn/squash.c \
    lib/nn/squash_trace.c \
    lib/nn/jet.c \
    lib/nn/squash_jet.c \
    lib/nn/residual.c \
    lib/nn/residual_pass.c \
    lib/nn/batch_norm.c \
    lib/nn/conv.c \
    lib/nn/conv_input.c \
    lib/nn/conv_layer.c \
    lib/nn/conv_winograd.c \
    lib/nn/conv_map.c \
    lib/nn/conv_jvp.c \
    lib/nn/conv_pass.c \
    lib/nn/conv_work.c \
    lib/nn/conv_unit.c \
    lib/nn/residual_conv.c \
    lib/nn/residual_conv_jvp.c \
    lib/nn/residual_conv_pass.c \
    lib/nn/embed.c \
    lib/nn/time_mlp.c \
    lib/nn/time_mlp_trace.c \
    lib/nn/attend.c \
    lib/nn/group_norm.c \
    lib/nn/unet.c \
    lib/nn/unet_work.c \
    lib/nn/unet_pass.c \
    lib/nn/unet_jvp.c \
    lib/nn/kernel.c \
    lib/nn/kernel_pass.c \
    lib/nn/constant.c
LIB_KERN += \
    lib/nn/unit_kern.c \
    lib/nn/conv_kern.c \
    lib/nn/winograd_kern.c \
    lib/nn/batch_kern.c \
    lib/nn/group_kern.c \
    lib/nn/squash_kern.c \
    lib/nn/kernel_kern.c
EXTRA_DIST += lib/nn/README.md
