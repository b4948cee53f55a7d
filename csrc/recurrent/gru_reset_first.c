/* GRU over whole sequences with the reset gate before the product (reset_after=False), forward and
 * backward: Cho et al. 2014 as printed. In: projected inputs (xW + b for all steps) and the
 * recurrent matrix, gates in the order update, reset, candidate. A step has two products: the
 * candidate's needs the reset gate of all units. */
#include "rnn.h"

enum { UPDATE, RESET, CANDIDATE, GATES };

typedef struct {
    rnn s;
    const float *xp, *h0;
    float *gates, *product, *prev, *y, *h;
} first_forward;

/* Blocks of update and reset panels, then the panels of the candidate. */
static void first_pack(void *ctx, int64_t block, int thread) {
    const rnn *s = ctx;
    const int64_t units = s->units, size = units * PANEL, j = block * PANEL;
    const int64_t cols = zk_min(PANEL, units - j), row = GATES * units;
    float *pair = s->packed + 2 * block * size;
    (void)thread;
    rnn_pack_rows(s->u + j, row, units, cols, pair);
    rnn_pack_rows(s->u + units + j, row, units, cols, pair + size);
    rnn_pack_rows(s->u + 2 * units + j, row, units, cols,
                  s->packed + 2 * units * s->padded + block * size);
}

/* n units of a row from unit j on: the update gate into `next`, reset gate * state into `rh`. */
ZK_INLINE void first_open(const first_forward *l, int64_t at, const float *z, const float *h,
                          float *next, float *rh, int64_t j, int64_t n) {
    const int64_t units = l->s.units;
    const float *x = l->xp + GATES * at + j;
    const vf update = vf_sigmoid(rnn_load(x, n) + vf_load(z));
    const vf reset = vf_sigmoid(rnn_load(x + units, n) + vf_load(z + PANEL));
    const vf before = vf_load(h + j);
    vf_store(next + j, update);
    vf_store(rh + j, reset * before);
    if (l->product) rnn_store(l->product + at + j, reset * before, n);
    if (l->prev) rnn_store(l->prev + at + j, before, n);
    if (!l->gates) return;
    rnn_store(l->gates + GATES * at + UPDATE * units + j, update, n);
    rnn_store(l->gates + GATES * at + RESET * units + j, reset, n);
}

/* The new state, from the update gate in `next`; `kept`: the mask keeps the old one. */
ZK_INLINE void first_close(const first_forward *l, int kept, int64_t at, const float *z,
                           const float *h, float *next, int64_t j, int64_t n) {
    const int64_t candidate = GATES * at + CANDIDATE * l->s.units + j;
    const vf update = vf_load(next + j), before = vf_load(h + j);
    const vf a = vf_tanh(rnn_load(l->xp + candidate, n) + vf_load(z));
    const vf state = rnn_choose(kept, before, update * before + (1.f - update) * a);
    vf_store(next + j, state);
    if (l->y) rnn_store(l->y + at + j, state, n);
    if (l->gates) rnn_store(l->gates + candidate, a, n);
}

/* The gates of block u .. u + 16 of all rows. */
static void first_open_block(const first_forward *l, const rnn_memory *m, float *rh, int64_t b0,
                             int64_t rows, int64_t t, int64_t u) {
    const rnn *s = &l->s;
    const int64_t end = zk_min(s->units, u + PANEL);
    rnn_product(m->h, s->padded, rows, s->packed + 2 * u * s->units, s->units, 2, m->z, 2 * PANEL,
                0);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = ((b0 + r) * s->steps + t) * s->units, here = r * s->padded;
        for (int64_t j = u; j < end; j += VL)
            first_open(l, at, m->z + r * 2 * PANEL + j - u, m->h + here, m->next + here, rh + here,
                       j, zk_min(VL, end - j));
    }
}

