/* Tables of which a step touches few rows. A row that is not touched lags behind: its number in
 * `last` tells how many of the noted steps it has seen. What it missed, steps with a gradient of
 * zero, is replayed when the row is read or touched, in closed form: by the coefficients of its
 * lag.
 *
 * Notes are (steps, columns) doubles, one row a step; coefficients (steps + 1, columns) floats, one
 * row for each lag. Columns: zk.h. zoo_keras/primitives/table_rows.py derives them. */
#include "ids.h"
#include "update.h"

enum { B = ZK_LAG_B, C = ZK_LAG_C }; /* columns that slots are multiplied by */
typedef enum { NONE, LINEAR, RATIO, FIXED, SIGN, LATEST } form;

/* How a kind replays: with `form` from slots m and v; slot i is multiplied by column times[i]. */
static const struct {
    form form;
    int m, v, times[MAX_SLOTS]; /* 0: the slot stays */
} replays[] = {
    [ZK_SGD] = {NONE, 0, 0, {0}},
    [ZK_MOMENTUM] = {LINEAR, 0, 0, {B}},
    [ZK_ADAM] = {RATIO, 0, 1, {B, C}},
    [ZK_AMSGRAD] = {FIXED, 0, 2, {B, C}},
    [ZK_ADAMAX] = {RATIO, 0, 1, {B, C}},
    [ZK_NADAM] = {RATIO, 0, 1, {B, C}},
    [ZK_RMSPROP] = {NONE, 0, 0, {C}},
    [ZK_RMSPROP_MOMENTUM] = {LINEAR, 1, 0, {C, B}},
    [ZK_RMSPROP_CENTERED] = {NONE, 0, 0, {C, C}},
    [ZK_RMSPROP_CENTERED_MOMENTUM] = {LINEAR, 2, 0, {C, C, B}},
    [ZK_ADAGRAD] = {NONE, 0, 0, {0}},
    [ZK_ADADELTA] = {NONE, 0, 0, {C, C}},
    [ZK_LION] = {SIGN, 0, 0, {B}},
    [ZK_FTRL] = {LATEST, 1, 0, {0}},
};

/* What a step multiplies: m by b, the second slot by c; m takes part with weight r per step (1: not
 * at all) and the root of the second slot shrinks by q. */
typedef struct {
    double b, c, r, q;
} factors;

static factors factors_of(const double *attr) {
    const double *k = attr + 1;
    switch ((int)attr[0]) {
    case ZK_MOMENTUM:
        return (factors){k[0], 1, k[0], 1};
    case ZK_ADAM:
    case ZK_NADAM:
        return (factors){k[0], k[1], k[0], sqrt(k[1])};
    case ZK_AMSGRAD:
        return (factors){k[0], k[1], k[0], 1};
    case ZK_ADAMAX:
        return (factors){k[0], k[1], k[0], k[1]};
    case ZK_RMSPROP_MOMENTUM:
    case ZK_RMSPROP_CENTERED_MOMENTUM:
        return (factors){k[2], k[0], k[2], 1};
    case ZK_RMSPROP:
    case ZK_RMSPROP_CENTERED:
    case ZK_ADADELTA:
        return (factors){1, k[0], 1, 1};
    case ZK_LION:
        return (factors){k[1], 1, 1, 1};
    default:
        return (factors){1, 1, 1, 1};
    }
}

/* A step of gradient zero moves w to kept * w - rate * m / (root * sqrt(v) + epsilon). */
static void note_step(double *note, const double *attr, double lr, double count, double decay) {
    const double *k = attr + 1;
    double root = 1, rate = lr;
    switch ((int)attr[0]) {
    case ZK_MOMENTUM:
        rate = k[1] != 0 ? -k[0] : -1;
        break;
    case ZK_ADAM:
    case ZK_AMSGRAD:
        rate = adam_rate(k, lr, count);
        break;
    case ZK_ADAMAX:
        rate = lr / (1 - pow(k[0], count));
        break;
    case ZK_NADAM: {
        double next = nadam_beta(k[0], count + 1);
        root = 1 / sqrt(1 - pow(k[1], count));
        rate = lr * next / (1 - nadam_product(k[0], count) * next);
        break;
    }
    case ZK_RMSPROP_MOMENTUM:
    case ZK_RMSPROP_CENTERED_MOMENTUM:
        rate = 1;
        break;
    }
    note[ZK_NOTE_LR] = lr, note[ZK_NOTE_COUNT] = count, note[ZK_NOTE_RATE] = rate,
    note[ZK_NOTE_ROOT] = root;
    note[ZK_NOTE_KEPT] = 1 - decay * lr;
}

