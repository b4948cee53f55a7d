/* Convolutions of bfloat16 with sums in float32, in tile registers: conv_bf16. Images get a border
 * of zeros, as those of int8 do; then 16 neighbouring places are a tile where they lie, at every
 * tap. Each sum runs over taps and channels in one order, so no result depends on other images,
 * tasks or threads. Without AMX the model of the tiles gives the same bits, slowly. */
#include "bf16_result.h"
#include "tap_layout.h"

#define LAID (3 << 19) /* bytes of bordered images that are computed together: L2 holds them */

typedef struct {
    tap_job taps;
    const char *w;
    const float *bias;
    bf16_result y;
    char *scratch; /* of each thread */
} bf16_job;

typedef struct {
    float sums[TAP_SQUARE * TAP_SQUARE];
    int64_t places[TAP_BLOCKS * TAP_BLOCK];
} bf16_thread;

static int64_t threads_bytes(int threads) {
    return threads * zk_align((int64_t)sizeof(bf16_thread));
}

/* Blocks [b, b + blocks) by 32 columns from j on. */
ZK_INLINE void run_square(tiles *t, const bf16_job *g, int64_t b, int blocks, int64_t j,
                          const int64_t *places, float *sums) {
    const tap_shape *s = &g->taps.shape;
    const int64_t cols = zk_min(g->taps.n - j, SIDE);
    const char *w0 = g->w + j / SIDE * s->taps * s->groups * 2 * TAP_GROUP;
    const char *w[2] = {w0, w0 + TAP_GROUP};
    const char *x[2] = {tap_block(&g->taps, b), tap_block(&g->taps, b + blocks - 1)};
    float some[SIDE] = {0};
    const float *bias = g->bias + j;
    if (cols < SIDE) bias = memcpy(some, bias, (size_t)cols * 4);
    tap_square(t, s, x, w, bias, 1, blocks, cols > PANEL ? 2 : 1, (char *)sums);
    bf16_put(t, &g->y, sums, places, 0, blocks * TAP_BLOCK, j, cols);
}

/* All columns of 32 places first, so that rows of y are written whole. */
ZK_INLINE void run_part(tiles *t, const bf16_job *g, tap_part part, bf16_thread *own) {
    tap_list_places(&g->taps, part.b0, part.b1, own->places);
    tile_config(t, &tile_full);
    for (int64_t b = part.b0; b < part.b1; b += 2)
        for (int64_t p = part.p0; p < part.p1; p += 2)
            run_square(t, g, b, (int)zk_min(2, part.b1 - b), p * PANEL,
                       own->places + (b - part.b0) * TAP_BLOCK, own->sums);
    tile_release(t);
}

static void run_task(void *ctx, int64_t task, int thread) {
    const bf16_job *g = ctx;
    bf16_thread *own = (bf16_thread *)(g->scratch + thread * threads_bytes(1));
    const tap_part part = tap_part_of(&g->taps, task);
    tiles model;
    if (tiles_real()) run_part(NULL, g, part, own);
    else run_part(&model, g, part, own);
}

/* Images that are laid out and computed together. */
static int64_t images_at_once(const tap_layout *l) {
    const int64_t fit = LAID / zk_max(1, tap_image_bytes(l));
    return zk_max(1, zk_min(l->images, fit));
}

/* Images [i, i + some). */
static void run_images(const zk_call *c, const bf16_job *all, const tap_layout *whole, int64_t i,
                       int64_t some) {
    bf16_job g = *all;
    tap_layout l = *whole;
    const int64_t cells = l.in[0] * l.in[1] * l.channels, rows = l.out[0] * l.out[1] * g.taps.n;
    l.images = g.taps.images = some;
    l.from += i * cells * (l.wide ? 4 : 2);
    g.y.p += i * rows * (g.y.narrow ? 2 : 4);
    if (g.y.residual.p) g.y.residual.p += i * rows * (g.y.residual.wide ? 4 : 2);
    tap_lay_out(c, &l);
    zk_parallel(c, tap_cut(&g.taps), run_task, &g);
}

/* conv_bf16: y = act(conv(x, w) + b [+ residual]), x and w rounded to bfloat16, sums in float32.
 * out y(images, .., n) float32 or bits of bfloat16
 * in x(images, .., channels), w(ceil(n / 32), taps ceil(k / 32), 2, 16, 32) bits, b(n),
 *    residual like y or none; x and residual float32 or bits; k: channels, times the kernel's
 *    columns when merged
 * scratch: of each thread; offsets(taps); some images with their borders */
static void conv_bf16(const zk_call *c) {
    tap_layout l = tap_layout_of(c, c->a + c->nout, c->a);
    bf16_job g = {.w = c->p[2], .bias = c->p[3], .scratch = c->scratch};
    int64_t *offsets = (int64_t *)(c->scratch + threads_bytes(c->threads));
    tap_list_offsets(&l, offsets);
    l.from = c->p[1], l.to = (char *)offsets + zk_align(l.taps * 8);
    g.taps = tap_job_of(&l, offsets);
    g.taps.x = l.to, g.taps.n = c->a->dims[c->a->ndim - 1];
    g.y = bf16_result_of(c, g.taps.n, (int)c->attr[ZK_CONV_TAPS_ACTIVATION]);
    const int64_t some = images_at_once(&l);
    for (int64_t i = 0; i < l.images; i += some)
        run_images(c, &g, &l, i, zk_min(some, l.images - i));
}

static int64_t conv_bf16_scratch(const zk_call *c) {
    const tap_layout l = tap_layout_of(c, c->a + c->nout, c->a);
    return threads_bytes(c->threads) + zk_align(l.taps * 8) +
           tap_laid_bytes(&l, images_at_once(&l));
}

const zk_kernel ZK_TABLE(conv_bf16)[] = {{"conv_bf16", conv_bf16, conv_bf16_scratch}, {0}};
