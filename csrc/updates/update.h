/* What one step of every optimizer does to a run of elements, and the settings that come with it:
 * gradient scaled and clipped, weight decay, moving average. Used on whole vectors (update.c) and
 * on single rows of a table (table_rows.c). Formulas are those of Keras 3. An output may lie over
 * the input that it replaces: element i is read before it is written and nothing else is assumed.
 */
#ifndef ZK_OPTIM_H
#define ZK_OPTIM_H
#include "vec.h"

#define MAX_SLOTS 3
#define TILE 1024 /* floats: what a step touches at a time stays in the L1 cache */

/* Pointers to the first element; k holds numbers as each optimizer's setup makes them. Each run
 * multiplies the gradient by its scale: SGD takes twice as long with a pass of its own for that. */
typedef struct {
    float *w, *out[MAX_SLOTS];
    const float *w0, *g, *in[MAX_SLOTS];
    float lr, scale, k[4];
} step;

typedef void (*step_run)(const step *s, int64_t n);
typedef void (*step_setup)(step *s, const double *attr, double lr, double count);

/* Scalars of the whole step. */
typedef struct {
    step s;
    step_run run;
    int slots;
    float limit, decay, keep; /* of the gradient (0: none), the weights (0: none), the average */
    float *average;           /* NULL: none */
    const float *average0;
} update;

static void sgd_run(const step *s, int64_t n) {
    const float *w0 = s->w0, *g = s->g, lr = s->lr;
    float *w = s->w;
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) w[i] = w0[i] - lr * (g[i] * scale);
}

static void sgd_setup(step *s, const double *attr, double lr, double count) {
    (void)attr, (void)count;
    s->lr = (float)lr;
}

ZK_INLINE void momentum_body(const step *s, int64_t n, int nesterov) {
    const float *w0 = s->w0, *g = s->g, *m0 = s->in[0], lr = s->lr, momentum = s->k[0];
    float *w = s->w, *m = s->out[0];
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float x = g[i] * scale;
        float down = lr * x, speed = momentum * m0[i] - down;
        w[i] = w0[i] + (nesterov ? momentum * speed - down : speed);
        m[i] = speed;
    }
}

static void momentum_run(const step *s, int64_t n) {
    if (s->k[1] != 0) momentum_body(s, n, 1);
    else momentum_body(s, n, 0);
}

/* attr momentum, nesterov */
static void momentum_setup(step *s, const double *attr, double lr, double count) {
    (void)count;
    s->lr = (float)lr, s->k[0] = (float)attr[0], s->k[1] = (float)attr[1];
}

ZK_INLINE void adam_body(const step *s, int64_t n, int amsgrad) {
    const float *w0 = s->w0, *g = s->g, *m0 = s->in[0], *v0 = s->in[1], *top0 = s->in[2];
    float *w = s->w, *m = s->out[0], *v = s->out[1], *top = s->out[2];
    float lr = s->lr, share_1 = s->k[0], share_2 = s->k[1], epsilon = s->k[2];
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float x = g[i] * scale;
        float mean = m0[i] + (x - m0[i]) * share_1;
        float square = v0[i] + (x * x - v0[i]) * share_2;
        m[i] = mean;
        v[i] = square;
        if (amsgrad) {
            square = top0[i] > square ? top0[i] : square;
            top[i] = square;
        }
        w[i] = w0[i] - mean * lr / (sqrtf(square) + epsilon);
    }
}

static void adam_run(const step *s, int64_t n) { adam_body(s, n, 0); }
static void amsgrad_run(const step *s, int64_t n) { adam_body(s, n, 1); }

/* Adam's learning rate with both bias corrections. */
static double adam_rate(const double *attr, double lr, double count) {
    return lr * sqrt(1 - pow(attr[1], count)) / (1 - pow(attr[0], count));
}

/* attr beta_1, beta_2, epsilon */
static void adam_setup(step *s, const double *attr, double lr, double count) {
    s->lr = (float)adam_rate(attr, lr, count);
    s->k[0] = (float)(1 - attr[0]), s->k[1] = (float)(1 - attr[1]), s->k[2] = (float)attr[2];
}

static void adamax_run(const step *s, int64_t n) {
    const float *w0 = s->w0, *g = s->g, *m0 = s->in[0], *u0 = s->in[1];
    float *w = s->w, *m = s->out[0], *u = s->out[1];
    float lr = s->lr, share = s->k[0], beta_2 = s->k[1], epsilon = s->k[2];
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float x = g[i] * scale;
        float mean = m0[i] + (x - m0[i]) * share, old = beta_2 * u0[i], now = fabsf(x);
        float top = old > now ? old : now;
        m[i] = mean;
        u[i] = top;
        w[i] = w0[i] - mean * lr / (top + epsilon);
    }
}

/* attr beta_1, beta_2, epsilon */
static void adamax_setup(step *s, const double *attr, double lr, double count) {
    s->lr = (float)(lr / (1 - pow(attr[0], count)));
    s->k[0] = (float)(1 - attr[0]), s->k[1] = (float)attr[1], s->k[2] = (float)attr[2];
}