/* note_update: notes with row n = the step just made.  out notes(steps, columns)
 * in notes(steps, columns), n(), lr(), step()  attr kind, its numbers, decay */
static void note_update(const zk_call *c) {
    int32_t n = *(const int32_t *)c->p[2];
    const float *lr = c->p[3], *count = c->p[4];
    if (c->p[0] != c->p[1]) memcpy(c->p[0], c->p[1], (size_t)zk_count(c->a) * 8);
    if (n < 0 || n >= c->a->dims[0]) {
        zk_fail(c, "note_update: no room for another step.");
        return;
    }
    double decay = c->attr[1 + kinds[(int)c->attr[0]].nattr];
    note_step((double *)c->p[0] + n * ZK_NOTE_WIDTH, c->attr, *lr, *count, decay);
}

/* Central moments of the denominators' roots; a lag whose roots spread too far has no centre. */
static void write_moments(float *to, const double *raw) {
    double m0 = raw[0], a = m0 != 0 ? (double)(float)(raw[1] / m0) : 1, a2 = a * a;
    double m2 = raw[2] - 2 * a * raw[1] + a2 * m0;
    double m3 = raw[3] - 3 * a * raw[2] + 3 * a2 * raw[1] - a2 * a * m0;
    double m4 = raw[4] - 4 * a * raw[3] + 6 * a2 * raw[2] - 4 * a2 * a * raw[1] + a2 * a2 * m0;
    int near = a > 0 && fabs(m4) <= 1e-6 * fabs(m0) * a2 * a2;
    to[ZK_LAG_CENTRE] = near ? (float)a : -1;
    to[ZK_LAG_M0] = (float)m0, to[ZK_LAG_M2] = (float)m2, to[ZK_LAG_M3] = (float)m3,
    to[ZK_LAG_M4] = (float)m4;
}

/* replay_coefficients: one row for each lag up to n.
 * out coefficients(steps + 1, columns)  in notes(steps, columns), n()  attr kind, its numbers */
static void replay_coefficients(const zk_call *c) {
    const double *notes = c->p[1];
    int64_t n = zk_max(0, zk_min(*(const int32_t *)c->p[2], c->a[1].dims[0]));
    factors f = factors_of(c->attr);
    form form = replays[(int)c->attr[0]].form;
    double b = 1, k = 1, kept = 1, raw[5] = {0};
    float *to = c->p[0];
    memset(to, 0, (size_t)zk_count(c->a) * 4);
    for (int64_t i = n;; i--, to += ZK_LAG_WIDTH) {
        to[ZK_LAG_A] = (float)kept, to[ZK_LAG_B] = (float)b, to[ZK_LAG_C] = (float)k;
        write_moments(to, raw);
        if (form == LATEST && n) to[ZK_LAG_M0] = (float)notes[(n - 1) * ZK_NOTE_WIDTH + ZK_NOTE_LR];
        if (!i) return;
        const double *note = notes + (i - 1) * ZK_NOTE_WIDTH;
        double weight = note[ZK_NOTE_RATE] * kept, by = f.r;
        for (int m = 0; m < 5; m++, weight *= note[ZK_NOTE_ROOT], by *= f.q)
            raw[m] = by * (weight + raw[m]);
        kept *= note[ZK_NOTE_KEPT], b *= f.b, k *= f.c;
    }
}

typedef struct {
    float *w, *slot[MAX_SLOTS];
    const float *coefficients;
    const double *notes;
    const int32_t *last;
    int32_t now; /* steps noted */
    int kind;
    factors f;
    float epsilon, l1, l2, beta;
    int64_t rows, d;
} table;

/* The steps one by one, for lags without a centre; kept: what decay leaves of w over all of them.
 */
