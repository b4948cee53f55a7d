/* Winograd's F(4x4, 3x3): 4 x 4 outputs of a 3 x 3 convolution from 6 x 6 inputs with 36 products
 * instead of 144; and F(2x2, 3x3), with 16 instead of 36. Here are their linear maps, a vector of
 * channels at a time; products and loops over tiles are elsewhere. Source: Lavin and Gray, Fast
 * Algorithms for Convolutional Neural Networks. F(4x4) takes the points 0, +-2/3, +-3/2 and
 * infinity, whose rounding error is half that of 0, +-1, +-2; F(2x2) takes 0, +-1 and infinity. */
#ifndef ZK_WINOGRAD_H
#define ZK_WINOGRAD_H
#include "vec.h"

#define WINO_OUT 4  /* outputs of a tile along an axis, at most */
#define WINO_IN 6   /* inputs, and points */
#define WINO_POS 36 /* products of a tile */
/* Products of a tile of `out` outputs along an axis. */
#define WINO_POINTS(out) (((out) + 2) * ((out) + 2))
#define WINO_A ((float)ZK_WINOGRAD_P / ZK_WINOGRAD_Q)
#define WINO_B ((float)ZK_WINOGRAD_Q / ZK_WINOGRAD_P)
#define WINO_AA (WINO_A * WINO_A)
#define WINO_BB (WINO_B * WINO_B)

/* The maps of one axis. Each reads x[0], x[step], ... and fills y[0], y[1], ... */

/* Six inputs at the six points. */
ZK_INLINE void wino_input(const vf *x, const int step, vf *y) {
    const vf p = x[4 * step] - WINO_BB * x[2 * step], q = x[3 * step] - WINO_BB * x[step];
    const vf r = x[4 * step] - WINO_AA * x[2 * step], s = x[3 * step] - WINO_AA * x[step];
    y[0] = x[0] - (WINO_AA + WINO_BB) * x[2 * step] + x[4 * step];
    y[1] = p + WINO_A * q, y[2] = p - WINO_A * q;
    y[3] = r + WINO_B * s, y[4] = r - WINO_B * s;
    y[5] = x[step] - (WINO_AA + WINO_BB) * x[3 * step] + x[5 * step];
}

/* Six products to four outputs. */
ZK_INLINE void wino_output(const vf *x, const int step, vf *y) {
    const vf e = x[step] + x[2 * step], f = x[3 * step] + x[4 * step];
    const vf o = x[step] - x[2 * step], p = x[3 * step] - x[4 * step];
    y[0] = x[0] + e + f;
    y[1] = WINO_A * o + WINO_B * p;
    y[2] = WINO_AA * e + WINO_BB * f;
    y[3] = WINO_A * WINO_AA * o + (WINO_B * WINO_BB * p + x[5 * step]);
}

/* The transpose of wino_output: four gradients at the six points. */
ZK_INLINE void wino_gradient(const vf *x, const int step, vf *y) {
    const vf e = x[0] + WINO_AA * x[2 * step], f = x[0] + WINO_BB * x[2 * step];
    const vf o = WINO_A * x[step] + WINO_A * WINO_AA * x[3 * step];
    const vf p = WINO_B * x[step] + WINO_B * WINO_BB * x[3 * step];
    y[0] = x[0];
    y[1] = e + o, y[2] = e - o;
    y[3] = f + p, y[4] = f - p;
    y[5] = x[3 * step];
}

/* What a point's weights are multiplied by. */
#define WINO_NA (1 / (2 * WINO_AA * (WINO_AA - WINO_BB)))
#define WINO_NB (1 / (2 * WINO_BB * (WINO_BB - WINO_AA)))

/* Three weights at the six points; A A B B is 1. */
ZK_INLINE void wino_weights(const vf *x, const int step, vf *y) {
    const vf e = WINO_NA * x[0] + WINO_NA * WINO_AA * x[2 * step], o = WINO_NA * WINO_A * x[step];
    const vf f = WINO_NB * x[0] + WINO_NB * WINO_BB * x[2 * step], p = WINO_NB * WINO_B * x[step];
    y[0] = x[0];
    y[1] = e + o, y[2] = e - o;
    y[3] = f + p, y[4] = f - p;
    y[5] = x[2 * step];
}

/* The transpose of wino_weights: six sums to three weights. */
ZK_INLINE void wino_unweight(const vf *x, const int step, vf *y) {
    const vf e = WINO_NA * (x[step] + x[2 * step]), f = WINO_NB * (x[3 * step] + x[4 * step]);
    const vf o = WINO_NA * WINO_A * (x[step] - x[2 * step]);
    const vf p = WINO_NB * WINO_B * (x[3 * step] - x[4 * step]);
    y[0] = x[0] + e + f;
    y[1] = o + p;
    y[2] = WINO_AA * e + (WINO_BB * f + x[5 * step]);
}

/* The same for F(2x2, 3x3): four inputs, four products to two outputs, three weights. */
ZK_INLINE void wino2_input(const vf *x, const int step, vf *y) {
    y[0] = x[2 * step] - x[0];
    y[1] = x[step] + x[2 * step], y[2] = x[2 * step] - x[step];
    y[3] = x[3 * step] - x[step];
}
ZK_INLINE void wino2_output(const vf *x, const int step, vf *y) {
    y[0] = x[0] + (x[step] + x[2 * step]);
    y[1] = x[step] - x[2 * step] + x[3 * step];
}
ZK_INLINE void wino2_weights(const vf *x, const int step, vf *y) {
    const vf e = .5f * (x[0] + x[2 * step]), o = .5f * x[step];
    y[0] = -x[0];
    y[1] = e + o, y[2] = e - o;
    y[3] = x[2 * step];
}

/* Both axes: x(n, n) to y(m, m), each map from n to m numbers. */
#define WINO_PLANE(name, line, n, m)                                                             \
    ZK_INLINE void name(const vf *x, vf *y) {                                                    \
        vf t[(n) * (m)], turned[m];                                                              \
        _Pragma("GCC unroll 6") for (int j = 0; j < (n); j++) {                                  \
            line(x + j, n, turned);                                                              \
            _Pragma("GCC unroll 6") for (int i = 0; i < (m); i++) t[i * (n) + j] = turned[i];    \
        }                                                                                        \
        _Pragma("GCC unroll 6") for (int i = 0; i < (m); i++) line(t + i * (n), 1, y + i * (m)); \
    }
WINO_PLANE(wino_input_plane, wino_input, 6, 6)
WINO_PLANE(wino_output_plane, wino_output, 6, 4)
WINO_PLANE(wino_gradient_plane, wino_gradient, 4, 6)
WINO_PLANE(wino_weights_plane, wino_weights, 3, 6)
WINO_PLANE(wino_unweight_plane, wino_unweight, 6, 3)
WINO_PLANE(wino2_input_plane, wino2_input, 4, 4)
WINO_PLANE(wino2_output_plane, wino2_output, 4, 2)
WINO_PLANE(wino2_weights_plane, wino2_weights, 3, 4)
#endif
