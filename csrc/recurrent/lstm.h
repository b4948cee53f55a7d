/* LSTM, forward and backward: Hochreiter and Schmidhuber 1997, gates in the order input, forget,
 * candidate, output. In: projected inputs (xW + b for all steps) and the recurrent matrix. */
#include "rnn.h"

ZK_INLINE void lstm_units(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act,
                          int inner) {
    vf h = vf_load(r->h + j), c = vf_load(r->more + j), a[4];
    if (!r->kept) {
        for (int g = 0; g < 4; g++)
            a[g] = vf_load(r->z + g * r->wide + j) + rnn_load(s->xp + rnn_gate(s, r, g, j), n);
        for (int g = 0; g < 4; g++) a[g] = rnn_act(a[g], g == CANDIDATE ? act : inner);
        c = a[FORGET] * c + a[IN] * a[CANDIDATE];
        h = a[OUT] * rnn_act(c, act);
        vf_store(r->more + j, c);
        for (int g = 0; g < 4; g++) rnn_keep(s->gates_at, rnn_gate(s, r, g, j), a[g], n);
    }
    rnn_leave(s, r, j, n, h);
    rnn_keep(s->extra, r->at + j, c, n);
}

static void lstm_step(const rnn *s, const rnn_rows *m) {
    RNN_USUAL(s, rnn_groups, m, s->u, m->h, lstm_units);
}

/* lstm: out gates(b, t, 4n), cells(b, t, n), prev(b, t, n), y(b, t, n), h(b, n), c(b, n)
 * in xp(b, t, 4n), u(n, 4n), h0(b, n), c0(b, n), [mask(b, t)] */
static void lstm(const zk_call *c) {
    rnn s = rnn_forward(c, 0, 1);
    rnn_pack(&s, 0, 4, s.u);
    rnn_start(&s, lstm_step);
}

/* The gradients before the gates; dh becomes 0, dc that of the step before. Where the mask keeps
 * the state, dh and dc pass and the gates get nothing. */
ZK_INLINE void lstm_back_units(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act,
                               int inner) {
    vf dh = rnn_arriving(s, r, j, n), d[4] = {{0}}, a[4];
    if (!r->kept) {
        const int64_t step = s->reverse ? s->units : -s->units; /* to the step that ran before */
        const float *before =
            r->t == rnn_time(s, 0) ? s->first + r->b * s->units : s->extra + r->at + step;
        for (int g = 0; g < 4; g++) a[g] = rnn_load(s->gates_at + rnn_gate(s, r, g, j), n);
        const vf tc = rnn_act(rnn_load(s->extra + r->at + j, n), act);
        const vf dc = vf_load(r->more + j) + rnn_before(dh * a[OUT], tc, act);
        d[IN] = rnn_before(dc * a[CANDIDATE], a[IN], inner);
        d[FORGET] = rnn_before(dc * rnn_load(before + j, n), a[FORGET], inner);
        d[CANDIDATE] = rnn_before(dc * a[IN], a[CANDIDATE], act);
        d[OUT] = rnn_before(dh * tc, a[OUT], inner);
        vf_store(r->more + j, dc * a[FORGET]);
        dh = (vf){0};
    }
    vf_store(r->h + j, dh);
    for (int g = 0; g < 4; g++) {
        rnn_store(s->dx + rnn_gate(s, r, g, j), d[g], n);
        rnn_store(r->z + g * s->units + j, d[g], n);
    }
}

static void lstm_back_step(const rnn *s, const rnn_rows *m) {
    RNN_USUAL(s, rnn_back_units, m, lstm_back_units);
    rnn_back_product(s->u, m, m->z, m->h, 1);
}

/* lstm_grad: out dz(b, t, 4n), dh0(b, n), dc0(b, n)
 * in gates(b, t, 4n), cells(b, t, n), u(n, 4n), c0(b, n), [mask(b, t)], [dy(b, t, n)], [dh(b, n)],
 * [dc(b, n)] */
static void lstm_grad(const zk_call *c) {
    rnn s = rnn_of(c, 1);
    s.dx = c->p[0], s.h = c->p[1], s.c = c->p[2];
    s.gates_at = c->p[3], s.extra = c->p[4], s.matrix = c->p[5], s.first = c->p[6];
    rnn_given(&s, 4, 1);
    rnn_pack(&s, 0, 4, s.u);
    rnn_start(&s, lstm_back_step);
}
