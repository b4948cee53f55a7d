/* GRU with the reset gate after the product (Keras' default, and cuDNN's), forward and backward:
 * Cho et al. 2014, gates in the order update, reset, candidate. In: projected inputs (xW + b for
 * all steps), the recurrent matrix and its bias. gru_reset_first.h has the original form. */
#include "rnn.h"

ZK_INLINE void gru_units(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act, int inner) {
    const vf before = vf_load(r->h + j);
    if (r->kept) {
        rnn_leave(s, r, j, n, before);
        return;
    }
    vf x[3], p[3], a[3];
    for (int g = 0; g < 3; g++) {
        x[g] = rnn_load(s->xp + rnn_gate(s, r, g, j), n);
        p[g] = vf_load(r->z + g * r->wide + j) + rnn_load(s->bias + g * s->units + j, n);
    }
    a[UPDATE] = rnn_act(x[UPDATE] + p[UPDATE], inner);
    a[RESET] = rnn_act(x[RESET] + p[RESET], inner);
    a[CANDIDATE] = rnn_act(x[CANDIDATE] + a[RESET] * p[CANDIDATE], act);
    for (int g = 0; g < 3; g++) rnn_keep(s->gates_at, rnn_gate(s, r, g, j), a[g], n);
    rnn_keep(s->extra, r->at + j, p[CANDIDATE], n);
    rnn_leave(s, r, j, n, a[UPDATE] * before + (1.f - a[UPDATE]) * a[CANDIDATE]);
}

static void gru_step(const rnn *s, const rnn_rows *m) {
    RNN_USUAL(s, rnn_groups, m, s->u, m->h, gru_units);
}

/* gru: out gates(b, t, 3n), inner(b, t, n), prev(b, t, n), y(b, t, n), h(b, n)
 * in xp(b, t, 3n), u(n, 3n), bias(3n), h0(b, n), [mask(b, t)] */
static void gru(const zk_call *c) {
    rnn s = rnn_forward(c, 1, 0);
    rnn_pack(&s, 0, 3, s.u);
    rnn_start(&s, gru_step);
}

/* The gradients before the gates, by the input's (dx) and the state's (dp) part; dh becomes what
 * passes straight to the step before. */
ZK_INLINE void gru_back_units(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act,
                              int inner) {
    vf dh = rnn_arriving(s, r, j, n), d[3] = {{0}}, a[3], product = {0};
    if (!r->kept) {
        for (int g = 0; g < 3; g++) a[g] = rnn_load(s->gates_at + rnn_gate(s, r, g, j), n);
        const vf straight = rnn_load(s->prev + r->at + j, n) - a[CANDIDATE];
        d[CANDIDATE] = rnn_before(dh * (1.f - a[UPDATE]), a[CANDIDATE], act);
        d[UPDATE] = rnn_before(dh * straight, a[UPDATE], inner);
        d[RESET] = rnn_before(d[CANDIDATE] * rnn_load(s->extra + r->at + j, n), a[RESET], inner);
        product = d[CANDIDATE] * a[RESET];
        dh *= a[UPDATE];
    }
    vf_store(r->h + j, dh);
    for (int g = 0; g < 3; g++) rnn_store(s->dx + rnn_gate(s, r, g, j), d[g], n);
    d[CANDIDATE] = product;
    for (int g = 0; g < 3; g++) {
        rnn_store(s->dp + rnn_gate(s, r, g, j), d[g], n);
        rnn_store(r->z + g * s->units + j, d[g], n);
    }
}

static void gru_back_step(const rnn *s, const rnn_rows *m) {
    RNN_USUAL(s, rnn_back_units, m, gru_back_units);
    rnn_back_product(s->u, m, m->z, m->h, 1);
}

/* gru_grad: out dx(b, t, 3n), dp(b, t, 3n), dh0(b, n)
 * in gates(b, t, 3n), inner(b, t, n), prev(b, t, n), u(n, 3n), [mask(b, t)], [dy(b, t, n)],
 * [dh(b, n)] */
static void gru_grad(const zk_call *c) {
    rnn s = rnn_of(c, 1);
    s.dx = c->p[0], s.dp = c->p[1], s.h = c->p[2];
    s.gates_at = c->p[3], s.extra = c->p[4], s.prev = c->p[5], s.matrix = c->p[6];
    rnn_given(&s, 4, 0);
    rnn_pack(&s, 0, 3, s.u);
    rnn_start(&s, gru_back_step);
}
