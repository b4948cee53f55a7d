/* chain: a whole run of elementwise operations in one instruction. The arrays are cut into tiles
 * that stay in L1 cache; each row of the code is one function over a tile. How the code is written
 * down, and which operation becomes which rows, stands in zoo_keras/primitives/chain_code.py. */
#include "tiles.h"
#include "vangle.h"
#include "vmath.h"

enum {
    ROOM = 1024,        /* floats that a register holds */
    STRIDE = ROOM + 48, /* between registers: not a whole page, so they do not evict each other */
    SHARE = 1 << 17     /* least work of a task, in elements times weight */
};

/* One tile function at work: d[i] = f(s0[i], s1[i], s2[i]). The step of a source is VL floats, or
 * 0 for a number that fills one vector. */
typedef struct {
    float *d;
    const float *s[3];
    int64_t step[3];
} row;
typedef void (*tile_fn)(const row *r, int64_t n);

/* Tile functions. n is a multiple of VL. In the expression a, b, c are vectors of the sources and
 * A, B, C the same bits as int32. Sources are read before d is written: d may be one of them. */
#define READ(x, X, k)     \
    vf x = vf_load(s##k); \
    vi X = (vi)x;         \
    s##k += t##k;         \
    (void)X;
#define FROM(k)                  \
    const float *s##k = r->s[k]; \
    int64_t t##k = r->step[k];
#define TILE(name, from, read, value)                                \
    static void tile_##name(const row *r, int64_t n) {               \
        from for (float *d = r->d, *end = d + n; d < end; d += VL) { \
            read vf_store(d, (vf)(value));                           \
        }                                                            \
    }
#define TILE_1(name, value) TILE(name, FROM(0), READ(a, A, 0), value)
#define TILE_2(name, value) TILE(name, FROM(0) FROM(1), READ(a, A, 0) READ(b, B, 1), value)
#define TILE_3(name, value) \
    TILE(name, FROM(0) FROM(1) FROM(2), READ(a, A, 0) READ(b, B, 1) READ(c, C, 2), value)

/* clang-format off */
TILE_1(copy, a)
TILE_3(select, vf_blend(A, b, c))
TILE_2(and, A & B)
TILE_2(or, A | B)
TILE_2(xor, A ^ B)
TILE_1(not, ~A)
TILE_1(float_from_int, vf_from_int(A))
TILE_1(int_from_float, vi_from_float(a))
TILE_1(float_from_bool, A & (vi)vf_set(1))
TILE_1(int_from_bool, A & 1)
TILE_1(bool_from_float, a != 0.f)
TILE_1(bool_from_int, A != 0)
TILE_2(equal, a == b)
TILE_2(not_equal, a != b)
TILE_2(less, a < b)
TILE_2(less_equal, a <= b)
TILE_2(equal_int, A == B)
TILE_2(not_equal_int, A != B)
TILE_2(less_int, A < B)
TILE_2(less_equal_int, A <= B)
TILE_1(isnan, a != a)
TILE_1(isinf, vf_abs(a) == __builtin_inff())
TILE_1(isfinite, vf_abs(a) < __builtin_inff())
TILE_2(add, a + b)
TILE_2(subtract, a - b)
TILE_2(multiply, a * b)
TILE_3(multiply_add, a * b + c)
TILE_2(add_relu, vf_at_least(a + b, vf_set(0)))
TILE_2(maximum, vf_maximum(a, b))
TILE_2(minimum, vf_minimum(a, b))
TILE_1(negative, -a)
TILE_1(abs, vf_abs(a))
TILE_1(sign, vf_blend(a != a, a, vf_from_int((a < 0.f) - (a > 0.f))))
TILE_1(floor, vf_floor(a))
TILE_1(ceil, vf_ceil(a))
TILE_1(round, vf_round(a))
TILE_1(square, a * a)
TILE_3(clip, vf_at_most(vf_at_least(a, b), c))
TILE_1(relu, vf_at_least(a, vf_set(0)))
TILE_2(relu_grad, A & (b > 0.f))
TILE_1(relu6, vf_at_most(vf_at_least(a, vf_set(0)), vf_set(6)))
TILE_2(relu6_grad, A & (b > 0.f) & (b < 6.f))
TILE_2(leaky_relu, vf_blend(a > 0.f, a, a * b))
TILE_2(tanh_grad, a - a * (b * b))
TILE_2(sigmoid_grad, a * (b - b * b))
TILE_2(add_int, (vu)A + (vu)B)
TILE_2(subtract_int, (vu)A - (vu)B)
TILE_2(multiply_int, (vu)A * (vu)B)
TILE_2(maximum_int, vf_blend(A > B, a, b))
TILE_2(minimum_int, vf_blend(A < B, a, b))
TILE_1(abs_int, (vu)(A ^ (A >> 31)) - (vu)(A >> 31))
TILE_1(sign_int, (A < 0) - (A > 0))
TILE_2(left_shift_int, ((vu)A << (B & 31)) & (vu)((vu)B < 32u))
TILE_2(right_shift_int, A >> (vi)vf_blend((vi)((vu)B < 32u), b, (vf)vi_set(31)))