static double nadam_beta(double beta_1, double count) {
    return beta_1 * (1 - 0.5 * pow(0.96, count));
}

/* The product of nadam_beta(1..count); its factors end up as beta_1. */
static double nadam_product(double beta_1, double count) {
    double product = 1, grown = 1;
    int64_t i = 0;
    for (; i < count && i < 600; i++) product *= beta_1 * (1 - 0.5 * (grown *= 0.96));
    return product * pow(beta_1, count - (double)i);
}

static void nadam_run(const step *s, int64_t n) {
    const float *w0 = s->w0, *g = s->g, *m0 = s->in[0], *v0 = s->in[1];
    float *w = s->w, *m = s->out[0], *v = s->out[1];
    float of_mean = s->lr, share_1 = s->k[0], share_2 = s->k[1], epsilon = s->k[2], of_g = s->k[3];
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float x = g[i] * scale;
        float mean = m0[i] + (x - m0[i]) * share_1;
        float square = v0[i] + (x * x - v0[i]) * share_2;
        m[i] = mean;
        v[i] = square;
        w[i] = w0[i] - (of_mean * mean + of_g * x) / (sqrtf(square) + epsilon);
    }
}

/* attr beta_1, beta_2, epsilon. The correction of v goes to the other terms. */
static void nadam_setup(step *s, const double *attr, double lr, double count) {
    double product = nadam_product(attr[0], count), next = nadam_beta(attr[0], count + 1);
    double root = sqrt(1 - pow(attr[1], count));
    s->lr = (float)(lr * root * next / (1 - product * next));
    s->k[0] = (float)(1 - attr[0]), s->k[1] = (float)(1 - attr[1]);
    s->k[2] = (float)(attr[2] * root);
    s->k[3] = (float)(lr * root * (1 - nadam_beta(attr[0], count)) / (1 - product));
}

ZK_INLINE void rms_body(const step *s, int64_t n, int centered, int momentum) {
    const float *w0 = s->w0, *g = s->g, *v0 = s->in[0], *a0 = s->in[1], *m0 = s->in[centered + 1];
    float *w = s->w, *v = s->out[0], *a = s->out[1], *m = s->out[centered + 1];
    float lr = s->lr, rho = s->k[0], share = 1 - s->k[0], epsilon = s->k[1], keep = s->k[2];
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float x = g[i] * scale;
        float square = rho * v0[i] + share * x * x, spread = square;
        v[i] = square;
        if (centered) {
            float mean = rho * a0[i] + share * x;
            a[i] = mean;
            spread = square - mean * mean;
        }
        float down = lr * x / sqrtf(spread + epsilon);
        if (momentum) m[i] = down = keep * m0[i] + down;
        w[i] = w0[i] - down;
    }
}

static void rms_run(const step *s, int64_t n) { rms_body(s, n, 0, 0); }
static void rms_m_run(const step *s, int64_t n) { rms_body(s, n, 0, 1); }
static void rms_c_run(const step *s, int64_t n) { rms_body(s, n, 1, 0); }
static void rms_cm_run(const step *s, int64_t n) { rms_body(s, n, 1, 1); }

/* attr rho, epsilon, [momentum]; a third number follows in any case */
static void rms_setup(step *s, const double *attr, double lr, double count) {
    (void)count;
    s->lr = (float)lr;
    for (int i = 0; i < 3; i++) s->k[i] = (float)attr[i];
}

static void adagrad_run(const step *s, int64_t n) {
    const float *w0 = s->w0, *g = s->g, *v0 = s->in[0], lr = s->lr, epsilon = s->k[0];
    float *w = s->w, *v = s->out[0];
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float x = g[i] * scale;
        float total = v0[i] + x * x;
        v[i] = total;
        w[i] = w0[i] - lr * x / sqrtf(total + epsilon);
    }
}

/* attr epsilon */
static void adagrad_setup(step *s, const double *attr, double lr, double count) {
    (void)count;
    s->lr = (float)lr, s->k[0] = (float)attr[0];
}

static void adadelta_run(const step *s, int64_t n) {
    const float *w0 = s->w0, *g = s->g, *v0 = s->in[0], *d0 = s->in[1];
    float *w = s->w, *v = s->out[0], *d = s->out[1];
    float lr = s->lr, rho = s->k[0], share = 1 - s->k[0], epsilon = s->k[1];
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float x = g[i] * scale;
        float square = rho * v0[i] + share * x * x;
        float by = sqrtf(d0[i] + epsilon) * x / sqrtf(square + epsilon);
        v[i] = square;
        d[i] = rho * d0[i] + share * by * by;
        w[i] = w0[i] - lr * by;
    }
}

ZK_INLINE float sign_of(float x) { return (float)(x > 0) - (float)(x < 0); }

static void lion_run(const step *s, int64_t n) {
    const float *w0 = s->w0, *g = s->g, *m0 = s->in[0], lr = s->lr, b1 = s->k[0], b2 = s->k[1];
    float *w = s->w, *m = s->out[0], share_1 = 1 - b1, share_2 = 1 - b2;
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float x = g[i] * scale;
        float mixed = b1 * m0[i] + share_1 * x;
        m[i] = b2 * m0[i] + share_2 * x;
        w[i] = w0[i] - lr * sign_of(mixed);
    }
}

