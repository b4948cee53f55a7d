/* Finds and loads MKL's single library at run time; the only file that knows MKL. In: the path of
 * libmkl_rt, matrices. Out: products on the calling thread: MKL's own threads are never used, so
 * that no second thread pool lives beside ours. */
#define _GNU_SOURCE
#include "mkl.h"
#include <dlfcn.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include "zk.h"

enum { SEQUENTIAL = 1, LP64 = 0, ROW_MAJOR = 101, AS_IS = 111, TURNED = 112 };
enum { AUTO, MKL, NATIVE };

typedef int (*layer_setter)(int);
typedef void (*sgemm_call)(int layout, int turn_a, int turn_b, int m, int n, int k, float alpha,
                           const float *a, int lda, const float *b, int ldb, float beta, float *c,
                           int ldc);

static sgemm_call sgemm;
static int choice;

/* Where MKL beats our kernels: Intel's CPUs, by instruction set, from this many rows, columns and
 * steps on. On AMD's CPUs it won at no shape that was measured. */
static const struct {
    const char *isa;
    int64_t m, n, k;
} wins[] = {{"avx512", 32, 32, 32}, {"avx2", 128, 128, 128}};

int zk_mkl_load(const char *path) {
    if (sgemm) return 0;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return -1;
    layer_setter interface = (layer_setter)dlsym(library, "MKL_Set_Interface_Layer");
    layer_setter threading = (layer_setter)dlsym(library, "MKL_Set_Threading_Layer");
    sgemm_call found = (sgemm_call)dlsym(library, "cblas_sgemm");
    if (!interface || !threading || !found) return -1;
    interface(LP64);
    threading(SEQUENTIAL);
    sgemm = found;
    return 0;
}

int zk_mkl_loaded(void) { return sgemm != NULL; }

void zk_set_gemm(int wanted) { choice = wanted; }

static int is_intel(void) {
#if defined(__x86_64__)
    return __builtin_cpu_is("intel");
#else
    return 0;
#endif
}

static int table_says(int64_t m, int64_t n, int64_t k) {
    if (!is_intel()) return 0;
    for (size_t i = 0; i < sizeof wins / sizeof *wins; i++)
        if (!strcmp(wins[i].isa, zk_isa()))
            return m >= wins[i].m && n >= wins[i].n && k >= wins[i].k;
    return 0;
}

int zk_mkl_takes(int64_t m, int64_t n, int64_t k) {
    if (!sgemm || choice == NATIVE || !m || !n || !k) return 0;
    if (m > INT_MAX || n > INT_MAX || k > INT_MAX) return 0;
    return choice == MKL || table_says(m, n, k);
}

void zk_mkl_multiply(int64_t m, int64_t n, int64_t k, zk_matrix a, zk_matrix b, float scale,
                     float *c, int64_t cstep) {
    sgemm(ROW_MAJOR, a.turned ? TURNED : AS_IS, b.turned ? TURNED : AS_IS, (int)m, (int)n, (int)k,
          1, a.p, (int)a.step, b.p, (int)b.step, scale, c, (int)cstep);
}
