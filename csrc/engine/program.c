/* A program: tables of instructions, arguments and attribute numbers, checked once and then run one
 * by one. A loop's body is a program too, in memory of the loop's arguments and scratch. Knows
 * nothing of what kernels do. Memory comes from outside, as spaces. */
#define _GNU_SOURCE
#include "cpu.h"
#include "float_mode.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_ARGS 4096 /* of one instruction */

struct zk_program {
    int64_t ninstr;
    zk_instr *instrs;
    const zk_kernel **kernels; /* row of each instruction, NULL for the host and for loops */
    zk_arg *args;
    double *attrs;
    int64_t *space_bytes;
    const zk_program **bodies;
    int nspaces, nbodies, threads, needs_host;
};

static const struct {
    const char *name;
    int64_t size;
} dtypes[] = {{"float32", 4}, {"float64", 8},  {"int32", 4},  {"int64", 8},  {"uint8", 1},
              {"bool", 1},    {"int8", 1},     {"int16", 2},  {"uint16", 2}, {"uint32", 4},
              {"uint64", 8},  {"bfloat16", 2}, {"float16", 2}};
#define NDTYPES ((int)(sizeof dtypes / sizeof *dtypes))

const char *zk_dtype_name(int i) { return i < 0 || i >= NDTYPES ? NULL : dtypes[i].name; }
int64_t zk_dtype_size(int i) { return i < 0 || i >= NDTYPES ? 0 : dtypes[i].size; }

static zk_call call_of(const zk_instr *in, const zk_arg *args, const double *attrs, int threads) {
    return (zk_call){.a = args + in->arg0,
                     .attr = attrs + in->attr0,
                     .nattr = in->nattr,
                     .nout = in->nout,
                     .nin = in->nin,
                     .threads = threads};
}

/* Bytes of an argument, or -1 when a dimension is negative or the product overflows. */
static int64_t bytes_of(const zk_arg *a) {
    if (a->ndim < 0 || a->ndim > ZK_DIMS || !zk_dtype_size(a->dtype)) return -1;
    int64_t n = zk_dtype_size(a->dtype);
    for (int i = 0; i < a->ndim; i++)
        if (a->dims[i] < 0 || __builtin_mul_overflow(n, a->dims[i], &n)) return -1;
    return n;
}

/* ---- Loops ----------------------------------------------------------------------------------- */

typedef struct {
    int64_t body, states, sequences, length, reverse, arena;
    const double *argument; /* of each space of the body, from the one behind the arena on */
    int64_t nspaces;        /* of the body, arena included */
} loop;

/* A whole number that is not negative, or -1. */
static int64_t whole(double x) { return x >= 0 && x < 1e15 && x == floor(x) ? (int64_t)x : -1; }

static loop loop_of(const zk_call *c) {
    if (c->nattr < ZK_LOOP_SPACES) return (loop){.body = -1, .states = -1};
    const double *n = c->attr;
    return (loop){whole(n[ZK_LOOP_BODY]),      whole(n[ZK_LOOP_STATES]),
                  whole(n[ZK_LOOP_SEQUENCES]), whole(n[ZK_LOOP_LENGTH]),
                  whole(n[ZK_LOOP_REVERSE]),   whole(n[ZK_LOOP_ARENA]),
                  n + ZK_LOOP_SPACES,          c->nattr - ZK_LOOP_SPACES + 1};
}

/* Where state i lies among the states, or with i = all of them their size; -1 on overflow. */
static int64_t state_offset(const zk_call *c, int64_t i) {
    int64_t at = 0;
    for (int64_t j = 0; j < i; j++) {
        int64_t n = bytes_of(c->a + c->nout + j);
        if (n < 0 || n > INT64_MAX - 63 || __builtin_add_overflow(at, zk_align(n), &at)) return -1;
    }
    return at;
}

/* scratch: pointers to the body's spaces, its arena, states before and states after a step */
static int64_t loop_scratch(const zk_call *c) {
    loop l = loop_of(c);
    if (l.states < 0 || l.states > c->nin || l.arena < 0) return -1;
    int64_t n = state_offset(c, l.states), head = zk_align(l.nspaces * 8) + zk_align(l.arena);
    if (n < 0 || __builtin_mul_overflow(n, 2, &n) || __builtin_add_overflow(n, head, &n)) return -1;
    return n;
}

/* Bytes that a step sees of an argument. */
static int64_t bytes_seen(const zk_call *c, const loop *l, int64_t j) {
    const zk_arg *a = c->a + j;
    int64_t input = j - c->nout;
    if (j < l->states) return bytes_of(c->a + c->nout + j);
    if (j >= c->nout && (input < l->states || input >= l->states + l->sequences))
        return bytes_of(a);
    return a->ndim && a->dims[0] == l->length && l->length ? bytes_of(a) / l->length : 0;
}

