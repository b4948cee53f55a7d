/* Sums over taps in tile registers: what products of int8 and of bfloat16 share. In: numbers in
 * images of some places each; a list of taps; packed weights. Out: sums of 16 x 16, two by two.
 * Work is cut by shapes alone.
 *
 * Places are computed in blocks of 16, two blocks by two panels at once: 32 x 32 sums, four tiles
 * of AMX. With a border of zeros beside each row of an image, a whole image is one run of places;
 * those on the border are computed and left out. */
#ifndef ZK_TAP_PRODUCT_H
#define ZK_TAP_PRODUCT_H
#include "amx.h"

#define TAP_BLOCK 16          /* places */
#define TAP_BLOCKS 32         /* of a task, at most */
#define TAP_WEIGHTS (1 << 20) /* bytes of w that a task reads again and again, from L2 */
#define TAP_FEW 8             /* blocks that meet weights larger than L2, which are read once */
#define TAP_TASK (1 << 22)    /* multiplications of a task, about */
#define TAP_SQUARE 32         /* places and columns computed at once */
#define TAP_BEHIND (TAP_BLOCK + 1) /* rows that may be read behind the last place */
#define TAP_GROUP 1024             /* bytes of packed weights: 64 of a tap by 16 columns, a tile */

/* What all tiles of a product share. A tap's inputs lie offsets[tap] bytes behind a row's first;
 * up to a multiple of 64 bytes of them are read, against weights of zero. */
typedef struct {
    const int64_t *offsets; /* (taps) */
    int64_t taps, groups;   /* groups of 64 bytes in a tap */
    int64_t row;            /* bytes from a place to the next */
} tap_shape;

typedef struct {
    tap_shape shape;
    const char *x;           /* of the first image */
    int64_t images, image;   /* how many, bytes of one */
    int64_t places;          /* of an image, those on the border too */
    int64_t period, columns; /* of each `period` places the first `columns` are stored */
    int64_t n, k;            /* columns; inputs of a sum */
    int64_t rows, parts;     /* blocks of a task; parts of the panels */
} tap_job;

/* Blocks [b0, b1) by panels [p0, p1). */
typedef struct {
    int64_t b0, b1, p0, p1;
} tap_part;

static inline int64_t tap_blocks(const tap_job *j) { return zk_ceil(j->places, TAP_BLOCK); }

/* Where block `b` of all images begins. */
static inline const char *tap_block(const tap_job *j, int64_t b) {
    const int64_t each = tap_blocks(j);
    return j->x + b / each * j->image + b % each * TAP_BLOCK * j->shape.row;
}

/* The rows of y of the places of blocks [b, end); -1 for those on the border. */
static inline void tap_list_places(const tap_job *j, int64_t b, int64_t end, int64_t *to) {
    const int64_t each = tap_blocks(j);
    const int64_t stored = zk_ceil(j->places, j->period) * j->columns; /* of an image */
    for (; b < end; b++)
        for (int64_t i = 0, p = b % each * TAP_BLOCK; i < TAP_BLOCK; i++, p++, to++) {
            const int inside = p < j->places && p % j->period < j->columns;
            *to = inside ? b / each * stored + p / j->period * j->columns + p % j->period : -1;
        }
}

/* Cuts the work: how many tasks. */
static inline int64_t tap_cut(tap_job *j) {
    const int64_t all = j->images * tap_blocks(j), panels = zk_ceil(j->n, PANEL);
    if (!all || !j->n) return 0;
    const double each = (double)(TAP_BLOCK * j->k) * (double)j->n;
    const int64_t bytes = panels * j->shape.taps * j->shape.groups * TAP_GROUP;
    int64_t fit = (int64_t)(TAP_TASK / zk_max(1, (int64_t)each)) & ~1;
    if (bytes > 2 * TAP_WEIGHTS) fit = TAP_FEW;
    j->rows = zk_min(all, zk_max(2, zk_min(fit, TAP_BLOCKS)));
    const int64_t work = (int64_t)(each * (double)all / TAP_TASK) / zk_ceil(all, j->rows);
    j->parts = zk_max(work, zk_ceil(bytes, TAP_WEIGHTS));
    j->parts = zk_max(1, zk_min(zk_ceil(panels, 2), j->parts));
    return zk_ceil(all, j->rows) * j->parts;
}

