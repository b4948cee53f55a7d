/* Slices of an array by lists of places: read, written, added, or met with what is there; rows by
 * their segments; sums of weights by ids. A place is `depth` ids, for the first axes of the array,
 * and names a slice of d elements. Updates of a place come in their order, whatever the number of
 * threads: these share out columns of the slices. Elements are 32 bits wide. */
#include "ids.h"

#define SLICE 256 /* columns of a task at least */
#define PART 4096 /* elements that a task reads or counts, about */

enum { ADD, ADD_INT, MUL, MUL_INT, MAX, MAX_INT, MIN, MIN_INT, WRITE };

typedef struct {
    const zk_arg *whole; /* the array that places lie in */
    id_list ids;
    int64_t depth, n, d; /* ids of a place, places, elements of a slice */
} place_list;

static place_list places_of(const zk_call *c, const zk_arg *whole, int arg) {
    const zk_arg *a = c->a + arg;
    const int64_t depth = a->ndim ? a->dims[a->ndim - 1] : 0;
    return (place_list){whole, ids_of(c, arg), depth, depth ? zk_count(a) / depth : 0,
                        zk_span(whole, (int)depth, whole->ndim)};
}

/* Whether all ids are on their axes; else the run fails with the first one that is not. */
static int places_fit(const zk_call *c, const place_list *p) {
    for (int64_t i = 0; i < p->ids.n; i++) {
        const int64_t id = id_at(&p->ids, i), most = p->whole->dims[i % p->depth];
        if (id >= 0 && id < most) continue;
        snprintf(c->scratch, MESSAGE,
                 "id out of range at position %lld: ids must be at least 0 and below %lld, the "
                 "size of axis %lld. Received: %lld. Correct the id or use a larger array.",
                 (long long)i, (long long)most, (long long)(i % p->depth), (long long)id);
        zk_fail(c, c->scratch);
        return 0;
    }
    return 1;
}

/* Where slice i begins. */
ZK_INLINE int64_t place_at(const place_list *p, int64_t i) {
    int64_t at = 0;
    for (int64_t k = 0; k < p->depth; k++)
        at = at * p->whole->dims[k] + id_at(&p->ids, i * p->depth + k);
    return at * p->d;
}

typedef struct {
    place_list p;
    float *y;
    const float *x, *g; /* x: what y is before; NULL: it stands there */
    int64_t rows, width, most;
    int kind;
} scatter_job;

ZK_INLINE void meet(int kind, float *y, const float *g, int64_t n) {
    uint32_t *yi = (uint32_t *)y;
    const uint32_t *gi = (const uint32_t *)g;
    for (int64_t k = 0; k < n; k++) {
        if (kind == ADD) y[k] += g[k];
        if (kind == ADD_INT) yi[k] += gi[k];
        if (kind == MUL) y[k] *= g[k];
        if (kind == MUL_INT) yi[k] *= gi[k];
        if (kind == MAX) y[k] = y[k] > g[k] || y[k] != y[k] ? y[k] : g[k];
        if (kind == MIN) y[k] = y[k] < g[k] || y[k] != y[k] ? y[k] : g[k];
        if (kind == MAX_INT) yi[k] = (int32_t)yi[k] > (int32_t)gi[k] ? yi[k] : gi[k];
        if (kind == MIN_INT) yi[k] = (int32_t)yi[k] < (int32_t)gi[k] ? yi[k] : gi[k];
        if (kind == WRITE) yi[k] = gi[k];
    }
}

/* Columns [first, first + n) of all slices; segments may lie outside of [0, most). */
ZK_INLINE void scatter_columns(int kind, const scatter_job *j, int64_t first, int64_t n) {
    const place_list *p = &j->p;
    for (int64_t i = 0; i < p->n; i++) {
        if (j->most >= 0 && (id_at(&p->ids, i) < 0 || id_at(&p->ids, i) >= j->most)) continue;
        meet(kind, j->y + place_at(p, i) + first, j->g + i * p->d + first, n);
    }
}

static void scatter_task(void *ctx, int64_t task, int thread) {
    const scatter_job *j = ctx;
    const int64_t d = j->p.d, first = task * j->width, n = zk_min(j->width, d - first);
    (void)thread;
    if (j->x && n == d) memcpy(j->y, j->x, (size_t)(j->rows * d) * 4);
    else if (j->x)
        for (int64_t r = 0; r < j->rows; r++)
            memcpy(j->y + r * d + first, j->x + r * d + first, (size_t)n * 4);
    /* clang-format off */
#define COLUMNS(one) if (j->kind == one) scatter_columns(one, j, first, n);
    COLUMNS(ADD) COLUMNS(ADD_INT) COLUMNS(MUL) COLUMNS(MUL_INT) COLUMNS(MAX) COLUMNS(MAX_INT)
    COLUMNS(MIN) COLUMNS(MIN_INT) COLUMNS(WRITE)
#undef COLUMNS
    /* clang-format on */
}

/* Slices of SLICE columns or more keep the order of sums, so threads may take some each. */
static void run_scatter(const zk_call *c, scatter_job *j) {
    const int64_t d = j->p.d;
    if (!d) return;
    j->rows = zk_count(c->a) / d;
    j->width = zk_max(zk_ceil(d, 4 * (int64_t)c->threads), SLICE);
    zk_parallel(c, zk_ceil(d, j->width), scatter_task, j);
}

static int form_of(int kind, int dtype) { return kind + (dtype == ZK_I32 && kind != WRITE); }

