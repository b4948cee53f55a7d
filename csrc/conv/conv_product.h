/* The register tile of Winograd's products: c(rows, 16 * panels) = a(rows, k) b(k, 16 * panels), or
 * c plus that. In: rows of a as they lie, or turned; b in panels of 16 columns. Out: c by its own
 * distances. Knows nothing of points, blocks or threads. */
#ifndef ZK_CONV_PRODUCT_H
#define ZK_CONV_PRODUCT_H
#include "conv_fma.h"

/* Most panels side by side, and most rows of so many: as many sums as the vector registers hold
 * beside one row of b. */
#if VL == 16
#define PRODUCT_PANELS 4
#define PRODUCT_ROWS(panels) ((panels) > 3 ? 6 : (panels) > 2 ? 8 : 12)
#elif VL == 8 || defined(__aarch64__)
#define PRODUCT_PANELS 1
#define PRODUCT_ROWS(panels) 6
#else
#define PRODUCT_PANELS 1
#define PRODUCT_ROWS(panels) 3
#endif
#define PRODUCT_MOST PRODUCT_ROWS(1)
#define PRODUCT_SUMS (2 * PRODUCT_ROWS(2))
#define PRODUCT_STEPS 4 /* of k, for which the pointers move once */
#define PRODUCT_AHEAD 8 /* steps ahead of which b comes into the first cache */

/* a(r, t) = a[r * astep + t], or turned a[r + t * astep]; b(t, column) = b[(column / 16) * bpanel +
 * t * 16 + column % 16]; c(r, column) = c[r * crow + (column / 16) * cpanel + column % 16]. */
typedef struct {
    const float *a, *b;
    float *c;
    int64_t astep, bpanel, crow, cpanel, k;
    const float *next; /* what is read after this, two panels `npanel` apart, fetched meanwhile */
    int64_t npanel;
    int more; /* c holds a sum already */
} zk_product;

#define PRODUCT_EACH                                        \
    _Pragma("GCC unroll 12") for (int r = 0; r < rows; r++) \
        _Pragma("GCC unroll 4") for (int v = 0; v < vecs; v++)

/* acc += one step; `a` holds a pointer for each three rows, or a single one if turned. */
ZK_INLINE void product_step(const float *const *a, int64_t astep, const float *b, int64_t bpanel,
                            const int rows, const int vecs, const int turned, vf *acc) {
    vf w[PRODUCT_PANELS * PV];
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) w[v] = vf_load(b + v / PV * bpanel + v % PV * VL);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        const vf x = vf_set(turned ? a[0][r] : a[r / 3][r % 3 * astep]);
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++)
            if (vecs == 1) acc[r] += x * w[0];
            else ADD_PRODUCT(acc[r * vecs + v], x, w[v]);
    }
}

/* acc += a b. The strides are hidden from gcc, which would compile the loop twice. */
ZK_INLINE void product_sum(const zk_product *t, const int rows, const int vecs, const int turned,
                           vf *acc) {
    const float *b = t->b, *next = t->next, *a[(PRODUCT_MOST + 2) / 3];
    int64_t astep = t->astep, bpanel = t->bpanel, npanel = t->npanel, k = t->k;
    const int pointers = turned ? 1 : (rows + 2) / 3;
    __asm__("" : "+r"(astep), "+r"(bpanel));
    for (int g = 0; g < pointers; g++) a[g] = t->a + 3 * g * astep;
#if VL == 16
    for (; k >= PRODUCT_STEPS; k -= PRODUCT_STEPS) {
#pragma GCC unroll 4
        for (int i = 0; i < PRODUCT_STEPS; i++) {
            __builtin_prefetch(next, 0, 2);
            __builtin_prefetch(next + npanel, 0, 2);
#pragma GCC unroll 4
            for (int v = 0; v < vecs && vecs > 1; v++)
                __builtin_prefetch(b + PRODUCT_AHEAD * PANEL + v * bpanel, 0, 3);
            product_step(a, astep, b, bpanel, rows, vecs, turned, acc);
            b += PANEL, next += PANEL;
            for (int g = 0; g < pointers; g++) a[g] += turned ? astep : 1;
        }
    }
#endif
    for (; k > 0; k--, b += PANEL, next += PANEL) {
        __builtin_prefetch(next, 0, 2);
        product_step(a, astep, b, bpanel, rows, vecs, turned, acc);
        for (int g = 0; g < pointers; g++) a[g] += turned ? astep : 1;
    }
    (void)npanel;
}