/* Rounded to the 8 significant bits of bfloat16, as a float and as the upper half of one. */
TILE_1(round_bfloat16, vf_bfloat16(a))
TILE_1(to_bfloat16, (vu)vf_bfloat16(a) >> 16)
TILE_1(from_bfloat16, (vu)A << 16)

TILE_2(divide, a / b)
TILE_1(sqrt, vf_sqrt(a))
TILE_1(rsqrt, 1.f / vf_sqrt(a))
TILE_1(reciprocal, 1.f / a)
TILE_1(exp, vf_exp(a))
TILE_1(expm1, vf_expm1(a))
TILE_1(log, vf_log(a))
TILE_1(log1p, vf_log1p(a))
TILE_1(sin, vf_sin(a))
TILE_1(cos, vf_cos(a))
TILE_1(erf, vf_erf(a))
TILE_1(tanh, vf_tanh(a))
TILE_1(sigmoid, vf_sigmoid(a))
TILE_1(softplus, vf_softplus(a))
TILE_2(elu, vf_blend(a > 0.f, a, b * vf_expm1(vf_at_most(a, vf_set(0)))))
TILE_2(sigmoid_cross_entropy, /* target a, logits b */
       (vf_at_least(b, vf_set(0)) - b * a) + vf_log1p_finite(vf_exp(-vf_abs(b))))
TILE_2(power, vf_pow(a, b))
TILE_1(exp2, vf_exp2(a))
TILE_1(tan, vf_tan(a))
TILE_1(arcsin, vf_asin(a))
TILE_1(arccos, vf_acos(a))
TILE_1(arctan, vf_atan(a))
TILE_2(arctan2, vf_atan2(a, b))
TILE_1(sinh, vf_sinh(a))
TILE_1(cosh, vf_cosh(a))
TILE_1(arcsinh, vf_asinh(a))
TILE_1(arccosh, vf_acosh(a))
TILE_1(arctanh, vf_atanh(a))
TILE_1(erfinv, vf_erfinv(a))
TILE_1(gelu, vf_gelu(a))
TILE_1(gelu_tanh, vf_gelu_tanh(a))
TILE_1(silu, vf_silu(a))
TILE_2(gelu_grad, a * vf_gelu_grad(b))
TILE_2(gelu_tanh_grad, a * vf_gelu_tanh_grad(b))
TILE_2(silu_grad, a * vf_silu_grad(b))
/* clang-format on */

/* The remainder of a / b with the sign of b, and the quotient rounded down. Both must be exact, so
 * they go lane by lane. */
static int signs_differ(float m, float b) { return m != 0 && (m < 0) != (b < 0); }
static float modulo(float a, float b) {
    float m = fmodf(a, b);
    return m == 0 ? copysignf(0, b) : m + (signs_differ(m, b) ? b : 0);
}
static float floor_quotient(float a, float b) {
    float m = fmodf(a, b);
    return b == 0 ? a / b : nearbyintf((a - m) / b) - (float)signs_differ(m, b);
}
/* Whole numbers: 0 for a division by 0, as numpy says. */
static int32_t floor_quotient_int(int64_t a, int64_t b) {
    if (b == 0) return 0;
    return (int32_t)(a / b - (a % b != 0 && (a < 0) != (b < 0)));
}
static int32_t modulo_int(int64_t a, int64_t b) {
    return b == 0 ? 0 : (int32_t)(a - b * floor_quotient_int(a, b));
}
static int32_t divisor(int32_t a, int32_t b) {
    uint32_t x = a < 0 ? -(uint32_t)a : (uint32_t)a, y = b < 0 ? -(uint32_t)b : (uint32_t)b;
    while (y) {
        uint32_t rest = x % y;
        x = y;
        y = rest;
    }
    return (int32_t)x;
}
static int32_t multiple(int32_t a, int32_t b) {
    uint32_t d = (uint32_t)divisor(a, b), x = a < 0 ? -(uint32_t)a : (uint32_t)a;
    return d ? (int32_t)(x / d * (b < 0 ? -(uint32_t)b : (uint32_t)b)) : 0;
}
#define LANES(type, call)                         \
    ({                                            \
        type y;                                   \
        for (int i = 0; i < VL; i++) y[i] = call; \
        y;                                        \
    })
