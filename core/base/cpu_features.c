/* What machine this is: clock, memory, CPU features (CPUID and XGETBV, so that the system's support counts too; for AMX
 * its permission as well). */
#define _DEFAULT_SOURCE /* syscall */
#include <cvr/base.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

double cvr_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__x86_64__)
typedef struct cpu_leaf {
    uint32_t b1, c1, b7, c7, d7, a71;
    uint64_t xcr0;
} cpu_leaf;

static cpu_leaf ask_cpu(void) {
    cpu_leaf l = {0};
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        l.b1 = b;
        l.c1 = c;
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        l.b7 = b;
        l.c7 = c;
        l.d7 = d;
    }
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) l.a71 = a;
    if (l.c1 & bit_OSXSAVE) {
        uint32_t lo, hi;
        __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
        l.xcr0 = (uint64_t)hi << 32 | lo;
    }
    return l;
}

/* Asked once: a virtual machine's host answers CPUID, which takes it longer than a plan of many kernels may wait. */
static pthread_once_t asked = PTHREAD_ONCE_INIT;
static cpu_leaf answer;

static void ask_once(void) {
    answer = ask_cpu();
}

static cpu_leaf read_leaves(void) {
    (void)pthread_once(&asked, ask_once);
    return answer;
}

/*
 * Linux gives a process the 8 KiB of AMX's tile registers on request (Documentation/arch/x86/xstate.rst); without it,
 * the first tile instruction is a SIGILL. Asking again is harmless. What it costs comes with the first use.
 */
static bool tiles_permitted(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static bool has_word(const cpu_leaf *l, const char *word, size_t n) {
    const bool ymm = (l->xcr0 & 0x6) == 0x6, zmm = (l->xcr0 & 0xE6) == 0xE6, amx = (l->xcr0 & 0x60000) == 0x60000;
    const struct {
        const char *name;
        bool has;
    } features[] = {
        {"avx", ymm && (l->c1 & bit_AVX)},
        {"avx2", ymm && (l->b7 & bit_AVX2)},
        {"fma", ymm && (l->c1 & bit_FMA)},
        {"f16c", ymm && (l->c1 & bit_F16C)},
        {"avx512f", zmm && (l->b7 & bit_AVX512F)},
        {"avx512bw", zmm && (l->b7 & bit_AVX512BW)},
        {"avx512vl", zmm && (l->b7 & bit_AVX512VL)},
        {"avx512dq", zmm && (l->b7 & bit_AVX512DQ)},
        {"avx_vnni", ymm && (l->a71 & (1u << 4))},
        {"avx512_bf16", zmm && (l->a71 & (1u << 5))},
        {"avx512_vnni", zmm && (l->c7 & (1u << 11))},
        {"amx_tile", amx && (l->d7 & (1u << 24))},
        {"amx_bf16", amx && (l->d7 & (1u << 22))},
        {"amx_int8", amx && (l->d7 & (1u << 25))},
    };
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        if (strlen(features[i].name) != n || memcmp(features[i].name, word, n) != 0) continue;
        return features[i].has && (strncmp(features[i].name, "amx_", 4) != 0 || tiles_permitted());
    }
    return false;
}
#else
typedef int cpu_leaf;
static cpu_leaf read_leaves(void) {
    return 0;
}
static bool has_word(const cpu_leaf *l, const char *word, size_t n) {
    (void)l, (void)word, (void)n;
    return false;
}
#endif

bool cvr_cpu_has(const char *isa, const char **missing) {
    if (!isa || !*isa) return true;
    const cpu_leaf leaves = read_leaves();
    for (const char *p = isa; *p;) {
        const size_t n = strcspn(p, " ");
        if (n && !has_word(&leaves, p, n)) {
            if (missing) *missing = p;
            return false;
        }
        p += n + strspn(p + n, " ");
    }
    return true;
}