/* The candidate and the state of block u .. u + 16 of all rows. */
static void first_close_block(const first_forward *l, const rnn_memory *m, const float *rh,
                              int64_t b0, int64_t rows, int64_t t, int64_t u) {
    const rnn *s = &l->s;
    const int64_t end = zk_min(s->units, u + PANEL);
    const float *panels = s->packed + 2 * s->units * s->padded;
    rnn_product(rh, s->padded, rows, panels + u * s->units, s->units, 1, m->z, PANEL, 0);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = ((b0 + r) * s->steps + t) * s->units, here = r * s->padded;
        const int kept = rnn_masked(s, b0 + r, t);
        for (int64_t j = u; j < end; j += VL)
            first_close(l, kept, at, m->z + r * PANEL + j - u, m->h + here, m->next + here, j,
                        zk_min(VL, end - j));
    }
}

static void first_step(const void *layer, const rnn_memory *m, int64_t b0, int64_t rows,
                       int64_t t) {
    const first_forward *l = layer;
    float *rh = m->z + rnn_rows(&l->s) * 2 * PANEL;
    for (int64_t u = 0; u < l->s.units; u += PANEL) first_open_block(l, m, rh, b0, rows, t, u);
    for (int64_t u = 0; u < l->s.units; u += PANEL) first_close_block(l, m, rh, b0, rows, t, u);
}

static void first_task(void *ctx, int64_t task, int thread) {
    const first_forward *l = ctx;
    rnn_run(&l->s, first_step, l, l->h0, l->h, task, thread);
}

static int64_t first_local(const rnn *s) { return rnn_rows(s) * (3 * s->padded + 2 * PANEL); }

/* gru_reset_first: out gates(b, t, 3n), product(b, t, n) of reset gate and state, prev(b, t, n),
 * y(b, t, n), h(b, n)  in xp(b, t, 3n), u(n, 3n), h0(b, n), [mask(b, t)]
 * attr reverse, has mask, 5 flags: which outputs are wanted */
static void gru_reset_first(const zk_call *c) {
    first_forward l = {.s = rnn_of(c, c->a + 5, c->a + 6)};
    int next = 3;
    l.xp = c->p[5], l.s.u = c->p[6], l.h0 = c->p[7];
    l.s.mask = rnn_optional(c, 1, &next);
    l.gates = rnn_output(c, 0, 2), l.product = rnn_output(c, 1, 2), l.prev = rnn_output(c, 2, 2);
    l.y = rnn_output(c, 3, 2), l.h = rnn_output(c, 4, 2);
    rnn_place(&l.s, first_local(&l.s));
    rnn_pack(&l.s, first_pack);
    zk_parallel(c, l.s.pieces, first_task, &l);
}

static int64_t first_scratch(const zk_call *c) {
    const rnn s = rnn_of(c, c->a + 5, c->a + 6);
    return rnn_scratch(&s, first_local(&s));
}

/* ---- backward -------------------------------------------------------------------------------- */

typedef struct {
    rnn s;
    const float *gates, *prev, *dy, *dh;
    float *dx, *dh0;
} first_backward;

/* Rows of the matrix, turned: panels of the update and reset gates, then of the candidate. */
static void first_pack_turned(void *ctx, int64_t block, int thread) {
    const rnn *s = ctx;
    const int64_t units = s->units, row = GATES * units, cols = units - block * PANEL;
    const float *u = s->u + block * PANEL * row;
    (void)thread;
    rnn_pack_turned(u, row, 2 * units, cols, s->packed + 2 * block * units * PANEL);
    rnn_pack_turned(u + 2 * units, row, units, cols,
                    s->packed + (2 * s->padded + block * PANEL) * units);
}

/* Scratch rows: gradients of the gates, the candidate's, and of reset gate * state. */
typedef struct {
    float *gates, *candidate, *product;
} first_rows;

/* Before the candidate's product: the gradients of candidate and update gate. */
ZK_INLINE void first_back_open(const first_backward *l, int kept, int64_t at, float *dh,
                               float *gates, float *candidate, int64_t j, int64_t n) {
    const int64_t units = l->s.units;
    const float *from = l->gates + GATES * at + j;
    vf d = vf_load(dh + j);
    if (l->dy) d += rnn_load(l->dy + at + j, n);
    const vf z = rnn_load(from, n), a = rnn_load(from + CANDIDATE * units, n);
    const vf before = rnn_load(l->prev + at + j, n), none = {0};
    rnn_store(candidate + j, rnn_choose(kept, none, d * (1.f - z) * (1.f - a * a)), n);
    rnn_store(gates + j, rnn_choose(kept, none, d * (before - a) * z * (1.f - z)), n);
    vf_store(dh + j, rnn_choose(kept, d, d * z));
}

