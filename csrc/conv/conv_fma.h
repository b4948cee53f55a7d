/* Multiply-add of a register tile: sum += a * b. gcc 12 often gives that the register of a, then
 * copies and spills where a tile fills all vector registers; the instruction itself ends that. */
#ifndef ZK_CONV_FMA_H
#define ZK_CONV_FMA_H
#include "vec.h"

#if (VL == 16 && defined(__AVX512F__)) || (VL == 8 && defined(__FMA__))
#define ADD_PRODUCT(sum, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#else
#define ADD_PRODUCT(sum, a, b) (sum) += (a) * (b)
#endif
#endif