TILE_2(floor_divide, LANES(vf, floor_quotient(a[i], b[i])))
TILE_2(mod, LANES(vf, modulo(a[i], b[i])))
TILE_2(floor_divide_int, LANES(vi, floor_quotient_int(A[i], B[i])))
TILE_2(mod_int, LANES(vi, modulo_int(A[i], B[i])))
TILE_2(gcd_int, LANES(vi, divisor(A[i], B[i])))
TILE_2(lcm_int, LANES(vi, multiple(A[i], B[i])))
TILE_2(nextafter, LANES(vf, nextafterf(a[i], b[i])))

#define NUMBER(name) number_##name,
#define FUNCTION(name) tile_##name,
enum { ZK_TILES(NUMBER) };
static const tile_fn functions[] = {ZK_TILES(FUNCTION)};

/* An input: element i of the chain reads element i / repeat % period. */
typedef struct {
    int64_t repeat, period;
    int steady; /* the same in every tile: it is spread only once */
} pattern;

/* The decoded instruction. Registers: outputs, inputs, numbers, values in between. */
typedef struct {
    const zk_call *c;
    int64_t n, tile, piece; /* elements in all, in a tile, in a task */
    int numbers, rows, registers;
    const double *bits;
    pattern in[ZK_CHAIN_MAX_INPUTS];
    struct {
        int16_t tile, d, s[3];
    } code[ZK_CHAIN_MAX_ROWS];
    uint8_t late[ZK_CHAIN_MAX_REGISTERS]; /* outputs that are written when the tile is done */
} chain;

/* The registers of one thread: where each is at the moment. */
typedef struct {
    const chain *h;
    float *memory;
    float *at[ZK_CHAIN_MAX_REGISTERS];
    int64_t step[ZK_CHAIN_MAX_REGISTERS];
} bench;

static int64_t size_of(int dtype) {
    return dtype == ZK_U8 || dtype == ZK_BOOL ? 1 : dtype == ZK_U16 ? 2 : 4;
}
static float *own_memory(const bench *b, int reg) { return b->memory + (int64_t)reg * STRIDE; }

/* Narrow values become 32 bits wide: bools masks, others whole numbers. */
static void widen(int32_t *to, const void *narrow, int64_t n, int dtype) {
    const uint8_t *from = narrow;
    const uint16_t *shorts = narrow;
    if (dtype == ZK_U16)
        for (int64_t i = 0; i < n; i++) to[i] = shorts[i];
    else if (dtype == ZK_BOOL)
        for (int64_t i = 0; i < n; i++) to[i] = -(from[i] != 0);
    else
        for (int64_t i = 0; i < n; i++) to[i] = from[i];
}

/* Elements [at, at + n) of an input go to `to`. */
static void spread(char *to, const char *from, int64_t size, pattern p, int64_t at, int64_t n) {
    int64_t place = at / p.repeat % p.period, skip = at % p.repeat;
    while (n > 0) {
        int64_t run = zk_min(p.repeat == 1 ? p.period - place : p.repeat - skip, n);
        const char *source = from + place * size;
        if (p.repeat == 1) memcpy(to, source, (size_t)(run * size));
        else if (size == 1) memset(to, *source, (size_t)run);
        else
            for (int64_t i = 0; i < run; i++) memcpy(to + size * i, source, (size_t)size);
        place = p.repeat == 1 || place + 1 == p.period ? 0 : place + 1;
        skip = 0;
        to += run * size;
        n -= run;
    }
}