/* After it: the gradient of the reset gate; all three go to dx. */
ZK_INLINE void first_back_close(const first_backward *l, int kept, int64_t at, float *dh,
                                float *gates, const float *candidate, const float *product,
                                int64_t j, int64_t n) {
    const int64_t units = l->s.units;
    const vf reset = rnn_load(l->gates + GATES * at + RESET * units + j, n);
    const vf d = vf_load(product + j), before = rnn_load(l->prev + at + j, n), none = {0};
    const vf dr = rnn_choose(kept, none, d * before * reset * (1.f - reset));
    float *dx = l->dx + GATES * at + j;
    if (!kept) vf_store(dh + j, vf_load(dh + j) + d * reset);
    rnn_store(gates + units + j, dr, n);
    rnn_store(dx + UPDATE * units, rnn_load(gates + j, n), n);
    rnn_store(dx + RESET * units, dr, n);
    rnn_store(dx + CANDIDATE * units, rnn_load(candidate + j, n), n);
}

static first_rows first_rows_of(const rnn *s, float *local) {
    const int64_t rows = rnn_rows(s), size = rows * s->padded;
    return (first_rows){local + size, local + size + 2 * rows * s->units, local};
}

static void first_back_step(const void *layer, float *dh, float *local, int64_t b0, int64_t rows,
                            int64_t t) {
    const first_backward *l = layer;
    const rnn *s = &l->s;
    const int64_t units = s->units, panels = s->padded / PANEL, row = s->padded;
    const first_rows m = first_rows_of(s, local);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < units; j += VL)
            first_back_open(l, rnn_masked(s, b0 + r, t), ((b0 + r) * s->steps + t) * units,
                            dh + r * row, m.gates + r * 2 * units, m.candidate + r * units, j,
                            zk_min(VL, units - j));
    rnn_product(m.candidate, units, rows, s->packed + 2 * units * row, units, panels, m.product,
                row, 0);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < units; j += VL)
            first_back_close(l, rnn_masked(s, b0 + r, t), ((b0 + r) * s->steps + t) * units,
                             dh + r * row, m.gates + r * 2 * units, m.candidate + r * units,
                             m.product + r * row, j, zk_min(VL, units - j));
    rnn_product(m.gates, 2 * units, rows, s->packed, 2 * units, panels, dh, row, 1);
}

static void first_back_task(void *ctx, int64_t task, int thread) {
    const first_backward *l = ctx;
    rnn_run_back(&l->s, first_back_step, l, l->dh, l->dh0, task, thread);
}

static int64_t first_back_local(const rnn *s) {
    return rnn_rows(s) * (2 * s->padded + GATES * s->units) + PANEL;
}

/* gru_reset_first_grad: out dx(b, t, 3n), dh0(b, n)
 * in gates(b, t, 3n), prev(b, t, n), u(n, 3n), [mask(b, t)], [dy(b, t, n)], [dh(b, n)]
 * attr reverse, 3 flags: which of the last three inputs are there */
static void gru_reset_first_grad(const zk_call *c) {
    first_backward l = {.s = rnn_of(c, c->a + 2, c->a + 4)};
    int next = 3;
    l.gates = c->p[2], l.prev = c->p[3], l.s.u = c->p[4];
    l.s.mask = rnn_optional(c, 1, &next);
    l.dy = rnn_optional(c, 2, &next), l.dh = rnn_optional(c, 3, &next);
    l.dx = c->p[0], l.dh0 = c->p[1];
    rnn_place(&l.s, first_back_local(&l.s));
    rnn_pack(&l.s, first_pack_turned);
    zk_parallel(c, l.s.pieces, first_back_task, &l);
}

static int64_t first_back_scratch(const zk_call *c) {
    const rnn s = rnn_of(c, c->a + 2, c->a + 4);
    return rnn_scratch(&s, first_back_local(&s));
}

const zk_kernel ZK_TABLE(gru_reset_first)[] = {
    {"gru_reset_first", gru_reset_first, first_scratch},
    {"gru_reset_first_grad", gru_reset_first_grad, first_back_scratch},
    {0}};
