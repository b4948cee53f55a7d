/* Random numbers from a counter: Philox4x32-10 (Salmon et al. 2011). The number of an element
 * depends on the seed, the step, its row (row0 + index on the first axis) and its position within
 * the row, and on nothing else. Rows are made in groups of 64 numbers: element i takes word
 * (i / 16) % 4 of the generator's block (i / 64) * 16 + i % 16. */
#include "philox.h"

#define TASK 16384 /* numbers of a task, about */

/* A call: rows of `width` numbers, and what to do with up to 64 of them, which begin at element
 * `at` of the array. */
typedef struct job {
    source s;
    int64_t rows, width, groups; /* groups of one row */
    float *y;
    const float *x;
    float a, b;        /* uniform: low and the largest result; normal: mean and stddev */
    double scale;      /* uniform: (high - low) / 2^24 */
    int32_t threshold; /* dropout keeps 24-bit numbers from here on */
    void (*emit)(const struct job *j, const group *g, int64_t at, int64_t n);
} job;

static void group_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    int64_t per = TASK / GROUP, end = zk_min((task + 1) * per, j->rows * j->groups);
    group g;
    (void)thread;
    for (int64_t i = task * per; i < end; i++) {
        int64_t row = i / j->groups, index = i % j->groups, first = index * GROUP;
        make_group(&j->s, j->s.row0 + row, index, &g);
        j->emit(j, &g, row * j->width + first, zk_min(GROUP, j->width - first));
    }
}

static void run_job(const zk_call *c, job *j) {
    j->rows = c->a->ndim ? c->a->dims[0] : 1;
    j->width = c->a->ndim ? zk_span(c->a, 1, c->a->ndim) : 1;
    j->groups = zk_ceil(j->width, GROUP);
    zk_parallel(c, zk_ceil(j->rows * j->groups, TASK / GROUP), group_task, j);
}

/* Products of 24-bit numbers are exact in double, so this rounds once, with or without fma. */
static void emit_uniform(const job *j, const group *g, int64_t at, int64_t n) {
    const uint32_t *w = g->w[0];
    float *y = j->y + at, largest = j->b;
    double low = j->a, scale = j->scale;
    for (int64_t i = 0; i < n; i++) {
        float v = (float)(low + (int32_t)(w[i] >> 8) * scale);
        y[i] = v < largest ? v : largest;
    }
}

/* random_uniform: numbers in [low, high).  out y(rows, ...)  in rng(2): step, row0
 * attr seed, low, high */
static void random_uniform(const zk_call *c) {
    float low = (float)c->attr[1], high = (float)c->attr[2];
    job j = {.s = source_of(c->attr[0], c->p[1]), .y = c->p[0], .a = low, .emit = emit_uniform};
    j.b = nextafterf(high, low);
    j.scale = (double)(high - low) * 0x1p-24;
    run_job(c, &j);
}

ZK_INLINE float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
ZK_INLINE uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

/* sqrt(-2 log(w / 2^32)), w = 0 taken as 1/2; the logarithm's polynomial is that of Cephes. */
ZK_INLINE float radius_of(uint32_t w) {
    float u = (float)(int32_t)(w >> 16) * 65536.0f + (float)(int32_t)(w & 0xffff);
    uint32_t bits = bits_of(u > 0.5f ? u : 0.5f) - 0x3f3504f3; /* sqrt(1/2): x in [0.7, 1.4) */
    float e = (float)((int32_t)bits >> 23) - 32.0f;
    float x = float_of((bits & 0x7fffff) + 0x3f3504f3) - 1.0f, p = 7.0376836292e-2f;
    p = p * x - 1.1514610310e-1f;
    p = p * x + 1.1676998740e-1f;
    p = p * x - 1.2420140846e-1f;
    p = p * x + 1.4249322787e-1f;
    p = p * x - 1.6668057665e-1f;
    p = p * x + 2.0000714765e-1f;
    p = p * x - 2.4999993993e-1f;
    p = p * x + 3.3333331174e-1f;
    float low = p * x * x * x - 2.12194440e-4f * e - 0.5f * x * x;
    float log = x + low + 0.693359375f * e;
    return sqrtf(log < 0 ? -2.0f * log : 0.0f);
}

/* radius * cos and sin of 2 pi w / 2^32, w cut to 24 bits; Cephes' polynomials in a quadrant. */
ZK_INLINE void turn(float radius, uint32_t w, float *first, float *second) {
    int32_t bits = (int32_t)(w >> 8), quadrant = (bits + (1 << 21)) >> 22;
    float x = (float)(bits - quadrant * (1 << 22)) * 3.7450701e-7f, z = x * x; /* pi / 2^23 */
    float sine = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * x + x;
    float cosine =
        ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z -
        0.5f * z + 1.0f;
    float c = quadrant & 1 ? sine : cosine, s = quadrant & 1 ? cosine : sine;
    *first = radius * ((quadrant + 1) & 2 ? -c : c);
    *second = radius * (quadrant & 2 ? -s : s);
}

/* Words 0, 1 and words 2, 3 of the blocks make pairs (Box and Muller 1958). */
static void emit_normal(const job *j, const group *g, int64_t at, int64_t n) {
    float v[4][LANES];
    for (int k = 0; k < 4; k += 2)
        for (int l = 0; l < LANES; l++)
            turn(radius_of(g->w[k][l]), g->w[k + 1][l], &v[k][l], &v[k + 1][l]);
    float *y = j->y + at, *all = v[0];
    for (int64_t i = 0; i < n; i++) y[i] = j->a + j->b * all[i];
}