/* attr l1, l2, beta, l2 shrinkage; learning_rate_power is -0.5. k: 1 / lr, l1, 2 * l2', 2 * shr. */
static void ftrl_run(const step *s, int64_t n) {
    const float *w0 = s->w0, *g = s->g, *v0 = s->in[0], *z0 = s->in[1];
    float *w = s->w, *v = s->out[0], *z = s->out[1];
    float inverse = s->k[0], l1 = s->k[1], l2 = s->k[2], shrink = s->k[3];
    const float scale = s->scale;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float x = g[i] * scale;
        float total = v0[i] + x * x, root = sqrtf(total);
        float linear = z0[i] + x + shrink * w0[i] - (root - sqrtf(v0[i])) * inverse * w0[i];
        float inside = linear > l1 ? l1 : linear < -l1 ? -l1 : linear;
        v[i] = total;
        z[i] = linear;
        w[i] = (inside - linear) / (root * inverse + l2);
    }
}

static void ftrl_setup(step *s, const double *attr, double lr, double count) {
    (void)count;
    s->k[0] = (float)(1 / lr), s->k[1] = (float)attr[0];
    s->k[2] = (float)(2 * (attr[1] + attr[2] / 2 / lr)), s->k[3] = (float)(2 * attr[3]);
}

static const struct {
    step_run run;
    step_setup setup;
    int slots, nattr;
} kinds[] = {
    [ZK_SGD] = {sgd_run, sgd_setup, 0, 0},
    [ZK_MOMENTUM] = {momentum_run, momentum_setup, 1, 2},
    [ZK_ADAM] = {adam_run, adam_setup, 2, 3},
    [ZK_AMSGRAD] = {amsgrad_run, adam_setup, 3, 3},
    [ZK_ADAMAX] = {adamax_run, adamax_setup, 2, 3},
    [ZK_NADAM] = {nadam_run, nadam_setup, 2, 3},
    [ZK_RMSPROP] = {rms_run, rms_setup, 1, 2},
    [ZK_RMSPROP_MOMENTUM] = {rms_m_run, rms_setup, 2, 3},
    [ZK_RMSPROP_CENTERED] = {rms_c_run, rms_setup, 2, 2},
    [ZK_RMSPROP_CENTERED_MOMENTUM] = {rms_cm_run, rms_setup, 3, 3},
    [ZK_ADAGRAD] = {adagrad_run, adagrad_setup, 1, 1},
    [ZK_ADADELTA] = {adadelta_run, rms_setup, 2, 2},
    [ZK_LION] = {lion_run, rms_setup, 1, 2},
    [ZK_FTRL] = {ftrl_run, ftrl_setup, 2, 4},
};

/* The scalars of one step. attr: kind, its own numbers, clip, decay, ema (-1: none).
 * scalars: learning rate, step (from 1), scale of the gradient. */
static update new_update(const double *attr, const float *lr, const float *count,
                         const float *scale) {
    int kind = (int)attr[0];
    const double *rest = attr + 1 + kinds[kind].nattr;
    update u = {.run = kinds[kind].run, .slots = kinds[kind].slots};
    kinds[kind].setup(&u.s, attr + 1, *lr, *count);
    u.s.scale = *scale;
    u.limit = (float)rest[0];
    u.decay = (float)(rest[1] * *lr);
    u.keep = *count == 1 ? 0 : (float)rest[2];
    return u;
}

/* to = the gradient scaled and clipped */
static void clip_gradient(float *to, const step *s, float limit, int64_t n) {
    const float *g = s->g, scale = s->scale;
    for (int64_t i = 0; i < n; i++) {
        float x = g[i] * scale;
        to[i] = x > limit ? limit : x < -limit ? -limit : x;
    }
}

/* One step on the n <= TILE elements from `at` on, where s points. */
static void update_tile(const update *u, step s, int64_t at, int64_t n) {
    float clipped[TILE];
    if (u->limit > 0) {
        clip_gradient(clipped, &s, u->limit, n);
        s.g = clipped, s.scale = 1;
    }
    if (u->decay != 0) {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) s.w[i] = s.w0[i] - s.w0[i] * u->decay;
        s.w0 = s.w;
    }
    u->run(&s, n);
    if (!u->average) return;
    float *average = u->average + at, keep = u->keep, fresh = 1 - keep;
    const float *average0 = u->average0 + at, *w = s.w;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) average[i] = keep * average0[i] + fresh * w[i];
}

/* One step on elements [from, to) of the vectors; the gradient's element `from` is the first. */
static void update_range(const update *u, int64_t from, int64_t to, const float *g) {
    for (int64_t i = from; i < to; i += TILE) {
        step s = u->s;
        s.w += i, s.w0 += i, s.g = g + (i - from);
        for (int k = 0; k < u->slots; k++) s.out[k] += i, s.in[k] += i;
        update_tile(u, s, i, zk_min(TILE, to - i));
    }
}
#endif
