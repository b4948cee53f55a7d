/* Convolutions of int8 images: round_int8, conv_int8, depthwise_int8. Images are rounded with one
 * scale each; sums of products are exact; results are scaled back, or rounded for the next layer
 * with a scale that is known. What is not finite in an image makes its step NaN, and so every
 * float32 result behind it. */
#include "depthwise_int8.h"
#include "tap_layout.h"
#include "int8_product.h"

#define PIECE (1 << 15) /* numbers that a task rounds */

typedef struct {
    const float *x;
    int8_t *q;
    float *step;       /* (images) 1 / scale */
    int64_t n, pieces; /* numbers of an image, tasks of one */
    int32_t *top;      /* (images, pieces) bits of the largest magnitude */
    float *scale;      /* (images) 0 where an image is not finite */
    float fixed;
    int positive; /* q is 0..255 */
} round_job;

static void top_task(void *ctx, int64_t task, int thread) {
    const round_job *j = ctx;
    const int64_t image = task / j->pieces, piece = task % j->pieces;
    const int64_t a = j->n * piece / j->pieces, b = j->n * (piece + 1) / j->pieces;
    const float *x = j->x + image * j->n;
    (void)thread;
    j->top[task] = int8_largest(x + a, b - a);
    if (j->fixed > 0) byte_round(x + a, b - a, j->fixed, j->positive, j->q + image * j->n + a);
}

static void piece_task(void *ctx, int64_t task, int thread) {
    const round_job *j = ctx;
    const int64_t image = task / j->pieces, piece = task % j->pieces;
    const int64_t a = j->n * piece / j->pieces, b = j->n * (piece + 1) / j->pieces;
    const int64_t at = image * j->n + a;
    (void)thread;
    if (j->scale[image] == 0) memset(j->q + at, 0, (size_t)(b - a));
    else if (j->fixed == 0) int8_round(j->x + at, b - a, j->scale[image], j->q + at);
}

static round_job round_job_of(const zk_call *c) {
    round_job j = {.n = zk_span(c->a, 1, c->a->ndim), .fixed = (float)c->attr[0]};
    j.pieces = zk_max(1, zk_ceil(j.n, PIECE)), j.positive = c->a->dtype == ZK_U8;
    return j;
}

/* round_int8: each image with its own scale, or all with a fixed one.
 * out q(images, ...) int8, or uint8 with a fixed scale, step(images)  in x(images, ...)  attr scale
 * or 0 scratch: top(images, pieces), scale(images) */
static void round_int8(const zk_call *c) {
    round_job j = round_job_of(c);
    const int64_t images = c->a->dims[0];
    j.q = c->p[0], j.step = c->p[1], j.x = c->p[2];
    j.top = (int32_t *)c->scratch, j.scale = (float *)(j.top + images * j.pieces);
    zk_parallel(c, images * j.pieces, top_task, &j);
    int again = j.fixed == 0;
    for (int64_t i = 0; i < images; i++) {
        int32_t top = 0;
        for (int64_t p = 0; p < j.pieces; p++)
            top = j.top[i * j.pieces + p] > top ? j.top[i * j.pieces + p] : top;
        j.scale[i] = int8_scale(top, j.fixed, j.step + i);
        again |= j.scale[i] == 0;
    }
    if (again) zk_parallel(c, images * j.pieces, piece_task, &j);
}

static int64_t round_int8_scratch(const zk_call *c) {
    return zk_align(c->a->dims[0] * (round_job_of(c).pieces + 1) * 4);
}

/* The results of a call: y(images, ..., n), or q like it in bytes and step(images), or all three.
 */
typedef struct {
    stored y;
    int8_t *q;
    float *step;
    int positive; /* q is 0..255 */
} results;

static results results_of(const zk_call *c) {
    results r = {{NULL, ZK_WIDE}, NULL, NULL, 0};
    if (c->nout != 2) r.y = stored_of(c->a, c->p[0], 0);
    if (c->nout < 2) return r;
    r.q = c->p[c->nout - 2], r.step = c->p[c->nout - 1];
    r.positive = c->a[c->nout - 2].dtype == ZK_U8;
    return r;
}

/* The steps of rounded results; an image whose own was NaN stays NaN. */
static void pass_steps(const zk_call *c, const results *r, const float *step) {
    const float scale = (float)c->attr[ZK_CONV_TAPS_SCALE];
    for (int64_t i = 0; r->step && i < c->a->dims[0]; i++)
        r->step[i] = step[i] > 0 ? 1 / scale : NAN;
}

/* Images without a border are read where they lie when a tap is whole vectors of 64 and the places
 * whole blocks: then nothing behind them is read. */
static int in_place(const tap_layout *l) {
    return tap_lies_ready(l) && l->channels % 64 == 0 && l->images * tap_places(l) % TAP_BLOCK == 0;
}

