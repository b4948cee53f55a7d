/* Gradient of a convolution's kernel in tile registers: conv_grad_kernel_bf16. A sum over places,
 * so places are the steps of the products: images are turned, a row of places for each channel, and
 * at every tap the same tiles are read some places further on; g lies in pairs of places, zero
 * where a row's border is. Images are taken some at a time, in order, and each sum runs over all
 * their places, so no result depends on threads. */
#include "bf16_result.h"
#include "tap_layout.h"

#define TOGETHER 8     /* steps: 32 kB of both operands */
#define LAID (1 << 22) /* bytes of turned images and gradients that are read again for each tap */

typedef struct {
    tap_layout l; /* of x */
    const int64_t *offsets;
    const char *g;
    int64_t g_wide, filters, channels;
    int64_t cells, places, steps; /* of an image: cells of x; places, those of the borders too */
    int64_t pitch, step, block; /* bytes from a channel, 32 places, 16 channels to the next ones */
    int64_t filled;             /* bytes of a channel's places that are filled */
    int64_t across, together;   /* taps of a row of the kernel; steps that they share in L1 */
    int64_t images, x_bytes, g_bytes, room; /* at once; of one; what a thread needs */
    char *x_turned, *g_pairs, *scratch;
    float *dw; /* (taps, channels, filters) */
    int again; /* dw has sums already */
} kernel_grad;

/* Turns image i of x. */
ZK_INLINE void turn_image(tiles *t, const kernel_grad *j, int64_t i, char *laid) {
    tap_layout l = j->l;
    l.from += i * l.in[0] * l.in[1] * l.channels * (l.wide ? 4 : 2), l.to = laid;
    for (int64_t plane = 0; plane < l.planes[0] * l.planes[1]; plane++)
        for (int64_t row = 0; row < l.size[0]; row++) tap_lay_row(&l, 0, plane, row);
    const grid cells = {laid, l.cell / 2, 0};
    char *to = j->x_turned + i * j->x_bytes;
    uint16_t tile[TILE_NUMBERS];
    for (int64_t c = 0; c < j->channels; c += 16, to += j->block)
        for (int64_t p = 0; p * 64 < j->filled; p++) {
            pack_left(t, &cells, 1, c, j->channels, p * 32, j->cells, tile);
            for (int64_t r = 0; r < 16; r++)
                memcpy(to + p * j->step + r * j->pitch, tile + r * 32, 64);
        }
}

/* Puts image i of g in pairs. */
ZK_INLINE void pair_image(tiles *t, const kernel_grad *j, int64_t i, char *laid) {
    const tap_layout *l = &j->l;
    const int64_t n = j->filters, row = n * 2, size = j->g_wide ? 4 : 2;
    const char *from = j->g + i * l->out[0] * l->out[1] * n * size;
    for (int64_t v = 0; v < l->out[0]; v++, from += l->out[1] * n * size) {
        char *to = laid + v * l->period * row;
        if (j->g_wide) tap_narrow((const float *)from, l->out[1] * n, to);
        else memcpy(to, from, (size_t)(l->out[1] * row));
        if (v + 1 < l->out[0])
            memset(to + l->out[1] * row, 0, (size_t)((l->period - l->out[1]) * row));
    }
    const grid places = {laid, n, 0};
    uint16_t *to = (uint16_t *)(j->g_pairs + i * j->g_bytes);
    for (int64_t f = 0; f < n; f += SIDE)
        for (int64_t s = 0; s < j->steps; s++)
            for (int half = 0; half < 2; half++, to += TILE_NUMBERS)
                pack_right(t, &places, 0, s * SIDE, j->places, f + 16 * half, n, to);
}

/* Two tasks an image. */
static void prepare_task(void *ctx, int64_t task, int thread) {
    const kernel_grad *j = ctx;
    tiles model, *t = tiles_real() ? NULL : &model;
    char *laid = j->scratch + thread * j->room;
    if (task % 2) pair_image(t, j, task / 2, laid);
    else turn_image(t, j, task / 2, laid);
}