static void replay_each(const table *t, float *y, const float *w, const float *m, const float *v,
                        int from, float kept) {
    enum { BLOCK = 32 };
    for (int64_t at = 0; at < t->d; at += BLOCK) {
        float sum[BLOCK] = {0}, mean[BLOCK] = {0}, root[BLOCK] = {0};
        int64_t n = zk_min(BLOCK, t->d - at);
        double share = 1, shrunk = 1;
        memcpy(mean, m + at, (size_t)n * 4);
        for (int64_t i = 0; i < n; i++)
            root[i] = t->kind == ZK_ADAMAX ? v[at + i] : sqrtf(v[at + i]);
        for (int k = from; k < t->now; k++) {
            const double *note = t->notes + k * ZK_NOTE_WIDTH;
            share *= t->f.r, shrunk *= t->f.q;
            float left = (float)note[ZK_NOTE_KEPT], rate = (float)(note[ZK_NOTE_RATE] * share);
            float by = (float)(note[ZK_NOTE_ROOT] * shrunk);
            for (int i = 0; i < BLOCK; i++)
                sum[i] = left * sum[i] + rate * mean[i] / (by * root[i] + t->epsilon);
        }
        for (int64_t i = 0; i < n; i++) y[at + i] = kept * w[at + i] - sum[i];
    }
}

/* sum of rate * m / (root + epsilon), by the moments of the roots about their centre. */
ZK_INLINE void replay_ratio(const table *t, float *y, const float *w, const float *m,
                            const float *v, const float *k, int64_t d, int root) {
    float kept = k[ZK_LAG_A], a = k[ZK_LAG_CENTRE], m0 = k[ZK_LAG_M0], m2 = k[ZK_LAG_M2],
          m3 = k[ZK_LAG_M3], m4 = k[ZK_LAG_M4];
    float epsilon = t->epsilon;
#pragma GCC ivdep
    for (int64_t i = 0; i < d; i++) {
        float s = root ? sqrtf(v[i]) : v[i], r = 1 / (a * s + epsilon), u = s * r;
        y[i] = kept * w[i] - m[i] * r * (m0 + u * u * (m2 - u * (m3 - u * m4)));
    }
}

static void replay_latest(const table *t, float *y, const float *v, const float *z, float lr,
                          int64_t d) {
    float l1 = t->l1, inverse = 1 / lr, l2 = 2 * (t->l2 + t->beta / 2 / lr);
    for (int64_t i = 0; i < d; i++) {
        float inside = z[i] > l1 ? l1 : z[i] < -l1 ? -l1 : z[i];
        y[i] = (inside - z[i]) / (sqrtf(v[i]) * inverse + l2);
    }
}

/* y = row `id` of the table as it is after all noted steps; y may be the row itself. */
static void replay_row(const table *t, int64_t id, float *y) {
    int64_t d = t->d;
    int lag = t->now - t->last[id];
    const float *w = t->w + id * d, *k = t->coefficients + lag * ZK_LAG_WIDTH;
    const float *m = t->slot[replays[t->kind].m], *v = t->slot[replays[t->kind].v];
    form form = lag > 0 ? replays[t->kind].form : NONE;
    float kept = lag > 0 ? k[ZK_LAG_A] : 1, m0 = k[ZK_LAG_M0];
    m += id * d, v += id * d;
    switch (form) {
    case NONE:
        if (kept != 1)
            for (int64_t i = 0; i < d; i++) y[i] = kept * w[i];
        else if (y != w) memcpy(y, w, (size_t)d * 4);
        break;
    case LINEAR:
        for (int64_t i = 0; i < d; i++) y[i] = kept * w[i] - m0 * m[i];
        break;
    case RATIO:
        if (k[ZK_LAG_CENTRE] < 0) replay_each(t, y, w, m, v, t->last[id], kept);
        else if (t->kind == ZK_ADAMAX) replay_ratio(t, y, w, m, v, k, d, 0);
        else replay_ratio(t, y, w, m, v, k, d, 1);
        break;
    case FIXED:
        for (int64_t i = 0; i < d; i++) y[i] = kept * w[i] - m0 * m[i] / (sqrtf(v[i]) + t->epsilon);
        break;
    case SIGN:
        for (int64_t i = 0; i < d; i++) y[i] = kept * w[i] - m0 * sign_of(m[i]);
        break;
    case LATEST:
        replay_latest(t, y, v, m, m0, d);
        break;
    }
}

