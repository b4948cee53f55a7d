/* Fourier transforms along the last axis, of a power of two of elements. VL rows at a time, one in
 * each lane, so that a row gives the same bits in any batch: Stockham's passes over four elements
 * (the last one over two where need be), from one buffer into the other. */
#include "turn.h"
#include "vmath.h"

typedef struct {
    const float *re, *im; /* im: NULL for real numbers */
    float *to_re, *to_im;
    const float *wave; /* cosines (n), sines (n) of whole turns */
    float *room;       /* for each thread two buffers of (re, im) of n vectors */
    int64_t rows, n, kept;
    float scale;
} fourier_job;

/* Cosines and sines of k / n turns for k < n, exact in the first eighth and mirrored from there. */
static void fill_wave(float *cosine, float *sine, int64_t n) {
    cosine[0] = 1, sine[0] = 0;
    if (n == 2) cosine[1] = -1, sine[1] = 0;
    if (n < 4) return;
    for (int64_t k = 0; k <= n / 8; k++) {
        const vf angle = vf_set((float)((double)k / (double)n * 6.283185307179586));
        cosine[k] = vf_cos(angle)[0], sine[k] = vf_sin(angle)[0];
        cosine[n / 4 - k] = sine[k], sine[n / 4 - k] = cosine[k];
    }
    for (int64_t k = n / 4; k < n; k++) cosine[k] = -sine[k - n / 4], sine[k] = cosine[k - n / 4];
}

/* to(n, lanes) = x(rows, n), lanes beyond the rows 0. */
static void load_rows(float *to, const float *x, int64_t n, int64_t rows) {
    int64_t i = 0;
    for (; rows == VL && i + VL <= n; i += VL)
        turn_square((char *)(to + i * VL), VL * 4, (const char *)(x + i), n * 4);
    for (; i < n; i++)
        for (int64_t l = 0; l < VL; l++) to[i * VL + l] = l < rows ? x[l * n + i] : 0;
}

/* y(rows, kept) = from(n, lanes), the first `kept` of the n. */
static void store_rows(float *y, const float *from, int64_t kept, int64_t rows, float scale) {
    float square[VL * VL];
    int64_t i = 0;
    for (; rows == VL && i + VL <= kept; i += VL) {
        for (int64_t k = 0; k < VL; k++)
            vf_store(square + k * VL, vf_load(from + (i + k) * VL) * scale);
        turn_square((char *)(y + i), kept * 4, (const char *)square, VL * 4);
    }
    for (; i < kept; i++)
        for (int64_t l = 0; l < rows; l++) y[l * kept + i] = from[i * VL + l] * scale;
}

typedef struct {
    vf re, im;
} cf;

ZK_INLINE cf cf_load(const float *x, int64_t n, int64_t i) {
    return (cf){vf_load(x + i * VL), vf_load(x + (n + i) * VL)};
}
ZK_INLINE void cf_store(float *y, int64_t n, int64_t i, cf v) {
    vf_store(y + i * VL, v.re);
    vf_store(y + (n + i) * VL, v.im);
}
ZK_INLINE cf cf_add(cf a, cf b) { return (cf){a.re + b.re, a.im + b.im}; }
ZK_INLINE cf cf_less(cf a, cf b) { return (cf){a.re - b.re, a.im - b.im}; }
ZK_INLINE cf cf_turned(cf a) { return (cf){-a.im, a.re}; } /* by a quarter */

/* Turned back by k of n parts of a turn. */
ZK_INLINE cf cf_wave(cf a, const fourier_job *j, int64_t k) {
    const vf c = vf_set(j->wave[k]), s = vf_set(j->wave[j->n + k]);
    return (cf){vf_fused(a.im, s, a.re * c), vf_fused(-a.re, s, a.im * c)};
}

