/* Optimizer steps over flat float vectors, one pass each. Outputs w, slots...; inputs w, g,
 * slots..., lr, (step). An output may lie over the input that it replaces, so element i is read
 * before it is written and nothing else is assumed. Formulas are those of Keras 3. */
#include "vec.h"

#define PIECE 16384 /* elements of a task */

/* in[k] and out[k] are vector k of the call (in[1] is the gradient, which has no output). */
typedef struct {
    float *out[4];
    const float *in[5];
    float lr, a, b, c; /* hyperparameters, as each step needs them */
    int64_t n;
} step;

typedef void (*step_range)(const step *s, int64_t from, int64_t to);

typedef struct {
    step s;
    step_range run;
} step_job;

static void step_task(void *ctx, int64_t task, int thread) {
    const step_job *j = ctx;
    (void)thread;
    j->run(&j->s, task * PIECE, zk_min((task + 1) * PIECE, j->s.n));
}

/* Runs a step over all n elements; the scalar after the vectors is the learning rate. */
static void run_step(const zk_call *c, step_range run, double lr, double a, double b, double e) {
    step_job j = {.run = run};
    int slots = c->nout - 1;
    j.s.n = zk_count(c->a);
    j.s.lr = (float)lr, j.s.a = (float)a, j.s.b = (float)b, j.s.c = (float)e;
    for (int k = 0; k < c->nout; k++) j.s.out[k] = c->p[k];
    for (int k = 0; k < slots + 2; k++) j.s.in[k] = c->p[c->nout + k];
    zk_parallel(c, zk_ceil(j.s.n, PIECE), step_task, &j);
}

/* Scalar k after the vectors: 0 the learning rate, 1 the step. */
static double scalar(const zk_call *c, int k) {
    return *(const float *)c->p[c->nout + c->nout + 1 + k];
}

static void sgd_range(const step *s, int64_t from, int64_t to) {
    const float *w0 = s->in[0], *g = s->in[1], lr = s->lr;
    float *w = s->out[0];
#pragma GCC ivdep
    for (int64_t i = from; i < to; i++) w[i] = w0[i] - lr * g[i];
}

/* sgd_update: w - lr * g.  out w(n)  in w(n), g(n), lr() */
static void sgd_update(const zk_call *c) { run_step(c, sgd_range, scalar(c, 0), 0, 0, 0); }

ZK_INLINE void momentum_body(const step *s, int64_t from, int64_t to, int nesterov) {
    const float *w0 = s->in[0], *g = s->in[1], *m0 = s->in[2], lr = s->lr, momentum = s->a;
    float *w = s->out[0], *m = s->out[1];
#pragma GCC ivdep
    for (int64_t i = from; i < to; i++) {
        float down = lr * g[i], speed = momentum * m0[i] - down;
        w[i] = w0[i] + (nesterov ? momentum * speed - down : speed);
        m[i] = speed;
    }
}

static void momentum_range(const step *s, int64_t from, int64_t to) {
    momentum_body(s, from, to, 0);
}
static void nesterov_range(const step *s, int64_t from, int64_t to) {
    momentum_body(s, from, to, 1);
}

/* momentum_update: m = momentum * m - lr * g; w + m, or w + momentum * m - lr * g.
 * out w(n), m(n)  in w(n), g(n), m(n), lr()  attr momentum, nesterov */
static void momentum_update(const zk_call *c) {
    run_step(c, c->attr[1] ? nesterov_range : momentum_range, scalar(c, 0), c->attr[0], 0, 0);
}

ZK_INLINE void adam_body(const step *s, int64_t from, int64_t to, int amsgrad) {
    const float *w0 = s->in[0], *g = s->in[1], *m0 = s->in[2], *v0 = s->in[3], *top0 = s->in[4];
    float *w = s->out[0], *m = s->out[1], *v = s->out[2], *top = s->out[3];
    float lr = s->lr, share_1 = s->a, share_2 = s->b, epsilon = s->c;
#pragma GCC ivdep
    for (int64_t i = from; i < to; i++) {
        float mean = m0[i] + (g[i] - m0[i]) * share_1;
        float square = v0[i] + (g[i] * g[i] - v0[i]) * share_2;
        m[i] = mean;
        v[i] = square;
        if (amsgrad) {
            square = top0[i] > square ? top0[i] : square;
            top[i] = square;
        }
        w[i] = w0[i] - mean * lr / (sqrtf(square) + epsilon);
    }
}