/* Brings a row and its slots up to date. */
static void catch_up_row(const table *t, int64_t id) {
    int lag = t->now - t->last[id];
    if (lag <= 0) return;
    replay_row(t, id, t->w + id * t->d);
    for (int s = 0; s < kinds[t->kind].slots; s++) {
        int times = replays[t->kind].times[s];
        float by = times ? t->coefficients[lag * ZK_LAG_WIDTH + times] : 1;
        float *x = t->slot[s] + id * t->d;
        if (by != 1)
            for (int64_t i = 0; i < t->d; i++) x[i] *= by;
    }
}

/* A table from arguments w, slots..., last, coefficients, notes, n that begin at p. */
static table table_at(const zk_call *c, int p) {
    table t = {.kind = (int)c->attr[0], .f = factors_of(c->attr)};
    const double *k = c->attr + 1;
    int slots = kinds[t.kind].slots;
    t.w = c->p[p];
    t.rows = c->a[p].dims[0], t.d = row_length(c->a + p, 1);
    for (int s = 0; s < MAX_SLOTS; s++) t.slot[s] = s < slots ? c->p[p + 1 + s] : t.w;
    t.last = c->p[p + slots + 1];
    t.coefficients = c->p[p + slots + 2];
    t.notes = c->p[p + slots + 3];
    t.now = *(const int32_t *)c->p[p + slots + 4];
    t.epsilon = t.kind == ZK_FTRL ? 0 : (float)k[2];
    t.l1 = (float)k[0], t.l2 = (float)k[1], t.beta = (float)k[2];
    return t;
}

/* How many rows ahead memory is asked for: enough bytes to cover its latency. */
static int64_t rows_ahead(int64_t d) { return zk_min(zk_max(256 / zk_max(d, 1), 2), 24); }

/* Asks for a row of the table and its slots: rows lie anywhere, so each is new to the cache. */
ZK_INLINE void prefetch_row(const table *t, int64_t id) {
    int slots = kinds[t->kind].slots;
    __builtin_prefetch(t->last + id, 1);
    for (int64_t i = id * t->d; i < (id + 1) * t->d; i += 16) {
        __builtin_prefetch(t->w + i, 1);
        for (int s = 0; s < slots; s++) __builtin_prefetch(t->slot[s] + i, 1);
    }
}

typedef struct {
    table t;
    id_list ids;
    float *y;
    int64_t per;
} read_job;

static void read_task(void *ctx, int64_t task, int thread) {
    const read_job *j = ctx;
    int64_t end = zk_min((task + 1) * j->per, j->ids.n), ahead = rows_ahead(j->t.d);
    (void)thread;
    for (int64_t i = task * j->per; i < end; i++) {
        if (i + ahead < end) prefetch_row(&j->t, id_at(&j->ids, i + ahead));
        replay_row(&j->t, id_at(&j->ids, i), j->y + i * j->t.d);
    }
}

/* gather_replayed: rows of the table as they are after all noted steps.  out y(n, d)
 * in w(rows, d), slots(rows, d)..., last(rows), coefficients, notes, n(), ids(n) */
static void gather_replayed(const zk_call *c) {
    read_job j = {.t = table_at(c, 1), .ids = ids_of(c, c->nout + c->nin - 1), .y = c->p[0]};
    j.per = rows_per_task(j.t.d * 16);
    if (ids_fit(c, &j.ids, 0, j.t.rows)) zk_parallel(c, zk_ceil(j.ids.n, j.per), read_task, &j);
}

static int64_t message_bytes(const zk_call *c) {
    (void)c;
    return MESSAGE;
}

typedef struct {
    table t;
    update u;
    int32_t *last;
    const int32_t *unique, *first, *order;
    const float *g;
    float *sums; /* one row for each thread */
    int64_t count, per;
    int32_t seen; /* what `last` becomes */
} rows_job;

/* The gradient of unique row k: summed up in the order of positions. */
static const float *row_gradient(const rows_job *j, int64_t k, int thread) {
    int64_t d = j->t.d;
    int32_t from = j->first[k], to = j->first[k + 1];
    float *sum = j->sums + thread * zk_align(d * 4) / 4;
    if (to - from == 1) return j->g + j->order[from] * d;
    memcpy(sum, j->g + j->order[from] * d, (size_t)d * 4);
    for (int32_t i = from + 1; i < to; i++) add_row(sum, j->g + j->order[i] * d, d);
    return sum;
}

