/* Activations that a convolution applies as it stores its result; their numbers are those of
 * zoo_keras/ops/linalg.py. */
#ifndef ZK_CONV_ACT_H
#define ZK_CONV_ACT_H
#include "vmath.h"

enum { CONV_LINEAR, CONV_RELU, CONV_TANH, CONV_SIGMOID };

/* Not inlined: a register tile calls it for each of its vectors. */
static __attribute__((noinline, unused)) vf conv_curve(vf y, int activation) {
    return activation == CONV_TANH ? vf_tanh(y) : vf_sigmoid(y);
}

/* NaN stays NaN. */
ZK_INLINE vf conv_activate(vf y, int activation) {
    if (activation == CONV_LINEAR) return y;
    return activation == CONV_RELU ? vf_at_least(y, (vf){0}) : conv_curve(y, activation);
}
#endif