static void adam_range(const step *s, int64_t from, int64_t to) { adam_body(s, from, to, 0); }
static void amsgrad_range(const step *s, int64_t from, int64_t to) { adam_body(s, from, to, 1); }

/* The learning rate with both bias corrections goes to each element. */
static void run_adam(const zk_call *c, step_range run) {
    double beta_1 = c->attr[0], beta_2 = c->attr[1], count = scalar(c, 1);
    double lr = scalar(c, 0) * sqrt(1 - pow(beta_2, count)) / (1 - pow(beta_1, count));
    run_step(c, run, lr, 1 - beta_1, 1 - beta_2, c->attr[2]);
}

/* adam_update: m, v: moving means of g and its square; w - lr' * m / (sqrt(v) + epsilon).
 * out w(n), m(n), v(n)  in w(n), g(n), m(n), v(n), lr(), step()  attr beta_1, beta_2, epsilon */
static void adam_update(const zk_call *c) { run_adam(c, adam_range); }

/* amsgrad_update: divides by the largest v so far.  As adam_update, with one more slot. */
static void amsgrad_update(const zk_call *c) { run_adam(c, amsgrad_range); }

ZK_INLINE void rms_body(const step *s, int64_t from, int64_t to, int centered, int momentum) {
    const float *w0 = s->in[0], *g = s->in[1], *v0 = s->in[2], *a0 = s->in[3];
    const float *m0 = s->in[3 + centered];
    float *w = s->out[0], *v = s->out[1], *a = s->out[2], *m = s->out[2 + centered];
    float lr = s->lr, rho = s->a, share = 1 - s->a, epsilon = s->b, keep = s->c;
#pragma GCC ivdep
    for (int64_t i = from; i < to; i++) {
        float square = rho * v0[i] + share * g[i] * g[i], spread = square;
        v[i] = square;
        if (centered) {
            float mean = rho * a0[i] + share * g[i];
            a[i] = mean;
            spread = square - mean * mean;
        }
        float down = lr * g[i] / sqrtf(spread + epsilon);
        if (momentum) m[i] = down = keep * m0[i] + down;
        w[i] = w0[i] - down;
    }
}

static void rms_range(const step *s, int64_t from, int64_t to) { rms_body(s, from, to, 0, 0); }
static void rms_m_range(const step *s, int64_t from, int64_t to) { rms_body(s, from, to, 0, 1); }
static void rms_c_range(const step *s, int64_t from, int64_t to) { rms_body(s, from, to, 1, 0); }
static void rms_cm_range(const step *s, int64_t from, int64_t to) { rms_body(s, from, to, 1, 1); }

static void run_rms(const zk_call *c, step_range run) {
    run_step(c, run, scalar(c, 0), c->attr[0], c->attr[1], c->nattr > 2 ? c->attr[2] : 0);
}

/* rmsprop_update: v: moving mean of g's square; w - lr * g / sqrt(v + epsilon).
 * out w(n), v(n)  in w(n), g(n), v(n), lr()  attr rho, epsilon */
static void rmsprop_update(const zk_call *c) { run_rms(c, rms_range); }

/* The same with momentum.  out w, v, m  in w, g, v, m, lr  attr rho, epsilon, momentum */
static void rmsprop_momentum_update(const zk_call *c) { run_rms(c, rms_m_range); }

/* Divides by the variance's root; a is the mean of g.  out w, v, a  in w, g, v, a, lr */
static void rmsprop_centered_update(const zk_call *c) { run_rms(c, rms_c_range); }

/* Both.  out w, v, a, m  in w, g, v, a, m, lr  attr rho, epsilon, momentum */
static void rmsprop_centered_momentum_update(const zk_call *c) { run_rms(c, rms_cm_range); }

const zk_kernel ZK_TABLE(optim)[] = {
    {"sgd_update", sgd_update, NULL},
    {"momentum_update", momentum_update, NULL},
    {"adam_update", adam_update, NULL},
    {"amsgrad_update", amsgrad_update, NULL},
    {"rmsprop_update", rmsprop_update, NULL},
    {"rmsprop_momentum_update", rmsprop_momentum_update, NULL},
    {"rmsprop_centered_update", rmsprop_centered_update, NULL},
    {"rmsprop_centered_momentum_update", rmsprop_centered_momentum_update, NULL},
    {0}};
