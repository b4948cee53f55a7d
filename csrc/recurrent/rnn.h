/* What the recurrent layers share: a whole sequence is run by one task for some rows of the batch,
 * with the recurrent matrix packed once. In: the call, and a layer's arithmetic on a few units of a
 * row. Out: the cut into tasks, the packed matrix, the products and the loops of a step. It knows
 * no gate.
 *
 * Rows never meet, and a row's sums do not depend on the rows beside it: so the cut may follow the
 * number of threads and no bit of the result does. */
#ifndef ZK_RNN_H
#define ZK_RNN_H
#include "gemm_pack.h"
#include "int8_rows.h"
#include "rnn_act.h"
#include "tile_rows.h"
#if defined(ZK_ISA_AVX512)
#include "gemm_wide.h"
#define RNN_PANELS WIDE_PANELS /* of a group, unless the gates of 16 units are more */
#else
#include "gemm.h"
#define RNN_PANELS 1
#endif

#define RNN_ROWS 18        /* rows of a task, at most, when the packed matrix fits the L2 cache */
#define RNN_MANY_ROWS 36   /* and when it does not, so that it is read less often */
#define RNN_RESIDENT 98304 /* floats of a matrix that stays in the L2 cache */

/* Gates by their place: those of the LSTM, and of the GRU. */
enum { IN = 0, FORGET = 1, UPDATE = 0, RESET = 1, CANDIDATE = 2, OUT = 3 };

/* The packed columns of some gates, of k rows; backward they are turned. */
typedef struct {
    const struct rnn *s;
    const float *from;
    float *to;
    uint16_t *tiles;     /* in place of `to` where products are rounded to bfloat16 */
    const int8_t *bytes; /* and to int8: the panels of each gate */
    const float *wstep;  /* (gates * units) 1 / their scale */
    int64_t k, gates;
} rnn_matrix;

/* A call of either direction. Sequences are (batch, steps, units), those of gates (batch, steps,
 * gates * units); optional ones are NULL. */
typedef struct rnn {
    const zk_call *call;
    int64_t batch, steps, units, gates;
    int64_t padded; /* units, rounded up to whole panels: the row length of states in scratch */
    int rounds;     /* products round their operands: ZK_RNN_... */
    int64_t zrow;   /* and that of products (forward), or gradients of gates (backward) */
    int64_t pieces;
    int back, reverse, act, inner; /* inner: the activation of gates */
    const uint8_t *mask;           /* (batch, steps), 0 where the state stays */
    const float *matrix, *bias;    /* (units, gates * units), (gates * units) */
    const int8_t *panels;          /* in place of the matrix, from pack_int8 */
    const float *wstep;            /* (gates * units) */
    const float *h0, *c0;          /* where h and c begin: backward, the last gradients */
    const float *xp, *dy, *first;  /* first: forward's c0, which backward of the LSTM reads */
    float *gates_at, *extra, *prev, *y, *h, *c, *dx, *dp;
    float *packed, *scratch;
    rnn_matrix u[2]; /* what a step multiplies by */
} rnn;

/* Rows [b0, b0 + rows) at time t, and their scratch memory: the states before and after the step,
 * a second state of the layer's own, products or gradients of gates. */
typedef struct {
    int64_t b0, rows, t;
    float *h, *next, *more, *z;
    uint16_t *bits; /* what a product reads, rounded */
    int8_rows bytes;
} rnn_rows;

/* One row at one step. at: its place in sequences; z: its products, those of a gate `wide` floats
 * apart; in the other arrays unit j has place j. */
typedef struct {
    int64_t b, t, at, wide;
    int kept; /* the mask keeps the state */
    float *h, *next, *more, *z;
} rnn_row;

/* One step of a layer; and its arithmetic on n units of a row from unit j on. */
typedef void rnn_step(const rnn *s, const rnn_rows *m);
typedef void rnn_units(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act, int inner);

/* ---- the cut into tasks ---------------------------------------------------------------------- */

/* Sets all but pointers. The first input is a sequence of gates, and the first one with two axes
 * the recurrent matrix, or where that is packed a state. */