static void rows_task(void *ctx, int64_t task, int thread) {
    const rows_job *j = ctx;
    int64_t end = zk_min((task + 1) * j->per, j->count), d = j->t.d, ahead = rows_ahead(d);
    for (int64_t k = task * j->per; k < end; k++) {
        int64_t id = j->unique[k];
        if (k + ahead < end) {
            prefetch_row(&j->t, j->unique[k + ahead]);
            __builtin_prefetch(j->g + j->order[j->first[k + ahead]] * d);
        }
        catch_up_row(&j->t, id);
        update_range(&j->u, id * d, (id + 1) * d, row_gradient(j, k, thread));
        j->last[id] = j->seen;
    }
}

/* rows_update: the touched rows caught up and one step made on them.
 * out w(rows, d), slots..., last(rows), over the inputs they replace
 * in w, slots..., last, coefficients, notes, n(), g(n, d), sorted(3n + 2), lr(), step(), scale()
 * attr kind, its numbers, clip, decay, ema (-1), replayed
 * scratch: a row for each thread */
static void rows_update(const zk_call *c) {
    int slots = kinds[(int)c->attr[0]].slots, at = c->nout + slots + 5;
    const float *lr = c->p[at + 2], *count = c->p[at + 3], *scale = c->p[at + 4];
    rows_job j = {.t = table_at(c, c->nout), .u = new_update(c->attr, lr, count, scale)};
    const int32_t *sorted = c->p[at + 1];
    int64_t n = (zk_count(c->a + at + 1) - 2) / 3;
    for (int k = 0; k < c->nout; k++) {
        int64_t bytes = zk_count(c->a + k) * 4;
        if (c->p[k] != c->p[c->nout + k]) memcpy(c->p[k], c->p[c->nout + k], (size_t)bytes);
    }
    j.t.w = j.u.s.w = c->p[0], j.u.s.w0 = c->p[0];
    for (int s = 0; s < slots; s++)
        j.t.slot[s] = j.u.s.out[s] = c->p[1 + s], j.u.s.in[s] = c->p[1 + s];
    j.t.last = j.last = c->p[slots + 1];
    j.g = c->p[at];
    j.count = zk_min(sorted[0], n), j.unique = sorted + 1;
    j.first = j.unique + n, j.order = j.first + n + 1;
    j.sums = (float *)c->scratch;
    j.seen = c->attr[c->nattr - 1] != 0 ? j.t.now + 1 : 0;
    j.per = rows_per_task(j.t.d * 4 * (slots + 1));
    zk_parallel(c, zk_ceil(j.count, j.per), rows_task, &j);
}

static int64_t rows_update_scratch(const zk_call *c) {
    return c->threads * zk_align(row_length(c->a, 1) * 4);
}

static void settle_task(void *ctx, int64_t task, int thread) {
    const rows_job *j = ctx;
    (void)thread;
    for (int64_t id = task * j->per; id < zk_min((task + 1) * j->per, j->t.rows); id++) {
        catch_up_row(&j->t, id);
        j->last[id] = 0;
    }
}

/* settle_rows: all rows caught up; their lags are counted afresh.
 * out w(rows, d), slots..., last(rows), over the inputs they replace
 * in w, slots..., last, coefficients, notes, n()  attr kind, its numbers */
static void settle_rows(const zk_call *c) {
    int slots = kinds[(int)c->attr[0]].slots;
    rows_job j = {.t = table_at(c, c->nout)};
    for (int k = 0; k < c->nout; k++) {
        int64_t bytes = zk_count(c->a + k) * 4;
        if (c->p[k] != c->p[c->nout + k]) memcpy(c->p[k], c->p[c->nout + k], (size_t)bytes);
    }
    j.t.w = c->p[0];
    for (int s = 0; s < slots; s++) j.t.slot[s] = c->p[1 + s];
    j.t.last = j.last = c->p[slots + 1];
    j.per = rows_per_task(j.t.d * 4 * (slots + 1));
    zk_parallel(c, zk_ceil(j.t.rows, j.per), settle_task, &j);
}

const zk_kernel ZK_TABLE(table_rows)[] = {{"note_update", note_update, NULL},
                                          {"replay_coefficients", replay_coefficients, NULL},
                                          {"gather_replayed", gather_replayed, message_bytes},
                                          {"rows_update", rows_update, rows_update_scratch},
                                          {"settle_rows", settle_rows, NULL},
                                          {0}};