static inline tap_part tap_part_of(const tap_job *j, int64_t task) {
    const int64_t all = j->images * tap_blocks(j), panels = zk_ceil(j->n, PANEL);
    const int64_t part = task % j->parts, pairs = zk_ceil(panels, 2), b = task / j->parts * j->rows;
    return (tap_part){b, zk_min(b + j->rows, all), pairs * part / j->parts * 2,
                      zk_min(pairs * (part + 1) / j->parts * 2, panels)};
}

/* c += a b, of bfloat16 when narrow, else of int8. */
ZK_INLINE void tap_multiply(tiles *t, const int c, const int a, const int b, const int narrow) {
    if (narrow) tile_dp_bf16(t, c, a, b);
    else tile_dp_int8(t, c, a, b);
}

/* 16 by 16 sums each: places of x[0] and x[1], panels of w[0] and w[1], in registers 0 to 3. Those
 * of bfloat16 start at the bias of both panels, whose groups lie side by side in w. */
ZK_INLINE void tap_tiles(tiles *t, const tap_shape *s, const char *const *x, const char *const *w,
                         const float *bias, const int narrow, const int blocks, const int panels,
                         char *sums) {
    const int64_t step = narrow ? 2 * TAP_GROUP : TAP_GROUP;
    if (narrow) tile_load(t, 0, bias, 0), tile_load(t, 1, bias + PANEL, 0);
    else tile_zero(t, 0), tile_zero(t, 1);
    if (narrow && blocks > 1) tile_load(t, 2, bias, 0), tile_load(t, 3, bias + PANEL, 0);
    else if (blocks > 1) tile_zero(t, 2), tile_zero(t, 3);
    const char *w0 = w[0], *w1 = w[panels - 1];
    for (int64_t tap = 0; tap < s->taps; tap++) {
        const char *x0 = x[0] + s->offsets[tap], *x1 = x[blocks - 1] + s->offsets[tap];
        for (int64_t g = 0; g < s->groups; g++, x0 += 64, x1 += 64, w0 += step, w1 += step) {
            if (narrow)
                for (int p = 0; p < 4; p++) __builtin_prefetch(w0 + 4096 + 512 * p);
            tile_load(t, 6, w0, 64);
            tile_load(t, 4, x0, s->row);
            tap_multiply(t, 0, 4, 6, narrow);
            if (blocks > 1) {
                tile_load(t, 5, x1, s->row);
                tap_multiply(t, 2, 5, 6, narrow);
            }
            if (panels > 1) {
                tile_load(t, 7, w1, 64);
                tap_multiply(t, 1, 4, 7, narrow);
                if (blocks > 1) tap_multiply(t, 3, 5, 7, narrow);
            }
        }
    }
    const int64_t row = TAP_SQUARE * 4;
    char *below = sums + TAP_BLOCK * row;
    tile_store(t, 0, sums, row);
    if (panels > 1) tile_store(t, 1, sums + PANEL * 4, row);
    if (blocks > 1) tile_store(t, 2, below, row);
    if (panels > 1 && blocks > 1) tile_store(t, 3, below + PANEL * 4, row);
}

/* The sums of one or two blocks by one or two panels. */
ZK_INLINE void tap_square(tiles *t, const tap_shape *s, const char *const *x, const char *const *w,
                          const float *bias, const int narrow, int blocks, int panels, char *sums) {
    if (blocks > 1 && panels > 1) tap_tiles(t, s, x, w, bias, narrow, 2, 2, sums);
    else if (blocks > 1) tap_tiles(t, s, x, w, bias, narrow, 2, 1, sums);
    else if (panels > 1) tap_tiles(t, s, x, w, bias, narrow, 1, 2, sums);
    else tap_tiles(t, s, x, w, bias, narrow, 1, 1, sums);
}
#endif