static rnn rnn_of(const zk_call *c, int back) {
    const zk_arg *sequence = c->a + c->nout, *matrix = sequence;
    while (matrix->ndim != 2) matrix++;
    rnn s = {.call = c, .batch = sequence->dims[0], .steps = sequence->dims[1], .back = back};
    s.rounds = (int)c->attr[ZK_RNN_ROUNDS], s.units = matrix->dims[s.rounds == ZK_RNN_INT8];
    const int64_t columns = s.rounds == ZK_RNN_INT8 ? sequence->dims[2] : matrix->dims[1];
    s.gates = columns / zk_max(s.units, 1);
    const int64_t side = s.rounds == ZK_RNN_BFLOAT16 ? TILE_SIDE : PANEL;
    const int64_t panels = s.rounds ? TILE_SIDE / PANEL : 1; /* of each gate in a group */
    s.padded = zk_ceil(s.units, side) * side;
    s.zrow = back ? s.gates * s.units + PANEL : zk_max(s.gates * panels, RNN_PANELS) * PANEL;
    s.reverse = c->attr[ZK_RNN_REVERSE] != 0;
    s.act = (int)c->attr[ZK_RNN_ACTIVATION], s.inner = (int)c->attr[ZK_RNN_INNER];
    const int64_t floats = s.gates * s.units * s.units;
    const int64_t own = floats > RNN_RESIDENT ? RNN_MANY_ROWS : RNN_ROWS;
    const int64_t rows = c->threads * (s.rounds ? TILE_SIDE : own);
    s.pieces = zk_min(s.batch, c->threads * zk_ceil(s.batch, rows));
    return s;
}

/* Rows of the largest piece, whole tiles of them; floats of a state of them, of what products read
 * rounded, of a thread's scratch memory, and of the packed matrix. */
static int64_t rnn_most(const rnn *s) {
    const int64_t rows = s->pieces ? zk_ceil(s->batch, s->pieces) : 0;
    return s->rounds ? zk_ceil(rows, TILE_ROWS) * TILE_ROWS : rows;
}
static int64_t rnn_state(const rnn *s) { return rnn_most(s) * s->padded; }
static int64_t rnn_bits(const rnn *s) {
    if (s->rounds == ZK_RNN_INT8) return rnn_most(s) * (int8_row_bytes(s->units) / 4 + 1);
    return s->rounds ? rnn_state(s) * (s->back ? s->gates : 1) / 2 : 0;
}
static int64_t rnn_local(const rnn *s) {
    return 3 * rnn_state(s) + rnn_most(s) * s->zrow + rnn_bits(s);
}
static int64_t rnn_packed(const rnn *s) {
    if (s->rounds == ZK_RNN_INT8) return 0; /* it comes packed */
    return s->gates * s->padded * (s->rounds ? s->padded / 2 : s->units);
}

static int64_t rnn_scratch(const zk_call *c, int back) {
    const rnn s = rnn_of(c, back);
    return (rnn_packed(&s) + c->threads * rnn_local(&s)) * (int64_t)sizeof(float);
}
static int64_t rnn_forward_scratch(const zk_call *c) { return rnn_scratch(c, 0); }
static int64_t rnn_back_scratch(const zk_call *c) { return rnn_scratch(c, 1); }

/* The natural place in time of the step that runs as number `i`. */
ZK_INLINE int64_t rnn_time(const rnn *s, int64_t i) { return s->reverse ? s->steps - 1 - i : i; }

/* Copies rows between an array (batch, units) and scratch rows; NULL as the source means zeros. */
static void rnn_fetch(const rnn *s, const float *from, const rnn_rows *m, float *to) {
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t j = 0; j < s->padded; j++)
            to[r * s->padded + j] = from && j < s->units ? from[(m->b0 + r) * s->units + j] : 0;
}
static void rnn_deliver(const rnn *s, const float *from, const rnn_rows *m, float *to) {
    for (int64_t r = 0; to && r < m->rows; r++)
        memcpy(to + (m->b0 + r) * s->units, from + r * s->padded, (size_t)s->units * sizeof *to);
}