/* random_normal: normal numbers.  out y(rows, ...)  in rng(2): step, row0  attr seed, mean, stddev
 */
static void random_normal(const zk_call *c) {
    job j = {.s = source_of(c->attr[0], c->p[1]), .y = c->p[0], .emit = emit_normal};
    j.a = (float)c->attr[1], j.b = (float)c->attr[2];
    run_job(c, &j);
}

static void emit_dropout(const job *j, const group *g, int64_t at, int64_t n) {
    const uint32_t *w = g->w[0];
    const float *x = j->x + at;
    float *y = j->y + at, scale = j->a;
    int32_t threshold = j->threshold;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        float kept = x[i] * scale;
        y[i] = (int32_t)(w[i] >> 8) >= threshold ? kept : 0.0f;
    }
}

/* Axes 1.. of an array whose numbers are shared along some axes; `step` is how far one index moves
 * in x, `draw` in the row of numbers (0: shared). */
typedef struct {
    job j;
    int ndim, same_rows;
    int64_t dim[8], step[8], draw[8];
    uint32_t *masks; /* width for each thread */
} shared_job;

/* All bits set for numbers that are kept. */
static void make_masks(const job *j, int64_t row, uint32_t *mask) {
    group g;
    for (int64_t index = 0; index < j->groups; index++) {
        const uint32_t *w = g.w[0];
        make_group(&j->s, row, index, &g);
        for (int64_t i = 0; i < zk_min(GROUP, j->width - index * GROUP); i++)
            mask[index * GROUP + i] = (int32_t)(w[i] >> 8) >= j->threshold ? ~0u : 0;
    }
}

static void apply_masks(const shared_job *s, int axis, const float *x, float *y,
                        const uint32_t *mask) {
    int64_t n = s->dim[axis], step = s->step[axis], draw = s->draw[axis];
    if (axis < s->ndim - 1) {
        for (int64_t i = 0; i < n; i++)
            apply_masks(s, axis + 1, x + i * step, y + i * step, mask + i * draw);
        return;
    }
    float scale = s->j.a;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) y[i] = float_of(bits_of(x[i] * scale) & mask[draw ? i : 0]);
}

static void shared_task(void *ctx, int64_t row, int thread) {
    const shared_job *s = ctx;
    uint32_t *mask = s->masks + s->j.width * thread;
    int64_t at = row * s->dim[0] * s->step[0];
    make_masks(&s->j, s->same_rows ? 0 : s->j.s.row0 + row, mask);
    apply_masks(s, 0, s->j.x + at, s->j.y + at, mask);
}

static int is_shared(const zk_call *c, int axis) {
    for (int i = 2; i < c->nattr; i++)
        if ((int)c->attr[i] == axis) return 1;
    return 0;
}

/* Numbers drawn for one row: one for each index of the axes that are not shared. */
static int64_t draws(const zk_call *c) {
    int64_t n = 1;
    for (int i = 1; i < c->a->ndim; i++) n *= is_shared(c, i) ? 1 : c->a->dims[i];
    return n;
}

static void shared_dropout(const zk_call *c, const job *j) {
    shared_job s = {.j = *j, .same_rows = is_shared(c, 0), .masks = (uint32_t *)c->scratch};
    int64_t step = 1, draw = 1;
    s.j.width = draws(c);
    s.j.groups = zk_ceil(s.j.width, GROUP);
    s.ndim = c->a->ndim > 1 ? c->a->ndim - 1 : 1;
    s.dim[0] = s.step[0] = s.draw[0] = 1;
    for (int i = c->a->ndim - 1; i > 0; i--) {
        s.dim[i - 1] = c->a->dims[i];
        s.step[i - 1] = step;
        s.draw[i - 1] = is_shared(c, i) ? 0 : draw;
        step *= c->a->dims[i];
        draw *= is_shared(c, i) ? 1 : c->a->dims[i];
    }
    zk_parallel(c, c->a->dims[0], shared_task, &s);
}

/* dropout: y = x / (1 - rate) where the number is at least rate, else 0; along noise_axes elements
 * share a number.  out y(rows, ...), may be x  in x, rng(2): step, row0
 * attr seed, rate, noise_axes... */
static void dropout(const zk_call *c) {
    double rate = c->attr[1];
    job j = {.s = source_of(c->attr[0], c->p[2]), .y = c->p[0], .x = c->p[1], .emit = emit_dropout};
    j.threshold = (int32_t)floor(rate * 0x1p24 + 0.5);
    j.a = rate < 1 ? (float)(1 / (1 - rate)) : 0;
    if (c->nattr > 2 && c->a->ndim) shared_dropout(c, &j);
    else run_job(c, &j);
}

static int64_t dropout_scratch(const zk_call *c) {
    return c->nattr > 2 ? draws(c) * c->threads * 4 : 0;
}

/* step_sources: the source of random numbers of each step of a loop: t << shift is added to step or
 * row0.  out y(length, 2)  in rng(2)  attr column, shift */
static void step_sources(const zk_call *c) {
    const int64_t *rng = c->p[1];
    int64_t *y = c->p[0], column = c->attr[0] != 0;
    for (int64_t t = 0; t < c->a->dims[0]; t++, y += 2) {
        memcpy(y, rng, 2 * sizeof *y);
        y[column] = (int64_t)((uint64_t)y[column] + ((uint64_t)t << (int)c->attr[1]));
    }
}

const zk_kernel ZK_TABLE(random)[] = {{"random_uniform", random_uniform, NULL},
                                      {"random_normal", random_normal, NULL},
                                      {"dropout", dropout, dropout_scratch},
                                      {"step_sources", step_sources, NULL},
                                      {0}};
