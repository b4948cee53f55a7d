/* What the CPU does with numbers below 2^-126 (float64: 2^-1022), thread by thread. In and out: the
 * mode of the calling thread, as bits of its control register; 0 on a CPU that is not known here.
 */
#ifndef ZK_FLOAT_MODE_H
#define ZK_FLOAT_MODE_H
#include <stdint.h>

#if defined(__x86_64__)
#define FLOAT_FLUSH 0x8040u /* results that small are zero, and so are operands */
static inline uint64_t float_mode(void) { return __builtin_ia32_stmxcsr(); }
static inline void set_float_mode(uint64_t mode) { __builtin_ia32_ldmxcsr((uint32_t)mode); }
#elif defined(__aarch64__)
#define FLOAT_FLUSH (1u << 24)
static inline uint64_t float_mode(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void set_float_mode(uint64_t mode) { __asm__ volatile("msr fpcr, %0" ::"r"(mode)); }
#else
#define FLOAT_FLUSH 0u
static inline uint64_t float_mode(void) { return 0; }
static inline void set_float_mode(uint64_t mode) { (void)mode; }
#endif
#endif