/* Up to 32 channels by 32 filters of a tap, of steps [s0, s1) of images [i0, i1). */
ZK_INLINE void sum_places(tiles *t, const kernel_grad *j, const char *a, const char *b, int64_t i0,
                          int64_t i1, int64_t s0, int64_t s1, const int high, const int wide,
                          float *sums) {
    const int64_t row = SIDE * 4;
    float *low = sums + 16 * SIDE;
    tile_load(t, 0, sums, row);
    if (wide) tile_load(t, 1, sums + 16, row);
    if (high) tile_load(t, 2, low, row);
    if (high && wide) tile_load(t, 3, low + 16, row);
    for (int64_t i = i0; i < i1; i++) {
        const char *x = a + i * j->x_bytes + s0 * j->step, *g = b + i * j->g_bytes + s0 * 2048;
        for (int64_t s = s0; s < s1; s++, x += j->step, g += 2048) {
            tile_load(t, 6, g, 64);
            tile_load(t, 4, x, j->pitch);
            tile_dp_bf16(t, 0, 4, 6);
            if (high) tile_load(t, 5, x + j->block, j->pitch);
            if (high) tile_dp_bf16(t, 2, 5, 6);
            if (wide) tile_load(t, 7, g + 1024, 64);
            if (wide) tile_dp_bf16(t, 1, 4, 7);
            if (high && wide) tile_dp_bf16(t, 3, 5, 7);
        }
    }
    tile_store(t, 0, sums, row);
    if (wide) tile_store(t, 1, sums + 16, row);
    if (high) tile_store(t, 2, low, row);
    if (high && wide) tile_store(t, 3, low + 16, row);
}

/* All places, some at a time: each tap of a row of the kernel adds its products with them to its
 * own sums (across, 32, 32), while L1 holds them. */
ZK_INLINE void sum_row(tiles *t, const kernel_grad *j, const char *a, const char *b,
                       const int64_t *offsets, const int high, const int wide, float *sums) {
    const int64_t some = zk_max(1, j->together / zk_max(1, j->steps));
    for (int64_t i = 0; i < j->images; i += some)
        for (int64_t s = 0; s < j->steps; s += j->together)
            for (int64_t tap = 0; tap < j->across; tap++)
                sum_places(t, j, a + offsets[tap] / j->l.cell * 2, b, i,
                           zk_min(j->images, i + some), s, zk_min(j->steps, s + j->together), high,
                           wide, sums + tap * SIDE * SIDE);
}

/* dw to sums, or back, of the taps of a row. */
static void move_sums(const kernel_grad *j, float *dw, int64_t rows, int64_t cols, int back,
                      float *sums) {
    for (int64_t tap = 0; tap < j->across; tap++, dw += j->channels * j->filters)
        for (int64_t r = 0; r < rows; r++) {
            float *own = sums + (tap * SIDE + r) * SIDE, *whole = dw + r * j->filters;
            memcpy(back ? whole : own, back ? own : whole, (size_t)cols * 4);
        }
}

/* A block of dw at the taps of a row of the kernel. */
ZK_INLINE void run_block(tiles *t, const kernel_grad *j, int64_t v, int64_t c, int64_t f,
                         float *sums) {
    const int64_t rows = zk_min(SIDE, j->channels - c), cols = zk_min(SIDE, j->filters - f);
    const int64_t tap = v * j->across, *offsets = j->offsets + tap;
    const char *a = j->x_turned + c / 16 * j->block;
    const char *b = j->g_pairs + f / SIDE * j->steps * ZK_TILE_BOTH * 2;
    float *dw = j->dw + (tap * j->channels + c) * j->filters + f;
    memset(sums, 0, (size_t)(j->across * SIDE * SIDE * 4));
    if (j->again) move_sums(j, dw, rows, cols, 0, sums);
    tile_config(t, &tile_full);
    if (rows > 16 && cols > 16) sum_row(t, j, a, b, offsets, 1, 1, sums);
    else if (rows > 16) sum_row(t, j, a, b, offsets, 1, 0, sums);
    else if (cols > 16) sum_row(t, j, a, b, offsets, 0, 1, sums);
    else sum_row(t, j, a, b, offsets, 0, 0, sums);
    tile_release(t);
    move_sums(j, dw, rows, cols, 1, sums);
}