typedef struct {
    const rnn *s;
    rnn_step *step;
} rnn_run;

/* The whole sequence for the rows of a task. Backward h is the gradient of the state. */
static void rnn_task(void *ctx, int64_t task, int thread) {
    const rnn_run *run = ctx;
    const rnn *s = run->s;
    const int64_t b0 = s->batch * task / s->pieces, size = rnn_state(s);
    float *at = s->scratch + thread * rnn_local(s);
    rnn_rows m = {.b0 = b0, .rows = s->batch * (task + 1) / s->pieces - b0};
    m.h = at, m.next = at + size, m.more = at + 2 * size, m.z = at + 3 * size;
    float *rounded = m.z + rnn_most(s) * s->zrow;
    m.bits = (uint16_t *)rounded;
    m.bytes = (int8_rows){.q = (int8_t *)rounded, .rows = m.rows, .k = s->units};
    m.bytes.step = rounded + rnn_most(s) * (int8_row_bytes(s->units) / 4);
    if (s->rounds) tile_rows_begin();
    rnn_fetch(s, s->h0, &m, m.h);
    rnn_fetch(s, s->c0, &m, m.more);
    for (int64_t i = 0; i < s->steps; i++) {
        m.t = rnn_time(s, s->back ? s->steps - 1 - i : i);
        run->step(s, &m);
        float *before = m.h;
        if (!s->back) m.h = m.next, m.next = before;
    }
    if (s->rounds) tile_rows_end();
    rnn_deliver(s, m.h, &m, s->h);
    rnn_deliver(s, m.more, &m, s->c);
}

static void rnn_start(const rnn *s, rnn_step *step) {
    rnn_run run = {s, step};
    zk_parallel(s->call, s->pieces, rnn_task, &run);
}

/* ---- the arguments of a call ----------------------------------------------------------------- */

/* The next optional input, or NULL when its flag is 0; an output, or NULL when nobody reads it. */
static void *rnn_next(const zk_call *c, int flag, int *place) {
    return c->attr[flag] != 0 ? c->p[(*place)++] : NULL;
}
static float *rnn_output(const zk_call *c, int i) {
    return c->attr[ZK_RNN_FLAGS + i] != 0 ? c->p[i] : NULL;
}

static void rnn_place(rnn *s) {
    s->packed = (float *)s->call->scratch;
    s->scratch = s->packed + rnn_packed(s);
}

/* out [gates, extra], prev, y, h, [c]  in xp, u or its panels and wstep, [bias], h0, [c0], [mask]
 */
static rnn rnn_forward(const zk_call *c, int bias, int cells) {
    rnn s = rnn_of(c, 0);
    int in = c->nout, out = 0;
    s.xp = c->p[in++];
    if (s.rounds == ZK_RNN_INT8) s.panels = c->p[in++], s.wstep = c->p[in++];
    else s.matrix = c->p[in++];
    if (bias) s.bias = c->p[in++];
    s.h0 = c->p[in++];
    if (cells) s.c0 = c->p[in++];
    s.mask = rnn_next(c, ZK_RNN_MASK, &in);
    if (c->nout > 3) s.gates_at = rnn_output(c, out++), s.extra = rnn_output(c, out++);
    s.prev = rnn_output(c, out++), s.y = rnn_output(c, out++), s.h = rnn_output(c, out++);
    if (cells) s.c = rnn_output(c, out++);
    rnn_place(&s);
    return s;
}

/* What backward is given behind its input number `in`: [mask], [dy], [dh], [dc]. */
static void rnn_given(rnn *s, int in, int cells) {
    const zk_call *c = s->call;
    in += c->nout;
    s->mask = rnn_next(c, ZK_RNN_MASK, &in), s->dy = rnn_next(c, ZK_RNN_FLAGS, &in);
    s->h0 = rnn_next(c, ZK_RNN_FLAGS + 1, &in);
    if (cells) s->c0 = rnn_next(c, ZK_RNN_FLAGS + 2, &in);
    rnn_place(s);
}

