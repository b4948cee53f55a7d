/* Kernels that move elements of any dtype: each op sets up one or more walks (dimensions, and byte
 * strides through source and target) and hands them to the one strided copy below. They must not
 * know what the elements mean. */
#include "turn.h"

#define MAX_DIMS 16            /* tile splits each of 8 axes in two */
#define TASK_BYTES (64 * 1024) /* moved by one task, at least */
#define UNIT 16384             /* elements moved between two steps of the odometer */

typedef struct {
    int ndim;
    int64_t dim[MAX_DIMS], from[MAX_DIMS], to[MAX_DIMS]; /* strides in bytes */
    const char *src;
    char *dst;
    int64_t size;       /* bytes of an element: 1, 2, 4, 8 or 16 */
    int64_t chunk[2];   /* of the last two dimensions */
    int64_t units, per; /* chunks in all, chunks of one task */
} walk;

/* The last two dimensions of a walk, or a part of them. */
typedef struct {
    char *dst;
    const char *src;
    int64_t rows, cols, to_row, from_row, to_col, from_col;
} block;

typedef uint8_t e1 __attribute__((may_alias));
typedef uint16_t e2 __attribute__((may_alias, aligned(1)));
typedef uint32_t e4 __attribute__((may_alias, aligned(1)));
typedef uint64_t e8 __attribute__((may_alias, aligned(1)));
typedef uint64_t e16 __attribute__((vector_size(16), may_alias, aligned(1)));

/* One row that repeats an element, a dense row, or any other. */
#define ROW(T)                                                                              \
    ZK_INLINE void row_##T(const block *b, char *restrict d, const char *restrict s) {      \
        if (b->from_col == 0 && b->to_col == sizeof(T)) {                                   \
            T value = AT(const T, s, 0);                                                    \
            for (int64_t j = 0; j < b->cols; j++) AT(T, d, j * (int64_t)sizeof(T)) = value; \
        } else {                                                                            \
            for (int64_t j = 0; j < b->cols; j++)                                           \
                AT(T, d, j * b->to_col) = AT(const T, s, j * b->from_col);                  \
        }                                                                                   \
    }
ROW(e1)
ROW(e2)
ROW(e4)
ROW(e8)
ROW(e16)

/* A block whose source is dense along rows and whose target is dense along columns. */
static void turn_4(const block *b) {
    int64_t rows = b->rows - b->rows % VL, cols = b->cols - b->cols % VL;
    for (int64_t i = 0; i < rows; i += VL) /* writes few long rows at a time */
        for (int64_t j = 0; j < cols; j += VL)
            turn_square(b->dst + i * b->to_row + j * 4, b->to_row, b->src + i * 4 + j * b->from_col,
                        b->from_col);
    for (int64_t i = 0; i < b->rows; i++)
        for (int64_t j = i < rows ? cols : 0; j < b->cols; j++)
            AT(e4, b->dst, i * b->to_row + j * 4) = AT(const e4, b->src, i * 4 + j * b->from_col);
}

#define EACH_ROW(T)                       \
    for (int64_t i = 0; i < b->rows; i++) \
    row_##T(b, b->dst + i * b->to_row, b->src + i * b->from_row)

#define SHORT 1024 /* bytes up to which a call of memcpy costs more than it saves */

typedef uint8_t bytes_of_vector __attribute__((vector_size(VL * 4), aligned(1), may_alias));

/* Dense bytes; the last vector may lie over the one before. */
ZK_INLINE void copy_dense(char *d, const char *s, int64_t bytes) {
    typedef bytes_of_vector v;
    const int64_t width = sizeof(v);
    if (bytes < width || bytes > SHORT) {
        memcpy(d, s, (size_t)bytes);
        return;
    }
    for (int64_t i = 0; i < bytes - width; i += width) AT(v, d, i) = AT(const v, s, i);
    AT(v, d, bytes - width) = AT(const v, s, bytes - width);
}

