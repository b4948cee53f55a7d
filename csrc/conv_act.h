/* Activations that a convolution applies as it stores its result; their numbers are those of
 * zoo_keras/ops/linalg.py. */
#ifndef ZK_CONV_ACT_H
#define ZK_CONV_ACT_H
#include "vec.h"

enum { CONV_LINEAR, CONV_RELU, CONV_TANH, CONV_SIGMOID };

static __attribute__((noinline, unused)) vf conv_curve(vf y, int activation) {
    float t[VL];
    vf_store(t, y);
    for (int i = 0; i < VL; i++)
        t[i] = activation == CONV_TANH ? tanhf(t[i]) : 1 / (1 + expf(-t[i]));
    return vf_load(t);
}

/* NaN stays NaN. */
ZK_INLINE vf conv_activate(vf y, int activation) {
    if (activation == CONV_LINEAR) return y;
    if (activation == CONV_RELU) return (vf)((vi)y & ~(y < (vf){0}));
    return conv_curve(y, activation);
}
#endif