/* ---- products -------------------------------------------------------------------------------- */

/* Units of a group of panels, which one tile multiplies: for each gate as many panels. */
ZK_INLINE int64_t rnn_wide(const rnn_matrix *m) {
    return m->s->rounds ? TILE_SIDE : zk_max(1, RNN_PANELS / m->gates) * PANEL;
}

/* The panels of units from unit j on, of a gate. */
static const int8_t *rnn_panels(const rnn_matrix *m, int64_t j, int64_t gate) {
    return m->bytes + (gate * m->s->padded + j) / PANEL * int8_panel_bytes(m->k);
}

/* The tiles of 32 units' columns of a gate. */
static uint16_t *rnn_block(const rnn_matrix *m, int64_t j, int64_t gate) {
    const int64_t steps = zk_ceil(m->k, ZK_TILE_STEP);
    return m->tiles + (j / TILE_SIDE * m->gates + gate) * steps * ZK_TILE_BOTH;
}

static void rnn_pack_tiles(void *ctx, int64_t group, int thread) {
    const rnn_matrix *m = ctx;
    const rnn *s = m->s;
    const int64_t j = group * TILE_SIDE;
    (void)thread;
    for (int64_t g = 0; g < m->gates; g++) {
        const grid w = {(const char *)(m->from + g * s->units), s->gates * s->units, 1};
        tile_rows_pack(&w, s->back, m->k, s->units, j, rnn_block(m, j, g));
    }
}

static void rnn_pack_group(void *ctx, int64_t group, int thread) {
    const rnn_matrix *m = ctx;
    const rnn *s = m->s;
    const int64_t row = s->gates * s->units, wide = rnn_wide(m), first = group * wide;
    const int64_t end = zk_min(s->padded, first + wide);
    float *to = m->to + first * m->gates * m->k;
    (void)thread;
    for (int64_t g = 0; g < m->gates; g++)
        for (int64_t j = first; j < end; j += PANEL, to += m->k * PANEL) {
            const int64_t cols = zk_min(PANEL, s->units - j);
            if (s->back) pack_columns(m->from + j * row, row, m->k, cols, to);
            else pack_rows(m->from + g * s->units + j, row, m->k, cols, to);
        }
}

/* Packs the columns of `count` gates: panels (k, 16), those of a group one after another. Those of
 * int8 are packed already. */
static void rnn_pack(rnn *s, int64_t gate, int64_t count, rnn_matrix *m) {
    const int64_t column = gate * s->units;
    *m = (rnn_matrix){.s = s, .k = s->back ? count * s->units : s->units};
    m->gates = s->back ? 1 : count;
    if (s->rounds == ZK_RNN_INT8) {
        m->bytes = s->panels + gate * s->padded / PANEL * int8_panel_bytes(m->k);
        m->wstep = s->wstep + column;
        return;
    }
    m->from = s->matrix + column, m->to = s->packed + column * s->padded;
    m->tiles = (uint16_t *)s->packed + gate * s->padded * s->padded;
    const zk_task pack = s->rounds ? rnn_pack_tiles : rnn_pack_group;
    zk_parallel(s->call, zk_ceil(s->padded, rnn_wide(m)), pack, m);
}

