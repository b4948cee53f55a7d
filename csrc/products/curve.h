/* The activations that a matrix product applies as it stores its result. */
#ifndef ZK_CURVE_H
#define ZK_CURVE_H
#include "vmath.h"

/* Not inlined: a call costs less than the function. */
static __attribute__((noinline)) vf curve(vf y, int act) {
    switch (act) {
    case ZK_LINEAR:
        return y;
    case ZK_RELU:
        return vf_at_least(y, (vf){0});
    case ZK_RELU6:
        return vf_at_most(vf_at_least(y, (vf){0}), vf_set(6));
    case ZK_TANH:
        return vf_tanh(y);
    case ZK_GELU:
        return vf_gelu(y);
    case ZK_GELU_TANH:
        return vf_gelu_tanh(y);
    case ZK_SILU:
        return vf_silu(y);
    default:
        return vf_sigmoid(y);
    }
}
#endif