static void scatter(const zk_call *c, int kind) {
    scatter_job j = {.p = places_of(c, c->a, 2), .y = c->p[0], .x = c->p[1], .g = c->p[3]};
    j.kind = form_of(kind, c->a->dtype), j.most = -1;
    if (places_fit(c, &j.p)) run_scatter(c, &j);
}

/* scatter_add, scatter_update: x with the updates added or written at their places.
 * out y  in x, places(n, depth), updates(n, d)  scratch: message */
static void scatter_add(const zk_call *c) { scatter(c, ADD); }
static void scatter_update(const zk_call *c) { scatter(c, WRITE); }

/* scatter_reduce: the same, each update met with what is there.  attr kind: max, min, product */
static int kind_of(const zk_call *c) {
    static const int kinds[] = {MAX, MIN, MUL};
    return kinds[(int)c->attr[0] % 3];
}
static void scatter_reduce(const zk_call *c) { scatter(c, kind_of(c)); }

/* gather_nd_grad: g added to zeros at their places.  out y  in g(n, d), places(n, depth)
 * scratch: message */
static void gather_nd_grad(const zk_call *c) {
    scatter_job j = {.p = places_of(c, c->a, 2), .y = c->p[0], .g = c->p[1], .most = -1};
    if (!places_fit(c, &j.p)) return;
    j.kind = form_of(ADD, c->a->dtype);
    memset(j.y, 0, (size_t)zk_count(c->a) * 4);
    run_scatter(c, &j);
}

/* segment_reduce: rows of x met by their segments; those outside are left out. A segment without
 * rows has the kind's start.  out y(segments, d)  in x(n, d), ids(n)  attr kind */
static void segment_reduce(const zk_call *c) {
    const int whole = c->a->dtype == ZK_I32, kind = kind_of(c);
    scatter_job j = {.y = c->p[0], .g = c->p[1], .most = c->a->dims[0]};
    const float inf = __builtin_inff(), start = kind == MUL ? 1 : kind == MAX ? -inf : inf;
    const int32_t first = kind == MUL ? 1 : kind == MAX ? INT32_MIN : INT32_MAX;
    j.p = (place_list){c->a, ids_of(c, 2), 1, zk_count(c->a + 2), row_length(c->a, 1)};
    j.kind = form_of(kind, c->a->dtype);
    for (int64_t i = 0; i < zk_count(c->a); i++)
        if (whole) ((int32_t *)j.y)[i] = first;
        else j.y[i] = start;
    run_scatter(c, &j);
}

typedef struct {
    place_list p;
    float *y;
    const float *x;
    int64_t per;
} read_job;

static void read_task(void *ctx, int64_t task, int thread) {
    const read_job *j = ctx;
    const int64_t d = j->p.d, end = zk_min((task + 1) * j->per, j->p.n);
    (void)thread;
    for (int64_t i = task * j->per; i < end; i++)
        if (d == 1) j->y[i] = j->x[place_at(&j->p, i)];
        else memcpy(j->y + i * d, j->x + place_at(&j->p, i), (size_t)d * 4);
}

/* gather_nd: the slices at places.  out y(n, d)  in x, places(n, depth)  scratch: message */
static void gather_nd(const zk_call *c) {
    read_job j = {places_of(c, c->a + 1, 2), c->p[0], c->p[1], 0};
    if (!j.p.d || !places_fit(c, &j.p)) return;
    j.per = zk_max(PART / j.p.d, 1);
    zk_parallel(c, zk_ceil(j.p.n, j.per), read_task, &j);
}

typedef struct {
    char *y;
    const char *weights;
    id_list ids;
    int64_t n, length, rows, per;
    int whole;
} count_job;

static void count_task(void *ctx, int64_t task, int thread) {
    const count_job *j = ctx;
    (void)thread;
    for (int64_t r = task * j->per; r < zk_min((task + 1) * j->per, j->rows); r++) {
        float *y = (float *)j->y + r * j->length;
        const float *weights = (const float *)j->weights + r * j->n;
        memset(y, 0, (size_t)j->length * 4);
        for (int64_t i = 0; i < j->n; i++) {
            const int64_t id = id_at(&j->ids, r * j->n + i);
            if (j->whole) ((uint32_t *)y)[id] += ((const uint32_t *)weights)[i];
            else y[id] += weights[i];
        }
    }
}

/* count_ids: in each row the sum of the weights of every id.  out y(rows, length)
 * in ids(rows, n), weights(rows, n)  scratch: message */
static void count_ids(const zk_call *c) {
    count_job j = {.y = c->p[0], .weights = c->p[2], .ids = ids_of(c, 1)};
    const zk_arg *ids = c->a + 1;
    j.n = ids->dims[ids->ndim - 1], j.length = c->a->dims[c->a->ndim - 1];
    j.rows = zk_span(ids, 0, ids->ndim - 1), j.whole = c->a->dtype == ZK_I32;
    j.per = zk_max(PART / zk_max(j.n + j.length, 1), 1);
    if (ids_fit(c, &j.ids, 0, j.length)) zk_parallel(c, zk_ceil(j.rows, j.per), count_task, &j);
}

static int64_t message_bytes(const zk_call *c) {
    (void)c;
    return MESSAGE;
}

const zk_kernel ZK_TABLE(scatter)[] = {{"scatter_add", scatter_add, message_bytes},
                                       {"scatter_update", scatter_update, message_bytes},
                                       {"scatter_reduce", scatter_reduce, message_bytes},
                                       {"segment_reduce", segment_reduce, NULL},
                                       {"gather_nd", gather_nd, message_bytes},
                                       {"gather_nd_grad", gather_nd_grad, message_bytes},
                                       {"count_ids", count_ids, message_bytes},
                                       {0}};