/* z(rows, gates * wide) = a(rows, k) times the group from unit j on, or += if `adds`. */
#if defined(ZK_ISA_AVX512)
static void rnn_product(const rnn_matrix *m, int64_t j, int64_t wide, const float *a, int64_t arow,
                        int64_t rows, float *z, int64_t zrow, int adds) {
    const int64_t panels = m->gates * wide / PANEL, most = wide_rows[panels - 1];
    const int64_t tiles = zk_ceil(rows, most), small = rows / tiles, larger = rows % tiles;
    wide_tile t = {.a = a, .astep = arow, .b = m->to + j * m->gates * m->k, .k = m->k, .c = z};
    t.bstep = PANEL, t.bpanel = m->k * PANEL, t.crow = t.addrow = zrow, t.last = PANEL;
    t.fetch = t.b + panels * m->k * PANEL, t.fetchstep = PANEL; /* the next group comes from L3 */
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t n = small + (i < larger);
        t.add = adds ? t.c : NULL;
        wide_kernel[0][panels - 1][n - 1](&t);
        t.a += n * arow, t.c += n * zrow, t.fetch += m->k / 4 * PANEL;
    }
}
#else
static void rnn_product(const rnn_matrix *m, int64_t j, int64_t wide, const float *a, int64_t arow,
                        int64_t rows, float *z, int64_t zrow, int adds) {
    const int64_t panels = m->gates * wide / PANEL, most = zk_ceil(rows, zk_ceil(rows, GEMM_ROWS));
    const float *b = m->to + j * m->gates * m->k;
    for (int64_t p = 0, w; p < panels; p += w) {
        w = panels - p < GEMM_WIDE(most) ? 1 : GEMM_WIDE(most);
        gemm_tile t = {.a = a, .arow = arow, .acol = 1, .b = b + p * m->k * PANEL, .k = m->k};
        t.c = z + p * PANEL, t.add = adds ? t.c : NULL, t.cols = (int)w * PANEL;
        t.bstep = PANEL, t.bpanel = m->k * PANEL, t.crow = zrow, t.addrow = adds ? zrow : 0;
        gemm_rows(&t, rows, w > 1, 0);
    }
}
#endif

/* The rows that the next products read. */
ZK_INLINE void rnn_round(const rnn_matrix *m, const rnn_rows *rows, const float *a, int64_t arow) {
    if (m->s->rounds == ZK_RNN_BFLOAT16) tile_rows_round(a, arow, rows->rows, m->k, rows->bits);
    else if (m->s->rounds) int8_rows_round(&rows->bytes, a, arow);
}

/* One group from unit j on: a, or the rounded rows, times its columns. */
ZK_INLINE void rnn_group(const rnn_matrix *m, const rnn_rows *rows, int64_t j, int64_t wide,
                         const float *a, int64_t arow, float *z, int64_t zrow, int adds) {
    if (!m->s->rounds) {
        rnn_product(m, j, wide, a, arow, rows->rows, z, zrow, adds);
        return;
    }
    if (m->s->rounds == ZK_RNN_INT8) {
        const int64_t units = m->s->units, cols = zk_min(wide, units - j);
        for (int64_t g = 0; g < m->gates; g++)
            int8_rows_product(&rows->bytes, rnn_panels(m, j, g), m->wstep + g * units + j, cols,
                              z + g * wide, zrow);
        return;
    }
    const int64_t steps = zk_ceil(m->k, ZK_TILE_STEP);
    tile_rows_product(rows->bits, rows->rows, rnn_block(m, j, 0), steps, m->gates * wide, z, zrow,
                      adds);
}

/* to(rows, padded) = a(rows, k) times the turned matrix, or += if `adds`. */
static void rnn_back_product(const rnn_matrix *m, const rnn_rows *rows, const float *a, float *to,
                             int adds) {
    const rnn *s = m->s;
    rnn_round(m, rows, a, s->zrow);
    for (int64_t j = 0, wide; j < s->units; j += wide) {
        wide = zk_min(rnn_wide(m), s->padded - j);
        rnn_group(m, rows, j, wide, a, s->zrow, to + j, s->padded, adds);
    }
}

/* ---- the units of a step --------------------------------------------------------------------- */

ZK_INLINE vf rnn_choose(int first, vf a, vf b) { return first ? a : b; }

/* The first n floats (VL, or fewer at the end of the units). */
ZK_INLINE vf rnn_load(const float *p, int64_t n) {
    return n < VL ? vf_load_first(p, n, (vf){0}) : vf_load(p);
}
ZK_INLINE void rnn_store(float *p, vf v, int64_t n) {
    if (n < VL) vf_store_first(p, v, n);
    else vf_store(p, v);
}
ZK_INLINE void rnn_keep(float *p, int64_t at, vf v, int64_t n) {
    if (p) rnn_store(p + at, v, n);
}