ZK_INLINE void product_tile(const zk_product *t, const int rows, const int panels,
                            const int turned) {
    const int vecs = panels * PV;
    vf acc[PRODUCT_SUMS * PV];
    float *c = t->c;
    const int64_t crow = t->crow, cpanel = t->cpanel;
    PRODUCT_EACH acc[r * vecs + v] = (vf){0};
    product_sum(t, rows, vecs, turned, acc);
    if (t->more)
        PRODUCT_EACH acc[r * vecs + v] += vf_load(c + r * crow + v / PV * cpanel + v % PV * VL);
    PRODUCT_EACH vf_store(c + r * crow + v / PV * cpanel + v % PV * VL, acc[r * vecs + v]);
}

#define PRODUCT_TO_3(X, p) X(p, 1) X(p, 2) X(p, 3)
#define PRODUCT_TO_6(X, p) PRODUCT_TO_3(X, p) X(p, 4) X(p, 5) X(p, 6)
#define PRODUCT_TO_8(X, p) PRODUCT_TO_6(X, p) X(p, 7) X(p, 8)
#define PRODUCT_TO_12(X, p) PRODUCT_TO_8(X, p) X(p, 9) X(p, 10) X(p, 11) X(p, 12)
#if PRODUCT_PANELS == 4
#define PRODUCT_EACH_TILE(X) \
    PRODUCT_TO_12(X, 1) PRODUCT_TO_12(X, 2) PRODUCT_TO_8(X, 3) PRODUCT_TO_6(X, 4)
#elif PRODUCT_MOST == 6
#define PRODUCT_EACH_TILE(X) PRODUCT_TO_6(X, 1)
#else
#define PRODUCT_EACH_TILE(X) PRODUCT_TO_3(X, 1)
#endif
#define PRODUCT_DEFINE(panels, rows)                             \
    static void product_##panels##_##rows(const zk_product *t) { \
        product_tile(t, rows, panels, 0);                        \
    }                                                            \
    static void turned_##panels##_##rows(const zk_product *t) { product_tile(t, rows, panels, 1); }
#define PRODUCT_ENTRY(panels, rows) [panels - 1][rows - 1] = product_##panels##_##rows,
#define TURNED_ENTRY(panels, rows) [panels - 1][rows - 1] = turned_##panels##_##rows,
PRODUCT_EACH_TILE(PRODUCT_DEFINE)
typedef void (*const zk_products[PRODUCT_PANELS][PRODUCT_MOST])(const zk_product *);
static const zk_products plain_products = {PRODUCT_EACH_TILE(PRODUCT_ENTRY)};
static const zk_products turned_products = {PRODUCT_EACH_TILE(TURNED_ENTRY)};

/* Columns of c in `panels` panels and all `count` rows, in tiles of about equal size. arow: floats
 * of a from row to row. The tiles share the `panels` panels at `next` of what is read afterwards.
 */
ZK_INLINE void run_products(const zk_products *tiles, const zk_product *first, int64_t panels,
                            int64_t count, int64_t arow) {
    const int64_t groups = zk_ceil(count, PRODUCT_ROWS(panels)), npanel = first->npanel;
    zk_product t = *first;
    for (int64_t i = 0, row = 0; i < groups; i++) {
        const int64_t to = count * (i + 1) / groups;
        t.a = first->a + row * arow, t.c = first->c + row * first->crow;
        const int64_t pair = 2 * i % (panels + panels % 2);
        t.next = first->next + pair * npanel, t.npanel = pair + 1 < panels ? npanel : 0;
        (*tiles)[panels - 1][to - row - 1](&t);
        row = to;
    }
}
#endif