static void block_task(void *ctx, int64_t task, int thread) {
    const kernel_grad *j = ctx;
    const int64_t down = j->l.taps / j->across, wide = zk_ceil(j->filters, SIDE);
    const int64_t v = task % down, c = task / down / wide * SIDE, f = task / down % wide * SIDE;
    float *sums = (float *)(j->scratch + thread * j->room);
    tiles model;
    if (tiles_real()) run_block(NULL, j, v, c, f, sums);
    else run_block(&model, j, v, c, f, sums);
}

static kernel_grad kernel_grad_of(const zk_call *c) {
    const zk_arg *g = c->a + 2;
    kernel_grad j = {.l = tap_layout_of(c, c->a + 1, g), .g_wide = g->dtype == ZK_F32};
    j.filters = g->dims[g->ndim - 1], j.channels = j.l.channels;
    j.cells = tap_image_bytes(&j.l) / zk_max(1, j.l.cell), j.places = tap_places(&j.l);
    j.steps = zk_ceil(j.places, SIDE);
    j.across = j.l.kernel[1], j.together = TOGETHER;
    /* A tile at the last step and tap may begin anywhere in the image. Not a power of two: rows
     * that fall on one place of a cache drive each other out. */
    j.pitch = j.filled = zk_align((j.cells + SIDE) * 2);
    if (j.pitch % 512 == 0) j.pitch += 64;
    j.step = 64, j.block = 16 * j.pitch;
    if (j.l.taps == 1) { /* tiles side by side */
        j.filled = j.steps * 64, j.together = zk_max(1, j.steps) * j.l.images;
        j.pitch = 64, j.step = 1024, j.block = j.steps * 1024;
    }
    j.x_bytes = zk_align(zk_ceil(j.channels, 16) * j.block);
    j.g_bytes = zk_ceil(j.filters, SIDE) * j.steps * ZK_TILE_BOTH * 2;
    j.room = zk_max(tap_image_bytes(&j.l), j.places * j.filters * 2) + TAP_SLACK;
    j.room = zk_align(zk_max(j.room, j.across * SIDE * SIDE * 4));
    j.images = zk_min(j.l.images, LAID / zk_max(1, j.x_bytes + j.g_bytes));
    j.images = zk_max(1, j.images);
    return j;
}

/* conv_grad_kernel_bf16: dw = sums over images and places of x g, both rounded to bfloat16.
 * out dw(taps.., channels, n)  in x(images, .., channels), g(images, .., n); float32 or bits
 * scratch: offsets(taps); an image of each thread; some images turned and in pairs */
static void conv_grad_kernel_bf16(const zk_call *c) {
    kernel_grad j = kernel_grad_of(c);
    int64_t *offsets = (int64_t *)c->scratch;
    j.offsets = offsets, j.scratch = c->scratch + zk_align(j.l.taps * 8);
    j.x_turned = j.scratch + c->threads * j.room, j.g_pairs = j.x_turned + j.images * j.x_bytes;
    j.dw = c->p[0], j.l.from = c->p[1], j.g = c->p[2];
    tap_list_offsets(&j.l, offsets);
    const int64_t most = j.images, all = j.l.images;
    const int64_t blocks =
        zk_ceil(j.channels, SIDE) * zk_ceil(j.filters, SIDE) * (j.l.taps / zk_max(1, j.across));
    if (!all) memset(j.dw, 0, (size_t)(zk_count(c->a) * 4));
    for (int64_t i = 0; i < all; i += most, j.again = 1) {
        j.images = zk_min(most, all - i);
        zk_parallel(c, j.images * 2, prepare_task, &j);
        zk_parallel(c, blocks, block_task, &j);
        j.l.from += j.images * j.l.in[0] * j.l.in[1] * j.channels * (j.l.wide ? 4 : 2);
        j.g += j.images * j.l.out[0] * j.l.out[1] * j.filters * (j.g_wide ? 4 : 2);
    }
}

static int64_t conv_grad_kernel_bf16_scratch(const zk_call *c) {
    const kernel_grad j = kernel_grad_of(c);
    return zk_align(j.l.taps * 8) + c->threads * j.room + j.images * (j.x_bytes + j.g_bytes);
}

const zk_kernel ZK_TABLE(conv_bf16_grad)[] = {
    {"conv_grad_kernel_bf16", conv_grad_kernel_bf16, conv_grad_kernel_bf16_scratch}, {0}};