/* Where unit j of a gate lies in an array of gates. */
ZK_INLINE int64_t rnn_gate(const rnn *s, const rnn_row *r, int gate, int64_t j) {
    return s->gates * r->at + gate * s->units + j;
}

/* The new state of n units, and what is kept of it. */
ZK_INLINE void rnn_leave(const rnn *s, const rnn_row *r, int64_t j, int64_t n, vf state) {
    vf_store(r->next + j, state);
    rnn_keep(s->y, r->at + j, state, n);
    rnn_keep(s->prev, r->at + j, vf_load(r->h + j), n);
}

/* The gradient of the state after the step. */
ZK_INLINE vf rnn_arriving(const rnn *s, const rnn_row *r, int64_t j, int64_t n) {
    vf d = vf_load(r->h + j);
    if (s->dy) d += rnn_load(s->dy + r->at + j, n);
    return d;
}

/* Fetches what the step that runs next reads, and what it writes. */
ZK_INLINE void rnn_prefetch(const rnn *s, const rnn_row *r, int64_t j) {
    const int64_t far = s->reverse != s->back ? -s->units : s->units, at = r->at + far + j;
    const float *gates = (s->back ? s->gates_at : s->xp) + s->gates * (r->at + far) + j;
    for (int64_t g = 0; g < s->gates; g++) __builtin_prefetch(gates + g * s->units);
    if (s->extra) __builtin_prefetch(s->extra + at, 1);
    if (s->prev) __builtin_prefetch(s->prev + at, 1);
}

/* Units [j, end) of row r, 16 at a time. */
ZK_INLINE void rnn_each(const rnn *s, const rnn_rows *m, int64_t r, float *z, int64_t j,
                        int64_t end, int64_t wide, rnn_units *units, int act, int inner) {
    const int64_t b = m->b0 + r, row = r * s->padded;
    rnn_row at = {.b = b, .t = m->t, .at = (b * s->steps + m->t) * s->units, .wide = wide, .z = z};
    at.h = m->h + row, at.next = m->next + row, at.more = m->more + row;
    at.kept = s->mask && !s->mask[b * s->steps + m->t];
    for (; j < end; j += VL) {
        if (j % PANEL == 0) rnn_prefetch(s, &at, j);
        if (end - j >= VL) units(s, &at, j, VL, act, inner);
        else units(s, &at, j, end - j, act, inner);
    }
}

/* Forward: the products of a group of units, a times the matrix, then the units, for all rows. */
ZK_INLINE void rnn_groups(const rnn *s, const rnn_rows *m, const rnn_matrix *u, const float *a,
                          rnn_units *units, int act, int inner) {
    rnn_round(u, m, a, s->padded);
    for (int64_t j = 0, wide; j < s->units; j += wide) {
        wide = zk_min(rnn_wide(u), s->padded - j);
        rnn_group(u, m, j, wide, a, s->padded, m->z, u->gates * wide, 0);
        for (int64_t r = 0; r < m->rows; r++)
            rnn_each(s, m, r, m->z + r * u->gates * wide - j, j, zk_min(s->units, j + wide), wide,
                     units, act, inner);
    }
}

/* Backward: all units of all rows; z are the gradients of the row's gates. */
ZK_INLINE void rnn_back_units(const rnn *s, const rnn_rows *m, rnn_units *units, int act,
                              int inner) {
    for (int64_t r = 0; r < m->rows; r++)
        rnn_each(s, m, r, m->z + r * s->zrow, 0, s->units, s->units, units, act, inner);
}

/* Runs a loop with the usual activations as constants, so that they are inlined, or with others. */
#define RNN_USUAL(s, loop, ...)                                                                  \
    ((s)->act == ZK_TANH && (s)->inner == ZK_SIGMOID ? loop(s, __VA_ARGS__, ZK_TANH, ZK_SIGMOID) \
                                                     : loop(s, __VA_ARGS__, (s)->act, (s)->inner))
#endif
