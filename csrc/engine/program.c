/* A program: tables of instructions, arguments and attribute numbers, checked once and then run in
 * one loop. Knows nothing of what kernels do. Memory comes from outside, as spaces. */
#define _GNU_SOURCE
#include "cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_ARGS 4096 /* of one instruction */

struct zk_program {
    int64_t ninstr;
    zk_instr *instrs;
    const zk_kernel **kernels; /* row of each instruction, NULL for the host */
    zk_arg *args;
    double *attrs;
    int nspaces, threads;
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

int64_t zk_scratch_bytes(const zk_instr *in, const zk_arg *args, const double *attrs, int threads) {
    const zk_kernel *k = zk_kernel_at(in->kernel);
    if (!k || !k->scratch) return 0;
    zk_call c = call_of(in, args, attrs, threads);
    return k->scratch(&c);
}

/* Bytes of an argument, or -1 when a dimension is negative or the product overflows. */
static int64_t bytes_of(const zk_arg *a) {
    if (a->ndim < 0 || a->ndim > ZK_DIMS || !zk_dtype_size(a->dtype)) return -1;
    int64_t n = zk_dtype_size(a->dtype);
    for (int i = 0; i < a->ndim; i++)
        if (a->dims[i] < 0 || __builtin_mul_overflow(n, a->dims[i], &n)) return -1;
    return n;
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
    if (in->kernel < -1 || (in->kernel >= 0 && !zk_kernel_at(in->kernel))) return "unknown kernel";
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
    free(p);
}

zk_program *zk_program_new(const zk_instr *instrs, int64_t ninstr, const zk_arg *args,
                           int64_t nargs, const double *attrs, int64_t nattrs,
                           const int64_t *space_bytes, int nspaces, int threads, char *err,
                           int errlen) {
    zk_program *p = calloc(1, sizeof *p);
    const char *bad = "out of memory";
    int64_t where = -1;
    if (!p) goto fail;
    *p = (zk_program){.ninstr = ninstr, .nspaces = nspaces, .threads = threads < 1 ? 1 : threads};
    p->instrs = copy(instrs, ninstr, sizeof *instrs);
    p->args = copy(args, nargs, sizeof *args);
    p->attrs = copy(attrs, nattrs, sizeof *attrs);
    p->kernels = malloc((size_t)ninstr * sizeof *p->kernels + 1);
    if (!p->instrs || !p->args || !p->attrs || !p->kernels) goto fail;
    if ((bad = check(p, nargs, nattrs, space_bytes, &where))) goto fail;
    for (int64_t i = 0; i < ninstr; i++) p->kernels[i] = zk_kernel_at(instrs[i].kernel);
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

int64_t zk_run(const zk_program *p, void *const *spaces, int64_t from, zk_result *result,
               double *seconds) {
    void *ptr[MAX_ARGS];
    *result = (zk_result){-1, NULL};
    for (int64_t i = from; i < p->ninstr; i++) {
        const zk_instr *in = p->instrs + i;
        if (!p->kernels[i]) return i;
        zk_call c = call_of(in, p->args, p->attrs, p->threads);
        for (int j = 0; j < in->nout + in->nin; j++)
            ptr[j] = (char *)spaces[c.a[j].space] + c.a[j].offset;
        c.p = ptr;
        c.scratch = (char *)spaces[0] + in->scratch;
        c.result = result;
        double start = seconds ? now() : 0;
        p->kernels[i]->run(&c);
        if (seconds) seconds[i] += now() - start;
        if (result->message) {
            result->instr = i;
            return -1;
        }
    }
    return p->ninstr;
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