#define BACKWARDS(l, w) ((w) - 1 - (l))

/* A row of floats from the last to the first; s is the last one. */
static void reverse_4(char *d, const char *s, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        AT(vf, d, i * 4) =
            __builtin_shuffle(AT(const vf, s, -4 * (i + VL - 1)), (vi){LANES(BACKWARDS, VL)});
    for (; i < n; i++) AT(e4, d, i * 4) = AT(const e4, s, -4 * i);
}

static void copy_block(const block *b, int64_t size) {
    if (b->from_col == size && b->to_col == size) {
        for (int64_t i = 0; i < b->rows; i++)
            copy_dense(b->dst + i * b->to_row, b->src + i * b->from_row, b->cols * size);
        return;
    }
    if (size == 4 && b->from_col == -4 && b->to_col == 4) {
        for (int64_t i = 0; i < b->rows; i++)
            reverse_4(b->dst + i * b->to_row, b->src + i * b->from_row, b->cols);
        return;
    }
    if (size == 4 && b->from_row == 4 && b->to_col == 4 && b->from_col) {
        turn_4(b);
        return;
    }
    switch (size) {
    case 1:
        EACH_ROW(e1);
        break;
    case 2:
        EACH_ROW(e2);
        break;
    case 4:
        EACH_ROW(e4);
        break;
    case 8:
        EACH_ROW(e8);
        break;
    default:
        EACH_ROW(e16);
    }
}

static void drop_dim(walk *w, int i) {
    w->ndim--;
    for (; i < w->ndim; i++) {
        w->dim[i] = w->dim[i + 1];
        w->from[i] = w->from[i + 1];
        w->to[i] = w->to[i + 1];
    }
}

static void move_dim(walk *w, int from, int to) {
    int64_t dim = w->dim[from], s = w->from[from], t = w->to[from];
    drop_dim(w, from);
    for (int i = w->ndim++; i > to; i--) {
        w->dim[i] = w->dim[i - 1];
        w->from[i] = w->from[i - 1];
        w->to[i] = w->to[i - 1];
    }
    w->dim[to] = dim, w->from[to] = s, w->to[to] = t;
}

static void add_dim(walk *w, int64_t dim, int64_t from, int64_t to) {
    w->dim[w->ndim] = dim, w->from[w->ndim] = from, w->to[w->ndim++] = to;
}

/* Fewest dimensions and largest elements: joins dimensions that lie dense in both arrays. */
static void simplify(walk *w) {
    for (int i = w->ndim - 1; i >= 0; i--)
        if (w->dim[i] == 1) drop_dim(w, i);
    for (int i = w->ndim - 2; i >= 0; i--) {
        int64_t n = w->dim[i + 1];
        if (w->from[i] != n * w->from[i + 1] || w->to[i] != n * w->to[i + 1]) continue;
        w->dim[i + 1] *= w->dim[i];
        drop_dim(w, i);
    }
    int last = w->ndim - 1;
    if (last < 0 || w->from[last] != w->size || w->to[last] != w->size) return;
    int64_t bytes = w->dim[last] * w->size;
    if (bytes != 2 && bytes != 4 && bytes != 8 && bytes != 16) return;
    w->size = bytes;
    drop_dim(w, last);
}

/* Puts the dimension that is dense in the source next to the last one, for transposing. */
static void arrange(walk *w) {
    while (w->ndim < 2) {
        add_dim(w, 1, 0, 0);
        move_dim(w, w->ndim - 1, 0);
    }
    int last = w->ndim - 1;
    if (w->from[last] == w->size || w->from[last] == 0) return;
    for (int i = 0; i < last; i++)
        if (w->from[i] == w->size) {
            move_dim(w, i, last - 1);
            return;
        }
}