/* One pass: y = transforms of four, left of them length / 4 apart, in s interleaved sequences. */
static void four_apart(const fourier_job *j, float *y, const float *x, int64_t length, int64_t s) {
    const int64_t n = j->n, part = length / 4;
    for (int64_t p = 0; p < part; p++)
        for (int64_t q = 0; q < s; q++) {
            const cf a = cf_load(x, n, q + s * p), b = cf_load(x, n, q + s * (p + part));
            const cf c = cf_load(x, n, q + s * (p + 2 * part));
            const cf d = cf_load(x, n, q + s * (p + 3 * part));
            const cf even = cf_add(a, c), odd = cf_add(b, d);
            const cf apart = cf_less(a, c), turned = cf_turned(cf_less(b, d));
            float *to = y + (q + s * 4 * p) * VL;
            cf_store(to, n, 0, cf_add(even, odd));
            cf_store(to, n, s, cf_wave(cf_less(apart, turned), j, p * s));
            cf_store(to, n, 2 * s, cf_wave(cf_less(even, odd), j, 2 * p * s));
            cf_store(to, n, 3 * s, cf_wave(cf_add(apart, turned), j, 3 * p * s));
        }
}

static void fourier_task(void *ctx, int64_t task, int thread) {
    const fourier_job *j = ctx;
    const int64_t n = j->n, first = task * VL, rows = zk_min(VL, j->rows - first);
    float *x = j->room + thread * 4 * n * VL, *y = x + 2 * n * VL;
    load_rows(x, j->re + first * n, n, rows);
    if (j->im) load_rows(x + n * VL, j->im + first * n, n, rows);
    else memset(x + n * VL, 0, (size_t)(n * VL) * 4);
    int64_t s = 1;
    for (int64_t length = n; length > 1; length /= 4, s *= 4) {
        if (length > 2) four_apart(j, y, x, length, s);
        else
            for (int64_t q = 0; q < s; q++) {
                const cf a = cf_load(x, n, q), b = cf_load(x, n, q + s);
                cf_store(y, n, q, cf_add(a, b));
                cf_store(y, n, q + s, cf_less(a, b));
            }
        float *t = x;
        x = y, y = t;
    }
    store_rows(j->to_re + first * j->kept, x, j->kept, rows, j->scale);
    store_rows(j->to_im + first * j->kept, x + n * VL, j->kept, rows, j->scale);
}

static int64_t last_axis(const zk_arg *a) { return a->dims[a->ndim - 1]; }

static void run_fourier(const zk_call *c, fourier_job *j) {
    float *wave = (float *)c->scratch;
    j->n = last_axis(c->a + 2), j->kept = last_axis(c->a);
    j->rows = zk_span(c->a + 2, 0, c->a[2].ndim - 1);
    j->wave = wave, j->room = wave + 2 * j->n;
    fill_wave(wave, wave + j->n, j->n);
    zk_parallel(c, zk_ceil(j->rows, VL), fourier_task, j);
}

/* fourier: the transform of complex numbers; of their parts in each other's place it is the
 * inverse, but for 1 / n.  out real(m, n), imaginary(m, n)  in the same  attr inverse */
static void fourier(const zk_call *c) {
    const int back = c->attr[0] != 0;
    fourier_job j = {.re = c->p[2 + back], .im = c->p[3 - back]};
    j.to_re = c->p[back], j.to_im = c->p[1 - back];
    j.scale = back ? 1.f / (float)last_axis(c->a) : 1;
    run_fourier(c, &j);
}

/* rfft: the first half of the transform of real numbers.
 * out real(m, n / 2 + 1), imaginary(m, n / 2 + 1)  in x(m, n) */
static void rfft(const zk_call *c) {
    fourier_job j = {.re = c->p[2], .to_re = c->p[0], .to_im = c->p[1], .scale = 1};
    run_fourier(c, &j);
}

static int64_t fourier_scratch(const zk_call *c) {
    return (2 + 4 * VL * (int64_t)c->threads) * last_axis(c->a + 2) * 4;
}

const zk_kernel ZK_TABLE(fourier)[] = {
    {"fourier", fourier, fourier_scratch}, {"rfft", rfft, fourier_scratch}, {0}};
