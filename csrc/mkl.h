/* Intel's MKL as the kernels see it: whether it multiplies a matrix of this shape, and the call. */
#ifndef ZK_MKL_H
#define ZK_MKL_H
#include <stdint.h>

/* 1 when MKL is loaded, and the choice or the table of mkl.c gives it this product. */
int zk_mkl_takes(int64_t m, int64_t n, int64_t k);

/* A matrix in memory: rows `step` floats apart, to be read as it is or turned. */
typedef struct {
    const float *p;
    int64_t step;
    int turned;
} zk_matrix;

/* c(m, n) = a(m, k) b(k, n) + scale * c, on the calling thread; rows of c are `cstep` apart. */
void zk_mkl_multiply(int64_t m, int64_t n, int64_t k, zk_matrix a, zk_matrix b, float scale,
                     float *c, int64_t cstep);
#endif
