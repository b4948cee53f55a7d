/* Products of a few rows of int8, for kernels that make their operands themselves: rows are rounded
 * with a scale of their own, then multiplied by panels that pack_int8 made. In: float32. Out:
 * float32. Sums are whole numbers, so a row's do not depend on the rows beside it, nor on the form
 * of the product. */
#ifndef ZK_INT8_ROWS_H
#define ZK_INT8_ROWS_H
#include "gemm_int8.h"
#include "int8_round.h"

/* Up to TAP_SQUARE rounded rows of k numbers; there is room for whole tiles of 16 rows. */
typedef struct {
    int8_t *q;   /* (rows, row bytes), zero behind k */
    float *step; /* (rows) 1 / scale, NaN where a row is not finite */
    int64_t rows, k;
} int8_rows;

/* Bytes of a panel of 16 columns. */
ZK_INLINE int64_t int8_panel_bytes(int64_t k) { return zk_ceil(k, 64) * TAP_GROUP; }

/* Rounds the rows of x, which lie `row` floats apart. */
static void int8_rows_round(const int8_rows *to, const float *x, int64_t row) {
    const int64_t bytes = int8_row_bytes(to->k);
    for (int64_t r = 0; r < to->rows; r++, x += row) {
        const float scale = int8_scale(int8_largest(x, to->k), 0, to->step + r);
        int8_round(x, to->k, scale, to->q + r * bytes);
        memset(to->q + r * bytes + to->k, 0, (size_t)(bytes - to->k));
    }
}

ZK_INLINE void int8_rows_tiles(tiles *t, const tap_shape *s, const int8_rows *a, const int8_t *w,
                               int panels, char *sums) {
    const int blocks = a->rows > TAP_BLOCK ? 2 : 1;
    const char *first = (const char *)a->q, *b = (const char *)w;
    const char *x[2] = {first, first + (blocks - 1) * TAP_BLOCK * s->row};
    const char *panel[2] = {b, b + (panels - 1) * s->groups * TAP_GROUP};
    tap_square(t, s, x, panel, NULL, 0, blocks, panels, sums);
}

/* sums(rows, TAP_SQUARE): a by one or two panels. The registers are configured already. */
static void int8_rows_sum(const int8_rows *a, const int8_t *w, int panels, int32_t *sums) {
    const int64_t zero = 0;
    const tap_shape s = {&zero, 1, zk_ceil(a->k, 64), int8_row_bytes(a->k)};
    if (a->rows > INT8_FEW && tiles_real()) {
        int8_rows_tiles(NULL, &s, a, w, panels, (char *)sums);
        return;
    }
#if defined(ZK_EMULATE_AMX)
    tiles model;
    tile_config(&model, &tile_full);
    int8_rows_tiles(&model, &s, a, w, panels, (char *)sums);
#else
    for (int p = 0; p < panels; p++)
        int8_multiply((int8_tile){&s, a->q, w + p * int8_panel_bytes(a->k),
                                  zk_ceil(a->k, ZK_INT8_STEP), sums + p * PANEL, TAP_SQUARE},
                      a->rows);
#endif
}

/* c(rows, 16) = sums * step * wstep; of wstep only `cols` numbers are there. */
ZK_INLINE void int8_rows_scale(const int8_rows *a, const int32_t *sums, const float *wstep,
                               int64_t cols, float *c, int64_t crow) {
    vf by[PV];
    for (int v = 0; v < PV; v++) {
        const int64_t some = zk_min(VL, zk_max(0, cols - v * VL));
        by[v] = some == VL ? vf_load(wstep + v * VL) : vf_load_first(wstep + v * VL, some, (vf){0});
    }
    for (int64_t r = 0; r < a->rows; r++)
        for (int v = 0; v < PV; v++) {
            const vi sum = *(const vi *)(sums + r * TAP_SQUARE + v * VL);
            vf_store(c + r * crow + v * VL, vf_from_int(sum) * (vf_set(a->step[r]) * by[v]));
        }
}

/* c(rows, 16 or 32) = a times one or two panels, of which `cols` columns have a wstep: 1 / the
 * scale of the weights. */
static void int8_rows_product(const int8_rows *a, const int8_t *w, const float *wstep, int64_t cols,
                              float *c, int64_t crow) {
    int32_t sums[TAP_SQUARE * TAP_SQUARE];
    const int panels = (int)zk_ceil(cols, PANEL);
    int8_rows_sum(a, w, panels, sums);
    for (int p = 0; p < panels; p++, wstep += PANEL, cols -= PANEL, c += PANEL)
        int8_rows_scale(a, sums + p * PANEL, wstep, cols, c, crow);
}
#endif
