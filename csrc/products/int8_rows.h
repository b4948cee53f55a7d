/* Products of a few rows of int8, for kernels that make their operands themselves: rows are rounded
 * with a scale of their own, then multiplied by panels that pack_int8 made. In: float32. Out:
 * float32. Sums are whole numbers, so a row's do not depend on the rows beside it, nor on the form
 * of the product. */
#ifndef ZK_INT8_ROWS_H
#define ZK_INT8_ROWS_H
#include "gemm_int8.h"
#include "int8_round.h"

/* Up to TAP_SQUARE rounded rows of k numbers; there is room for whole tiles of 16 rows. For VNNI,
 * which takes bytes without sign, 128 is added to each. */
typedef struct {
    int8_t *q;   /* (rows, row bytes), zero behind k */
    float *step; /* (rows) 1 / scale, NaN where a row is not finite */
    int64_t rows, k;
} int8_rows;

/* Bytes of a panel of 16 columns. */
ZK_INLINE int64_t int8_panel_bytes(int64_t k) { return zk_ceil(k, 64) * TAP_GROUP; }

#if defined(ZK_ISA_AVX512)
#define ROWS_AT_ONCE 12 /* by two panels: 24 sums */

/* sums(rows, TAP_SQUARE) = rows of q times panels of w, as above. */
INT8_VNNI ZK_INLINE void rows_vnni_run(const int8_rows *a, const int8_t *w, int32_t *sums,
                                       const int rows, const int panels) {
    const int64_t row = int8_row_bytes(a->k), panel = int8_panel_bytes(a->k);
    const __m512i high = _mm512_set1_epi8(-128);
    __m512i own[2], sum[ROWS_AT_ONCE][2];
    for (int p = 0; p < panels; p++) own[p] = _mm512_setzero_si512();
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++) sum[r][p] = _mm512_setzero_si512();
    const int8_t *x = a->q;
    for (int64_t left = zk_ceil(a->k, ZK_INT8_STEP); left > 0; left--, x += 4, w += 64) {
        __m512i b[2];
        for (int p = 0; p < panels; p++) {
            b[p] = _mm512_loadu_si512(w + p * panel);
            own[p] = int8_added(own[p], high, b[p]);
        }
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            const __m512i four = _mm512_set1_epi32(int8_four(x + r * row));
#pragma GCC unroll 2
            for (int p = 0; p < panels; p++) sum[r][p] = int8_added(sum[r][p], four, b[p]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++)
            _mm512_storeu_si512(sums + r * TAP_SQUARE + p * PANEL,
                                _mm512_sub_epi32(sum[r][p], own[p]));
}

#define ROWS_VNNI(rows)                                                                        \
    INT8_VNNI static void rows_vnni_##rows(const int8_rows *a, const int8_t *w, int32_t *sums, \
                                           int panels) {                                       \
        if (panels > 1) rows_vnni_run(a, w, sums, rows, 2);                                    \
        else rows_vnni_run(a, w, sums, rows, 1);                                               \
    }
#define ROWS_EACH(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define ROWS_ENTRY(rows) rows_vnni_##rows,
ROWS_EACH(ROWS_VNNI)
static void (*const rows_vnni[ROWS_AT_ONCE])(const int8_rows *, const int8_t *, int32_t *,
                                             int) = {ROWS_EACH(ROWS_ENTRY)};

static void rows_by_vnni(int8_rows a, const int8_t *w, int panels, int32_t *sums) {
    const int64_t parts = zk_ceil(a.rows, ROWS_AT_ONCE), row = int8_row_bytes(a.k);
    for (int64_t i = 0, at = 0, end; i < parts; i++, at = end) {
        end = a.rows * (i + 1) / parts;
        rows_vnni[end - at - 1](&a, w, sums + at * TAP_SQUARE, panels);
        a.q += (end - at) * row;
    }
}
#endif

/* What multiplies so many rows. */
ZK_INLINE int rows_on_tiles(int64_t rows) {
#if defined(ZK_EMULATE_AMX)
    return rows > 0;
#else
    return rows > INT8_FEW && tiles_real();
#endif
}
ZK_INLINE int rows_on_vnni(int64_t rows) {
#if defined(ZK_ISA_AVX512)
    return !rows_on_tiles(rows) && INT8_HAS_VNNI;
#else
    return rows < 0;
#endif
}

/* Rounds the rows of x, which lie `row` floats apart. */
static void int8_rows_round(const int8_rows *to, const float *x, int64_t row) {
    const int64_t rows = to->rows, k = to->k, bytes = int8_row_bytes(k);
    const int8_t flip = rows_on_vnni(rows) ? -128 : 0;
    int8_t *restrict q = to->q;
    for (int64_t r = 0; r < rows; r++, x += row, q += bytes) {
        int8_round(x, k, int8_scale(int8_largest(x, k), 0, to->step + r), q);
        for (int64_t i = k; i < bytes; i++) q[i] = 0;
        for (int64_t i = 0; flip && i < bytes; i++) q[i] ^= flip;
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

/* The same without tiles. */
static void rows_by_bytes(const tap_shape *s, const int8_rows *a, const int8_t *w, int panels,
                          int32_t *sums) {
#if defined(ZK_ISA_AVX512)
    if (rows_on_vnni(a->rows)) {
        rows_by_vnni(*a, w, panels, sums);
        return;
    }
#endif
    for (int p = 0; p < panels; p++)
        int8_multiply((int8_tile){s, a->q, w + p * s->groups * TAP_GROUP,
                                  zk_ceil(a->k, ZK_INT8_STEP), sums + p * PANEL, TAP_SQUARE},
                      a->rows);
}

/* sums(rows, TAP_SQUARE): a by one or two panels. The registers are configured already. */
static void int8_rows_sum(const int8_rows *a, const int8_t *w, int panels, int32_t *sums) {
    const int64_t zero = 0;
    const tap_shape s = {&zero, 1, zk_ceil(a->k, 64), int8_row_bytes(a->k)};
    tiles model, *t = tiles_real() ? NULL : &model;
    if (!rows_on_tiles(a->rows)) {
        rows_by_bytes(&s, a, w, panels, sums);
        return;
    }
    if (t) tile_config(t, &tile_full);
    if (t) int8_rows_tiles(t, &s, a, w, panels, (char *)sums);
    else int8_rows_tiles(NULL, &s, a, w, panels, (char *)sums);
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