/* The odometer: how often each dimension is stepped, the last two in chunks. */
static void count_units(const walk *w, int64_t *count) {
    for (int i = 0; i < w->ndim; i++) count[i] = w->dim[i];
    count[w->ndim - 2] = zk_ceil(w->dim[w->ndim - 2], w->chunk[0]);
    count[w->ndim - 1] = zk_ceil(w->dim[w->ndim - 1], w->chunk[1]);
}

static block block_at(const walk *w, const int64_t *at) {
    int row = w->ndim - 2, col = w->ndim - 1;
    int64_t i = at[row] * w->chunk[0], j = at[col] * w->chunk[1];
    int64_t from = i * w->from[row] + j * w->from[col], to = i * w->to[row] + j * w->to[col];
    for (int k = 0; k < row; k++) {
        from += at[k] * w->from[k];
        to += at[k] * w->to[k];
    }
    return (block){w->dst + to,
                   w->src + from,
                   zk_min(w->chunk[0], w->dim[row] - i),
                   zk_min(w->chunk[1], w->dim[col] - j),
                   w->to[row],
                   w->from[row],
                   w->to[col],
                   w->from[col]};
}

static void copy_units(void *ctx, int64_t task, int thread) {
    const walk *w = ctx;
    int64_t count[MAX_DIMS], at[MAX_DIMS], first = task * w->per, rest = first;
    (void)thread;
    count_units(w, count);
    for (int i = w->ndim - 1; i >= 0; i--) {
        at[i] = rest % count[i];
        rest /= count[i];
    }
    for (int64_t u = first; u < zk_min(first + w->per, w->units); u++) {
        block b = block_at(w, at);
        copy_block(&b, w->size);
        for (int i = w->ndim - 1; i >= 0 && ++at[i] == count[i]; i--) at[i] = 0;
    }
}

/* Transposing wants square chunks, any other copy long rows. */
static void set_chunks(walk *w) {
    int64_t rows = w->dim[w->ndim - 2], cols = w->dim[w->ndim - 1];
    int turns = w->from[w->ndim - 2] == w->size && w->from[w->ndim - 1] != w->size;
    if (turns) {
        w->chunk[0] = zk_min(rows, zk_max(UNIT / cols, 64));
        w->chunk[1] = zk_min(cols, UNIT / w->chunk[0]);
    } else {
        w->chunk[1] = zk_min(cols, UNIT / 4);
        w->chunk[0] = zk_min(rows, UNIT / w->chunk[1]);
    }
}

/* Copies every element of the walk. Source and target must not overlap. */
static void run_walk(const zk_call *c, walk *w) {
    int64_t count[MAX_DIMS], n = 1;
    for (int i = 0; i < w->ndim; i++) n *= w->dim[i];
    if (!n) return;
    simplify(w);
    arrange(w);
    set_chunks(w);
    count_units(w, count);
    w->units = 1;
    for (int i = 0; i < w->ndim; i++) w->units *= count[i];
    w->per = zk_max(TASK_BYTES / (w->chunk[0] * w->chunk[1] * w->size), 1);
    zk_parallel(c, zk_ceil(w->units, w->per), copy_units, w);
}

/* A walk over all of array `a` at p: dense strides into `step`, target and source not yet set. */
static walk new_walk(const zk_call *c) {
    return (walk){.src = c->p[c->nout], .dst = c->p[0], .size = zk_dtype_size(c->a[0].dtype)};
}

static void dense_strides(const zk_arg *a, int64_t *step) {
    int64_t bytes = zk_dtype_size(a->dtype);
    for (int i = a->ndim - 1; i >= 0; i--) {
        step[i] = bytes;
        bytes *= a->dims[i];
    }
}

/* copy: y = x.  out y(n)  in x(n) */
static void copy(const zk_call *c) {
    walk w = new_walk(c);
    if (w.src == w.dst) return;
    add_dim(&w, zk_count(c->a), w.size, w.size);
    run_walk(c, &w);
}