static void fill_register(const bench *b, int k, int64_t at, int64_t n) {
    const zk_call *c = b->h->c;
    pattern p = b->h->in[k];
    int reg = c->nout + k, dtype = c->a[reg].dtype;
    float *memory = own_memory(b, reg);
    int64_t size = size_of(dtype);
    if (size == 4) {
        spread((char *)memory, c->p[reg], 4, p, at, n);
    } else if (p.repeat == 1 && at % p.period + n <= p.period) {
        widen((int32_t *)memory, (const char *)c->p[reg] + at % p.period * size, n, dtype);
    } else {
        uint16_t narrow[ROOM];
        spread((char *)narrow, c->p[reg], size, p, at, n);
        widen((int32_t *)memory, narrow, n, dtype);
    }
}

/* One value for the whole tile. */
static void fill_vector(bench *b, int reg, const void *value) {
    float *memory = own_memory(b, reg);
    for (int i = 0; i < VL; i++) memcpy(memory + i, value, 4);
    b->step[reg] = 0;
}

/* Makes elements [at, at + n) of input k readable: where they lie, or copied to the register. The
 * thread's piece begins at `start`. */
static void open_input(bench *b, int k, int64_t at, int64_t n, int64_t start) {
    const zk_call *c = b->h->c;
    pattern p = b->h->in[k];
    int reg = c->nout + k, wide = size_of(c->a[reg].dtype) == 4;
    int64_t place = at / p.repeat % p.period;
    b->step[reg] = VL;
    b->at[reg] = own_memory(b, reg);
    if (p.steady) {
        if (at == start) fill_register(b, k, 0, b->h->tile);
    } else if (wide && p.repeat == 1 && place + n <= p.period && n % VL == 0) {
        b->at[reg] = (float *)c->p[reg] + place;
    } else if (at / p.repeat == (at + n - 1) / p.repeat) {
        fill_register(b, k, at, 1);
        fill_vector(b, reg, own_memory(b, reg));
    } else {
        fill_register(b, k, at, n);
    }
}

static void open_output(bench *b, int reg, int64_t at, int64_t n) {
    float *p = b->h->c->p[reg];
    b->at[reg] = b->h->late[reg] || n % VL ? own_memory(b, reg) : p + at;
    b->step[reg] = VL;
}

static void close_output(const bench *b, int reg, int64_t at, int64_t n) {
    const zk_call *c = b->h->c;
    const int32_t *from = (const int32_t *)own_memory(b, reg);
    int dtype = c->a[reg].dtype;
    uint8_t *bytes = (uint8_t *)c->p[reg] + at;
    uint16_t *shorts = (uint16_t *)c->p[reg] + at;
    if (size_of(dtype) == 4) {
        /* In a damaged program the output may lie in this very memory. */
        if (b->at[reg] == (const float *)from)
            memmove((float *)c->p[reg] + at, from, 4 * (size_t)n);
    } else if (dtype == ZK_U16) {
        for (int64_t i = 0; i < n; i++) shorts[i] = (uint16_t)from[i];
    } else if (dtype == ZK_BOOL) {
        for (int64_t i = 0; i < n; i++) bytes[i] = from[i] & 1;
    } else {
        for (int64_t i = 0; i < n; i++) bytes[i] = (uint8_t)from[i];
    }
}

static void run_rows(const bench *b, int64_t n) {
    const chain *h = b->h;
    for (int i = 0; i < h->rows; i++) {
        row r = {.d = b->at[h->code[i].d]};
        for (int k = 0; k < 3; k++) {
            r.s[k] = b->at[h->code[i].s[k]];
            r.step[k] = b->step[h->code[i].s[k]];
        }
        functions[h->code[i].tile](&r, (n + VL - 1) / VL * VL);
    }
}

static void run_piece(void *ctx, int64_t task, int thread) {
    const chain *h = ctx;
    const zk_call *c = h->c;
    bench b; /* not cleared: it is large */
    b.h = h;
    b.memory = (float *)c->scratch + (int64_t)thread * h->registers * STRIDE;
    int64_t start = task * h->piece, end = zk_min(start + h->piece, h->n);
    for (int reg = c->nout + c->nin; reg < h->registers; reg++) {
        b.at[reg] = own_memory(&b, reg);
        b.step[reg] = VL;
    }
    for (int i = 0; i < h->numbers; i++) {
        int32_t bits = (int32_t)h->bits[i];
        fill_vector(&b, c->nout + c->nin + i, &bits);
    }
    for (int64_t at = start; at < end; at += h->tile) {
        int64_t n = zk_min(h->tile, end - at);
        for (int k = 0; k < c->nin; k++) open_input(&b, k, at, n, start);
        for (int reg = 0; reg < c->nout; reg++) open_output(&b, reg, at, n);
        run_rows(&b, n);
        for (int reg = 0; reg < c->nout; reg++) close_output(&b, reg, at, n);
    }
}

