/* Squares of VL x VL floats, transposed in registers. */
#ifndef ZK_TURN_H
#define ZK_TURN_H
#include "vec.h"

#define AT(T, p, bytes) (*(T *)((p) + (bytes)))

#define FOUR(f, l, w) f(l, w), f((l) + 1, w), f((l) + 2, w), f((l) + 3, w)
#if VL == 16
#define LANES(f, w) FOUR(f, 0, w), FOUR(f, 4, w), FOUR(f, 8, w), FOUR(f, 12, w)
#elif VL == 8
#define LANES(f, w) FOUR(f, 0, w), FOUR(f, 4, w)
#else
#define LANES(f, w) FOUR(f, 0, w)
#endif
#define LOW(l, w) ((l) & (w) ? VL + (l) - (w) : (l))
#define HIGH(l, w) ((l) & (w) ? VL + (l) : (l) + (w))

/* In every square of 2w x 2w, swaps the two w x w squares off the diagonal. */
#define SWAP_SQUARES(w)                                                     \
    _Pragma("GCC unroll 16") for (int i = 0; i < VL; i++) if (!(i & (w))) { \
        vf a = r[i], b = r[i + (w)];                                        \
        r[i] = __builtin_shuffle(a, b, (vi){LANES(LOW, w)});                \
        r[i + (w)] = __builtin_shuffle(a, b, (vi){LANES(HIGH, w)});         \
    }

/* Transposes VL x VL floats. */
ZK_INLINE void turn_square(char *d, int64_t to_row, const char *s, int64_t from_col) {
    vf r[VL];
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) r[i] = AT(const vf, s, i *from_col);
#if VL >= 16
    SWAP_SQUARES(8)
#endif
#if VL >= 8
    SWAP_SQUARES(4)
#endif
    SWAP_SQUARES(2)
    SWAP_SQUARES(1)
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) AT(vf, d, i * to_row) = r[i];
}
#endif
