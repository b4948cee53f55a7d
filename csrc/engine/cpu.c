/* Which instruction set this machine has, and the kernel tables built for it. Every set holds the
 * same kernels in the same order, so a kernel's number means the same in all of them. */
#define _GNU_SOURCE
#include "cpu.h"
#include <sched.h>
#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include "tiles.h"

#if defined(__x86_64__)
#define HAVE(feature) __builtin_cpu_supports(feature)
static int has_avx2(void) { return HAVE("avx2") && HAVE("fma") && HAVE("bmi2"); }
static int has_avx512(void) {
#if defined(ZK_EMULATE_AVX512)
    return has_avx2();
#else
    return HAVE("avx512f") && HAVE("avx512bw") && HAVE("avx512dq") && HAVE("avx512vl");
#endif
}

/* AMX is no set of its own: kernels of AVX-512 that know tiles ask zk_amx. The system must be asked
 * for the registers, once for all threads, and may refuse. */
#define REQUEST_PERMISSION 0x1023
#define TILE_DATA 18
static const char *amx(void) {
    static const char *state;
    if (state) return state;
#if defined(ZK_EMULATE_AMX)
    state = "emulated";
#elif defined(ZK_EMULATE_AVX512)
    state = "absent";
#else
    const int there = has_avx512() && HAVE("amx-tile") && HAVE("amx-bf16") && HAVE("amx-int8") &&
                      HAVE("avx512bf16") && HAVE("avx512vnni");
    if (!there) state = "absent";
    else if (syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA)) state = "refused";
    else state = "present";
#endif
    return state;
}
static int has_amx(void) {
    return has_avx512() && (!strcmp(amx(), "present") || !strcmp(amx(), "emulated"));
}
#else
static const char *amx(void) { return "absent"; }
#endif
static int has_base(void) { return 1; }

static const struct {
    const char *name;
    const zk_kernel *const *tables;
    int (*supported)(void);
} isas[] = {
#if defined(__x86_64__)
    {"amx", zk_tables_avx512, has_amx},
    {"avx512", zk_tables_avx512, has_avx512},
    {"avx2", zk_tables_avx2, has_avx2},
#endif
    {"base", zk_tables_base, has_base},
};
static int current = -1;

static int chosen(void) {
    if (current < 0)
        for (current = 0; !isas[current].supported();) current++;
    return current;
}

const char *zk_isa(void) { return isas[chosen()].name; }

const char *zk_amx_state(void) { return amx(); }

int zk_amx(void) { return !strcmp(zk_isa(), "amx") && !strcmp(amx(), "present"); }

const char *zk_isa_name(int index) {
    for (int i = 0; i < (int)(sizeof isas / sizeof *isas); i++)
        if (isas[i].supported() && index-- == 0) return isas[i].name;
    return NULL;
}

int zk_set_isa(const char *name) {
    for (int i = 0; i < (int)(sizeof isas / sizeof *isas); i++)
        if (!strcmp(name, isas[i].name) && isas[i].supported()) {
            current = i;
            return 0;
        }
    return -1;
}

const zk_kernel *zk_kernel_at(int index) {
    for (const zk_kernel *const *t = isas[chosen()].tables; *t && index >= 0; t++)
        for (const zk_kernel *k = *t; k->name; k++)
            if (index-- == 0) return k;
    return NULL;
}

const char *zk_kernel_name(int index) {
    const zk_kernel *k = zk_kernel_at(index);
    return k ? k->name : NULL;
}

const char *zk_tile_name(int index) {
#define NAME(name) #name,
    static const char *const names[] = {ZK_TILES(NAME) NULL};
    return index < 0 || index >= ZK_NTILES ? NULL : names[index];
}

int zk_threads_online(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}