static const char *bad_spaces(const zk_call *c, const loop *l, const zk_program *body) {
    if (l->nspaces != body->nspaces) return "a loop gives its body too few or too many spaces";
    if (l->arena < body->space_bytes[0]) return "the arena of a loop's body is too small";
    for (int64_t s = 1; s < l->nspaces; s++) {
        int64_t j = whole(l->argument[s - 1]);
        if (j < 0 || j >= c->nout + c->nin) return "a space of a loop's body is no argument";
        if (l->length && bytes_seen(c, l, j) < body->space_bytes[s])
            return "a space of a loop's body is too small";
    }
    return NULL;
}

static const char *bad_loop(const zk_program *p, const zk_call *c) {
    loop l = loop_of(c);
    if (l.body < 0 || l.body >= p->nbodies) return "a loop has no body";
    if (p->bodies[l.body]->needs_host) return "the body of a loop needs the host";
    if (l.states < 0 || l.sequences < 0 || l.length < 0 || l.reverse < 0 || l.arena < 0)
        return "a loop has a bad number";
    if (l.states > c->nout || l.states > c->nin || l.sequences > c->nin - l.states)
        return "a loop has too few arguments";
    for (int64_t i = 0; i < l.states; i++) {
        int64_t last = bytes_of(c->a + i);
        if (last && last != bytes_of(c->a + c->nout + i)) return "a state changes its size";
    }
    return bad_spaces(c, &l, p->bodies[l.body]);
}

/* Where argument j is at step t, the k-th that runs. The last states go where they are wanted. */
static void *place(const zk_call *c, const loop *l, char *states, int64_t j, int64_t k, int64_t t) {
    int64_t input = j - c->nout, half = state_offset(c, l->states);
    if (j < l->states) {
        int wanted = k == l->length - 1 && bytes_of(c->a + j);
        return wanted ? c->p[j] : states + k % 2 * half + state_offset(c, j);
    }
    if (input >= 0 && input < l->states && k)
        return states + (k + 1) % 2 * half + state_offset(c, input);
    if (j < c->nout || (input >= l->states && input < l->states + l->sequences))
        return (char *)c->p[j] + t * (bytes_of(c->a + j) / l->length);
    return c->p[j];
}

static int64_t run_from(const zk_program *p, void *const *spaces, int64_t from, zk_result *result,
                        double *seconds);

static void run_loop(const zk_call *c, const zk_program *const *bodies) {
    loop l = loop_of(c);
    void **spaces = (void **)c->scratch;
    char *arena = c->scratch + zk_align(l.nspaces * 8), *states = arena + zk_align(l.arena);
    spaces[0] = arena;
    for (int64_t k = 0; k < l.length; k++) {
        int64_t t = l.reverse ? l.length - 1 - k : k;
        for (int64_t s = 1; s < l.nspaces; s++)
            spaces[s] = place(c, &l, states, (int64_t)l.argument[s - 1], k, t);
        if (run_from(bodies[l.body], spaces, 0, c->result, NULL) < 0) return;
    }
    for (int64_t i = 0; !l.length && i < l.states; i++)
        memcpy(c->p[i], c->p[c->nout + i], (size_t)bytes_of(c->a + i));
}

/* ---- Checks ---------------------------------------------------------------------------------- */

int64_t zk_scratch_bytes(const zk_instr *in, const zk_arg *args, const double *attrs, int threads) {
    const zk_kernel *k = zk_kernel_at(in->kernel);
    zk_call c = call_of(in, args, attrs, threads);
    if (in->kernel == ZK_LOOP) return loop_scratch(&c);
    return k && k->scratch ? k->scratch(&c) : 0;
}

static const char *bad_arg(const zk_arg *a, const int64_t *space_bytes, int nspaces) {
    int64_t n = bytes_of(a), end;
    if (n < 0) return "an argument has a bad shape or dtype";
    if (a->space < 0 || a->space >= nspaces) return "an argument lies in an unknown space";
    if (a->offset < 0 || __builtin_add_overflow(a->offset, n, &end) ||
        (n && end > space_bytes[a->space]))
        return "an argument ends outside its space";
    return a->offset % zk_dtype_size(a->dtype) ? "an argument is not aligned" : NULL;
}

static const char *bad_instr(const zk_instr *in, int64_t nargs, int64_t nattrs) {
    if (in->kernel < ZK_LOOP || (in->kernel >= 0 && !zk_kernel_at(in->kernel)))
        return "unknown kernel";
    if (in->nout < 0 || in->nin < 0 || in->arg0 < 0 || in->arg0 > nargs - in->nout - in->nin)
        return "arguments outside the table";
    if (in->nout + in->nin > MAX_ARGS) return "too many arguments";
    if (in->attr0 < 0 || in->nattr < 0 || in->attr0 > nattrs - in->nattr)
        return "attributes outside the table";
    return NULL;
}