/* transpose: axis i of y is axis perm[i] of x.  out y  in x  attr perm */
static void transpose(const zk_call *c) {
    int64_t from[8], to[8];
    walk w = new_walk(c);
    dense_strides(c->a, to);
    dense_strides(c->a + 1, from);
    for (int i = 0; i < c->a->ndim; i++) add_dim(&w, c->a->dims[i], from[(int)c->attr[i]], to[i]);
    run_walk(c, &w);
}

/* broadcast_to: y = x, repeated along axes that x lacks or has 1 of.  out y  in x */
static void broadcast_to(const zk_call *c) {
    const zk_arg *x = c->a + 1;
    int64_t from[8], to[8];
    walk w = new_walk(c);
    int lead = c->a->ndim - x->ndim;
    dense_strides(c->a, to);
    dense_strides(x, from);
    for (int i = 0; i < c->a->ndim; i++)
        add_dim(&w, c->a->dims[i], i < lead || x->dims[i - lead] == 1 ? 0 : from[i - lead], to[i]);
    run_walk(c, &w);
}

/* concatenate: y = the xs one after the other along axis.  out y  in x0, x1, ...  attr axis */
static void concatenate(const zk_call *c) {
    int64_t from[8], to[8], at = 0;
    int axis = (int)c->attr[0];
    dense_strides(c->a, to);
    for (int k = 0; k < c->nin; k++) {
        const zk_arg *x = c->a + 1 + k;
        walk w = new_walk(c);
        w.src = c->p[1 + k];
        w.dst += at * to[axis];
        at += x->dims[axis];
        dense_strides(x, from);
        for (int i = 0; i < x->ndim; i++) add_dim(&w, x->dims[i], from[i], to[i]);
        run_walk(c, &w);
    }
}

/* strided_slice: y[i] = x[begin + i * strides].  out y  in x  attr begin, strides */
static void strided_slice(const zk_call *c) {
    int64_t from[8], to[8];
    int n = c->a->ndim;
    walk w = new_walk(c);
    dense_strides(c->a, to);
    dense_strides(c->a + 1, from);
    for (int i = 0; i < n; i++) {
        w.src += (int64_t)c->attr[i] * from[i];
        add_dim(&w, c->a->dims[i], (int64_t)c->attr[n + i] * from[i], to[i]);
    }
    run_walk(c, &w);
}

/* Writes `value` (one element) to all of the walk's target. */
static void fill(const zk_call *c, walk w, const void *value) {
    w.src = value;
    for (int i = 0; i < w.ndim; i++) w.from[i] = 0;
    run_walk(c, &w);
}

static void fill_all(const zk_call *c, const void *value) {
    walk w = new_walk(c);
    add_dim(&w, zk_count(c->a), 0, w.size);
    fill(c, w, value);
}

/* strided_slice_grad: y = 0, y[begin + i * strides] = g[i].  out y  in g  attr begin, strides */
static void strided_slice_grad(const zk_call *c) {
    static const char zero[16];
    int64_t from[8], to[8];
    int n = c->a->ndim;
    fill_all(c, zero);
    walk w = new_walk(c);
    dense_strides(c->a, to);
    dense_strides(c->a + 1, from);
    for (int i = 0; i < n; i++) {
        w.dst += (int64_t)c->attr[i] * to[i];
        add_dim(&w, c->a[1].dims[i], from[i], (int64_t)c->attr[n + i] * to[i]);
    }
    run_walk(c, &w);
}

/* One element of a dtype, from a double. */
static void element_of(double number, int dtype, char *value) {
    float single = (float)number;
    int64_t whole = (int64_t)number;
    if (dtype == ZK_F32) memcpy(value, &single, 4);
    else if (dtype == ZK_F64) memcpy(value, &number, 8);
    else if (dtype == ZK_BOOL) *value = number != 0;
    else memcpy(value, &whole, 8); /* little-endian: the low bytes of any integer dtype */
}

