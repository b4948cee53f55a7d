/* Weights in the order in which direct convolution reads them: [group][panel][tap][channel][16].
 * In: raw weights of this convolution, or of the one whose gradient it is. */
#ifndef ZK_CONV_PACK_H
#define ZK_CONV_PACK_H
#include "conv.h"

static inline int64_t packed_floats(const zk_conv *p) {
    return p->groups * zk_ceil(p->co, PANEL) * count_taps(p) * p->ci * PANEL;
}

typedef struct {
    const zk_conv *p;
    const float *w; /* (kernel rows, kernel columns, ...) */
    float *packed;
    int64_t rows, columns;       /* of the kernel */
    int64_t tap, in, out, group; /* distance in w of taps, input channels, filters, groups */
} zk_packing;

static inline void copy_filters(const float *w, int64_t cols, float *to) {
    if (cols == PANEL) memcpy(to, w, PANEL * 4);
    else memcpy(to, w, (size_t)cols * 4);
}

/* One tap of one panel, (ci, 16), zero beyond the last filter. */
static inline void pack_tap(const zk_packing *k, const float *w, int64_t cols, float *to) {
    int64_t ci = k->p->ci;
    if (cols < PANEL) memset(to, 0, (size_t)(ci * PANEL) * 4);
    if (k->out == 1)
        for (int64_t c = 0; c < ci; c++, w += k->in, to += PANEL) copy_filters(w, cols, to);
    else
        for (int64_t c = 0; c < ci; c += PANEL)
            for (int64_t o = 0; o < cols; o++)
                for (int64_t i = c; i < zk_min(c + PANEL, ci); i++)
                    to[i * PANEL + o] = w[i * k->in + o * k->out];
}

static void pack_panel(void *ctx, int64_t task, int thread) {
    const zk_packing *k = ctx;
    const zk_conv *p = k->p;
    int64_t panels = zk_ceil(p->co, PANEL), panel = task % panels;
    int64_t cols = zk_min(PANEL, p->co - panel * PANEL);
    const float *w = k->w + task / panels * k->group + panel * PANEL * k->out;
    float *to = k->packed + task * count_taps(p) * p->ci * PANEL;
    (void)thread;
    for (int64_t t = 0; t < count_taps(p); t++, to += p->ci * PANEL) {
        int64_t d = t / p->h.taps / p->v.taps, i = t / p->h.taps % p->v.taps, j = t % p->h.taps;
        int64_t row = (p->z.index + d * p->z.dindex) * k->rows + p->v.index + i * p->v.dindex;
        int64_t cell = row * k->columns + p->h.index + j * p->h.dindex;
        pack_tap(k, w + cell * k->tap, cols, to);
    }
}

/* Packs raw weights (kd, kh, kw, ci, groups * co), or those of the convolution whose gradient this
 * is (turned), (kd, kh, kw, co, groups * ci). */
static inline void pack_weights(const zk_call *c, const zk_conv *p, const float *w,
                                const zk_arg *shape, int turned, float *packed) {
    int64_t filters = p->groups * (turned ? p->ci : p->co);
    zk_packing k = {p,
                    w,
                    packed,
                    kernel_cells(shape, 1),
                    kernel_cells(shape, 2),
                    (turned ? p->co : p->ci) * filters,
                    turned ? 1 : filters,
                    turned ? filters : 1,
                    turned ? p->ci : p->co};
    zk_parallel(c, p->groups * zk_ceil(p->co, PANEL), pack_panel, &k);
}
#endif