/* The residual of a call, if it has one. */
static int8_more more_of(const zk_call *c) {
    int8_more m = {NULL, NULL, 4};
    if (c->nin > 5) m.p = c->p[c->nout + 5], m.size = zk_dtype_size(c->a[c->nout + 5].dtype);
    if (c->nin > 6) m.step = c->p[c->nout + 6];
    return m;
}

/* conv_int8: act(conv(q, w) step wstep + b + residual), as it is or rounded or both.
 * out y(images, ..., n) float32 or bits and/or q(images, ..., n) int8 or uint8, step(images)
 * in q(images, .., channels) int8, step(images), w(ceil(n / 16), taps 16 ceil(k / 64), 16, 4) int8,
 *    wstep(n), b(n), residual like y or none: float32, bits, or int8 and then its step(images)
 *    k: channels, times the kernel's columns when merged
 * scratch: of each thread; offsets(taps); the images with their borders */
static void conv_int8(const zk_call *c) {
    tap_layout l = tap_layout_of(c, c->a + c->nout, c->a);
    const results r = results_of(c);
    void *const *in = c->p + c->nout;
    int64_t *offsets = (int64_t *)(c->scratch + int8_thread_bytes(c->threads));
    int8_job j = {.taps = tap_job_of(&l, offsets)};
    j.steps = zk_ceil(tap_inputs(&l), ZK_INT8_STEP);
    j.step = in[1], j.w = in[2], j.wstep = in[3], j.bias = in[4];
    j.more = more_of(c), j.n = c->a->dims[c->a->ndim - 1];
    j.act = (int)c->attr[ZK_CONV_TAPS_ACTIVATION], j.scale = (float)c->attr[ZK_CONV_TAPS_SCALE];
    j.y = r.y, j.q = r.q, j.positive = r.positive, j.scratch = c->scratch;
    tap_list_offsets(&l, offsets);
    l.from = j.taps.x = in[0];
    if (!in_place(&l)) {
        j.taps.x = l.to = (char *)offsets + zk_align(l.taps * 8);
        tap_lay_out(c, &l);
    }
    tap_job *t = &j.taps;
    if (tap_lies_ready(&l)) /* all images are one */
        t->places *= t->images, t->images = 1, t->period = t->columns = zk_max(t->places, 1);
    j.per_step = l.out[0] * l.out[1];
    pass_steps(c, &r, j.step);
    int8_compute(c, &j);
}

static int64_t conv_int8_scratch(const zk_call *c) {
    const tap_layout l = tap_layout_of(c, c->a + c->nout, c->a);
    return int8_thread_bytes(c->threads) + zk_align(l.taps * 8) + tap_laid_bytes(&l, l.images);
}

/* depthwise_int8: the same with a filter for each channel.
 * in q(images, .., channels) int8 or uint8, step(images), w(taps, channels) int16, wstep(n), b(n)
 * scratch: weights as floats(taps, channels); offsets(taps); the images with their borders */
static void depthwise_int8(const zk_call *c) {
    tap_layout l = tap_layout_of(c, c->a + c->nout, c->a);
    const results r = results_of(c);
    void *const *in = c->p + c->nout;
    const int64_t n = l.taps * l.channels;
    float *w = (float *)c->scratch;
    int64_t *offsets = (int64_t *)(c->scratch + zk_align(n * 4));
    for (int64_t i = 0; i < n; i++) w[i] = ((const int16_t *)in[2])[i];
    tap_list_offsets(&l, offsets);
    l.from = in[0], l.to = (char *)offsets + zk_align(l.taps * 8);
    tap_lay_out(c, &l);
    depthwise_job j = {.l = &l, .offsets = offsets, .w = w, .y = (float *)r.y.p, .q = r.q};
    j.step = in[1], j.wstep = in[3], j.bias = in[4];
    j.positive = c->a[c->nout].dtype == ZK_U8, j.unsigned_q = r.positive;
    j.act = (int)c->attr[ZK_CONV_TAPS_ACTIVATION], j.scale = (float)c->attr[ZK_CONV_TAPS_SCALE];
    pass_steps(c, &r, j.step);
    depthwise_compute(c, &j);
}

static int64_t depthwise_int8_scratch(const zk_call *c) {
    const tap_layout l = tap_layout_of(c, c->a + c->nout, c->a);
    return zk_align(l.taps * l.channels * 4) + zk_align(l.taps * 8) + tap_laid_bytes(&l, l.images);
}

const zk_kernel ZK_TABLE(conv_int8)[] = {{"round_int8", round_int8, round_int8_scratch},
                                         {"conv_int8", conv_int8, conv_int8_scratch},
                                         {"depthwise_int8", depthwise_int8, depthwise_int8_scratch},
                                         {0}};