static int64_t common_multiple(int64_t a, int64_t b) {
    int64_t x = a, y = b;
    while (y) {
        int64_t rest = x % y;
        x = y;
        y = rest;
    }
    return a / x * b;
}

/* Tiles hold whole periods of the inputs that repeat often, so that these are spread only once. */
static void choose_tile(chain *h) {
    int64_t whole = PANEL;
    h->tile = h->registers - h->numbers <= 8 ? ROOM : ROOM / 2;
    for (int k = 0; k < h->c->nin; k++) {
        pattern *p = h->in + k;
        int64_t length = p->repeat * p->period;
        int64_t both = length < h->n && p->period > 1 ? common_multiple(whole, length) : ROOM + 1;
        p->steady = both <= ROOM;
        if (p->steady) whole = both;
    }
    h->tile = zk_max(h->tile / whole * whole, whole);
    h->tile = zk_min(h->tile, zk_ceil(h->n, whole) * whole);
}

/* An output in the memory of an input must wait, unless the row that makes it is the last. */
static int must_wait(const chain *h, int reg) {
    const zk_call *c = h->c;
    if (size_of(c->a[reg].dtype) < 4) return 1;
    if (h->code[h->rows - 1].d == reg) return 0;
    for (int k = 0; k < c->nin; k++)
        if (c->p[reg] == c->p[c->nout + k]) return 1;
    return 0;
}

/* Elements of a task; what is computed for an element does not depend on it. */
static void choose_piece(chain *h) {
    int64_t weight = h->c->nin + h->c->nout;
    for (int i = 0; i < h->rows; i++) weight += h->code[i].tile < number_divide ? 1 : 10;
    int64_t tasks = zk_min(h->n * weight / SHARE, 4 * (int64_t)h->c->threads);
    h->piece = zk_ceil(zk_ceil(h->n, zk_max(tasks, 1)), h->tile) * h->tile;
}

/* How many numbers, rows and registers there are. */
static void count(chain *h, const zk_call *c) {
    h->c = c;
    h->numbers = (int)c->attr[ZK_CHAIN_NUMBERS];
    h->rows = (int)c->attr[ZK_CHAIN_ROWS];
    h->registers = c->nout + c->nin + h->numbers + (int)c->attr[ZK_CHAIN_BETWEEN];
}

static void decode(chain *h) {
    const zk_call *c = h->c;
    const double *a = c->attr + ZK_CHAIN_HEAD;
    for (int k = 0; k < c->nin; k++, a += 2) {
        int64_t repeat = (int64_t)a[0], period = (int64_t)a[1];
        h->in[k] = (pattern){period == 1 ? h->n : repeat, period, 0};
    }
    h->bits = a;
    a += h->numbers;
    for (int i = 0; i < h->rows; i++, a += ZK_CHAIN_ROW) {
        h->code[i].tile = (int16_t)a[ZK_CHAIN_TILE];
        h->code[i].d = (int16_t)a[ZK_CHAIN_TARGET];
        for (int k = 0; k < ZK_CHAIN_SOURCES; k++)
            h->code[i].s[k] = (int16_t)a[ZK_CHAIN_SOURCE + k];
    }
}

/* chain: out y0(n) y1(n)...  in x0 x1..., each broadcast to n by its pattern. Any of float32,
 * int32, uint16, uint8, bool. An output may take the memory of an input of n elements of its size.
 */
static void run_chain(const zk_call *c) {
    chain h; /* not cleared: it is large */
    count(&h, c);
    h.n = zk_count(c->a);
    if (h.n == 0) return;
    decode(&h);
    choose_tile(&h);
    choose_piece(&h);
    for (int reg = 0; reg < c->nout; reg++) h.late[reg] = (uint8_t)must_wait(&h, reg);
    zk_parallel(c, zk_ceil(h.n, h.piece), run_piece, &h);
}

static int64_t chain_scratch(const zk_call *c) {
    chain h;
    count(&h, c);
    return (int64_t)c->threads * h.registers * STRIDE * 4;
}

const zk_kernel ZK_TABLE(elementwise)[] = {{"chain", run_chain, chain_scratch}, {0}};
