/* Activations of recurrent layers over vectors. In: a vector and a code of zk.h. Out: the
 * activation, or a gradient before it, which the activation's result is enough for. */
#ifndef ZK_RNN_ACT_H
#define ZK_RNN_ACT_H
#include "vmath.h"

#define SELU 1.0507009873554805f
#define SELU_ALPHA 1.7580993408473766f /* SELU times 1.67326... */

ZK_INLINE vf rnn_between(vf x, float low, float high) {
    return vf_at_most(vf_at_least(x, vf_set(low)), vf_set(high));
}

/* slope where low < y < high, else 0 */
ZK_INLINE vf rnn_inside(vf y, float low, float high, float slope) {
    return (vf)((vi)vf_set(slope) & (y > low) & (y < high));
}

static __attribute__((noinline)) vf rnn_other(vf x, int act) {
    const vf none = {0}, above = vf_at_least(x, none);
    switch (act) {
    case ZK_RELU6:
        return rnn_between(x, 0, 6);
    case ZK_LEAKY_RELU:
        return vf_blend(x > 0.f, x, 0.2f * x);
    case ZK_HARD_SIGMOID:
        return rnn_between(x * (1 / 6.f) + 0.5f, 0, 1);
    case ZK_HARD_SIGMOID_FIFTH:
        return rnn_between(x * 0.2f + 0.5f, 0, 1);
    case ZK_SPARSE_SIGMOID:
        return rnn_between(x * 0.5f + 0.5f, 0, 1);
    case ZK_HARD_TANH:
        return rnn_between(x, -1, 1);
    case ZK_ELU:
        return vf_blend(x > 0.f, x, vf_expm1(vf_at_most(x, none)));
    case ZK_SELU:
        return vf_blend(x > 0.f, SELU * x, SELU_ALPHA * vf_expm1(vf_at_most(x, none)));
    case ZK_SOFTPLUS:
        return vf_softplus(x);
    case ZK_LOG_SIGMOID:
        return -vf_softplus(-x);
    case ZK_SOFTSIGN:
        return x / (vf_abs(x) + 1.f);
    case ZK_SPARSE_PLUS:
        x = vf_at_least(x, vf_set(-1));
        return vf_blend(x < 1.f, 0.25f * (x + 1.f) * (x + 1.f), above);
    case ZK_EXPONENTIAL:
        return vf_exp(x);
    default:
        return x;
    }
}

static __attribute__((noinline)) vf rnn_other_slope(vf y, int act) {
    const vf one = vf_set(1);
    switch (act) {
    case ZK_RELU6:
        return rnn_inside(y, 0, 6, 1);
    case ZK_LEAKY_RELU:
        return vf_blend(y > 0.f, one, vf_set(0.2f));
    case ZK_HARD_SIGMOID:
        return rnn_inside(y, 0, 1, 1 / 6.f);
    case ZK_HARD_SIGMOID_FIFTH:
        return rnn_inside(y, 0, 1, 0.2f);
    case ZK_SPARSE_SIGMOID:
        return rnn_inside(y, 0, 1, 0.5f);
    case ZK_HARD_TANH:
        return rnn_inside(y, -1, 1, 1);
    case ZK_ELU:
        return vf_blend(y > 0.f, one, y + 1.f);
    case ZK_SELU:
        return vf_blend(y > 0.f, vf_set(SELU), y + SELU_ALPHA);
    case ZK_SOFTPLUS:
        return -vf_expm1(-y);
    case ZK_LOG_SIGMOID:
        return -vf_expm1(y);
    case ZK_SOFTSIGN:
        return (1.f - vf_abs(y)) * (1.f - vf_abs(y));
    case ZK_SPARSE_PLUS:
        return vf_at_most(vf_sqrt(y), one);
    case ZK_EXPONENTIAL:
        return y;
    default:
        return one;
    }
}

/* The usual ones are inlined, and chosen by the compiler where `act` is a constant. */
ZK_INLINE vf rnn_act(vf x, int act) {
    if (act == ZK_TANH) return vf_tanh(x);
    if (act == ZK_SIGMOID) return vf_sigmoid(x);
    return act == ZK_RELU ? vf_at_least(x, (vf){0}) : rnn_other(x, act);
}

/* The gradient before an activation, from d after it and its result y. */
ZK_INLINE vf rnn_before(vf d, vf y, int act) {
    if (act == ZK_TANH) return d * (1.f - y * y);
    if (act == ZK_SIGMOID) return d * y * (1.f - y);
    if (act == ZK_RELU) return (vf)((vi)d & (y > 0.f));
    return d * rnn_other_slope(y, act);
}
#endif
