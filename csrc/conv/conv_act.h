/* Activations that a convolution applies as it stores its result. */
#ifndef ZK_CONV_ACT_H
#define ZK_CONV_ACT_H
#include "vmath.h"

/* Not inlined: a register tile calls it for each of its vectors. */
static __attribute__((noinline, unused)) vf conv_curve(vf y, int activation) {
    return activation == ZK_TANH ? vf_tanh(y) : vf_sigmoid(y);
}

/* NaN stays NaN. */
ZK_INLINE vf conv_activate(vf y, int activation) {
    if (activation == ZK_LINEAR) return y;
    if (activation == ZK_RELU) return vf_at_least(y, (vf){0});
    if (activation == ZK_RELU6) return vf_at_most(vf_at_least(y, (vf){0}), vf_set(6));
    return conv_curve(y, activation);
}
#endif