static const char *check(const zk_program *p, int64_t nargs, int64_t nattrs,
                         const int64_t *space_bytes, int64_t *where) {
    for (int64_t i = 0; i < p->ninstr; i++) {
        const zk_instr *in = p->instrs + i;
        *where = i;
        const char *bad = bad_instr(in, nargs, nattrs);
        for (int j = 0; !bad && j < in->nout + in->nin; j++)
            bad = bad_arg(p->args + in->arg0 + j, space_bytes, p->nspaces);
        zk_call c = call_of(in, p->args, p->attrs, p->threads);
        if (!bad && in->kernel == ZK_LOOP) bad = bad_loop(p, &c);
        if (bad) return bad;
        int64_t scratch = zk_scratch_bytes(in, p->args, p->attrs, p->threads);
        if (in->scratch < 0 || scratch < 0 ||
            (scratch && (p->nspaces < 1 || in->scratch > space_bytes[0] - scratch)))
            return "scratch memory outside the arena";
        if (scratch && in->scratch % 64) return "scratch memory is not aligned";
    }
    return NULL;
}

static void *copy(const void *from, int64_t n, size_t size) {
    void *to = malloc((size_t)n * size + 1);
    if (to && n) memcpy(to, from, (size_t)n * size);
    return to;
}

void zk_program_free(zk_program *p) {
    if (!p) return;
    free(p->instrs);
    free(p->kernels);
    free(p->args);
    free(p->attrs);
    free(p->space_bytes);
    free(p->bodies);
    free(p);
}

zk_program *zk_program_new(const zk_instr *instrs, int64_t ninstr, const zk_arg *args,
                           int64_t nargs, const double *attrs, int64_t nattrs,
                           const int64_t *space_bytes, int nspaces, const zk_program *const *bodies,
                           int nbodies, int threads, char *err, int errlen) {
    zk_program *p = calloc(1, sizeof *p);
    const char *bad = "out of memory";
    int64_t where = -1;
    if (!p) goto fail;
    *p = (zk_program){.ninstr = ninstr,
                      .nspaces = nspaces,
                      .nbodies = nbodies,
                      .threads = threads < 1 ? 1 : threads};
    p->instrs = copy(instrs, ninstr, sizeof *instrs);
    p->args = copy(args, nargs, sizeof *args);
    p->attrs = copy(attrs, nattrs, sizeof *attrs);
    p->kernels = malloc((size_t)ninstr * sizeof *p->kernels + 1);
    p->space_bytes = copy(space_bytes, nspaces, sizeof *space_bytes);
    p->bodies = copy(bodies, nbodies, sizeof *bodies);
    if (!p->instrs || !p->args || !p->attrs || !p->kernels || !p->space_bytes || !p->bodies)
        goto fail;
    if ((bad = check(p, nargs, nattrs, space_bytes, &where))) goto fail;
    for (int64_t i = 0; i < ninstr; i++) {
        p->kernels[i] = zk_kernel_at(instrs[i].kernel);
        p->needs_host |= instrs[i].kernel == ZK_HOST;
    }
    return p;
fail:
    snprintf(err, (size_t)errlen, "instruction %lld: %s", (long long)where, bad);
    zk_program_free(p);
    return NULL;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int64_t run_from(const zk_program *p, void *const *spaces, int64_t from, zk_result *result,
                        double *seconds) {
    void *ptr[MAX_ARGS];
    *result = (zk_result){-1, NULL};
    for (int64_t i = from; i < p->ninstr; i++) {
        const zk_instr *in = p->instrs + i;
        if (in->kernel == ZK_HOST) return i;
        zk_call c = call_of(in, p->args, p->attrs, p->threads);
        for (int j = 0; j < in->nout + in->nin; j++)
            ptr[j] = (char *)spaces[c.a[j].space] + c.a[j].offset;
        c.p = ptr;
        c.scratch = (char *)spaces[0] + in->scratch;
        c.result = result;
        double start = seconds ? now() : 0;
        if (p->kernels[i]) p->kernels[i]->run(&c);
        else run_loop(&c, p->bodies);
        if (seconds) seconds[i] += now() - start;
        if (result->message) {
            result->instr = i;
            return -1;
        }
    }
    return p->ninstr;
}

/* In the mode that flushes: gradients that vanish over many steps fall below 2^-126, and there one
 * multiplication takes 150 cycles (a step of a GRU over 200 steps: 1.2 s in place of 0.05). */
int64_t zk_run(const zk_program *p, void *const *spaces, int64_t from, zk_result *result,
               double *seconds) {
    const uint64_t mode = float_mode();
    set_float_mode(mode | FLOAT_FLUSH);
    const int64_t reached = run_from(p, spaces, from, result, seconds);
    set_float_mode(mode);
    return reached;
}

int zk_slice(const char *name, void *dst, const void *src, int64_t n, double number, int threads) {
    const zk_kernel *k = NULL;
    for (int i = 0; (k = zk_kernel_at(i)) && strcmp(k->name, name);) i++;
    if (!k) return -1;
    zk_arg args[2] = {{.ndim = 1, .dims = {n}}, {.ndim = 1, .dims = {n}}};
    void *ptr[2] = {dst, (void *)(uintptr_t)src};
    zk_result result = {-1, NULL};
    zk_call c = {.p = ptr,
                 .a = args,
                 .attr = &number,
                 .nattr = 1,
                 .nout = 1,
                 .nin = 1,
                 .threads = threads,
                 .result = &result};
    k->run(&c);
    return result.message ? -1 : 0;
}