/* One of the two margins along an axis; axes before it are inside, those after it whole. */
static void fill_margin(const zk_call *c, int axis, int after, const int64_t *to,
                        const char *value) {
    const double *pads = c->attr + 1;
    walk w = new_walk(c);
    for (int i = 0; i < c->a->ndim; i++) {
        int64_t before = (int64_t)pads[2 * i], n = c->a->dims[i];
        if (i < axis) {
            w.dst += before * to[i];
            n = c->a[1].dims[i];
        } else if (i == axis) {
            if (after) w.dst += (before + c->a[1].dims[i]) * to[i];
            n = (int64_t)pads[2 * i + after];
        }
        add_dim(&w, n, 0, to[i]);
    }
    fill(c, w, value);
}

/* pad: x with margins of value.  out y  in x  attr value, (before, after) of each axis */
static void pad(const zk_call *c) {
    char value[16];
    int64_t from[8], to[8];
    element_of(c->attr[0], c->a->dtype, value);
    dense_strides(c->a, to);
    dense_strides(c->a + 1, from);
    walk w = new_walk(c);
    for (int i = 0; i < c->a->ndim; i++) {
        fill_margin(c, i, 0, to, value);
        fill_margin(c, i, 1, to, value);
        w.dst += (int64_t)c->attr[1 + 2 * i] * to[i];
        add_dim(&w, c->a[1].dims[i], from[i], to[i]);
    }
    run_walk(c, &w);
}

/* flip: x backwards along the axes.  out y  in x  attr axes */
static void flip(const zk_call *c) {
    int64_t step[8];
    int backwards[8] = {0};
    walk w = new_walk(c);
    dense_strides(c->a, step);
    for (int i = 0; i < c->nattr; i++) backwards[(int)c->attr[i]] = 1;
    for (int i = 0; i < c->a->ndim; i++) {
        int64_t n = c->a->dims[i];
        if (backwards[i] && n) w.src += (n - 1) * step[i];
        add_dim(&w, n, backwards[i] ? -step[i] : step[i], step[i]);
    }
    run_walk(c, &w);
}

/* tile: whole copies of x side by side.  out y  in x  attr repeats of each axis */
static void tile(const zk_call *c) {
    int64_t from[8], to[8];
    walk w = new_walk(c);
    dense_strides(c->a, to);
    dense_strides(c->a + 1, from);
    for (int i = 0; i < c->a->ndim; i++) {
        int64_t n = c->a[1].dims[i];
        add_dim(&w, (int64_t)c->attr[i], 0, n * to[i]);
        add_dim(&w, n, from[i], to[i]);
    }
    run_walk(c, &w);
}

/* repeat: each element of an axis several times in a row.  out y  in x  attr repeats, axis */
static void repeat(const zk_call *c) {
    int64_t from[8], to[8], times = (int64_t)c->attr[0];
    int axis = (int)c->attr[1];
    walk w = new_walk(c);
    dense_strides(c->a, to);
    dense_strides(c->a + 1, from);
    for (int i = 0; i < c->a->ndim; i++) {
        add_dim(&w, c->a[1].dims[i], from[i], i == axis ? times * to[i] : to[i]);
        if (i == axis) add_dim(&w, times, 0, to[i]);
    }
    run_walk(c, &w);
}

const zk_kernel ZK_TABLE(arrays)[] = {{"copy", copy, NULL},
                                      {"transpose", transpose, NULL},
                                      {"broadcast_to", broadcast_to, NULL},
                                      {"concatenate", concatenate, NULL},
                                      {"strided_slice", strided_slice, NULL},
                                      {"strided_slice_grad", strided_slice_grad, NULL},
                                      {"pad", pad, NULL},
                                      {"flip", flip, NULL},
                                      {"tile", tile, NULL},
                                      {"repeat", repeat, NULL},
                                      {0}};
