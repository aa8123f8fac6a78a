/* What benches of single kernels share: the kernel that a plan would take, and the time of its fastest call. */
#ifndef CVR_BENCH_KERNEL_TIME_H
#define CVR_BENCH_KERNEL_TIME_H

#include "layer_case.h"

/* Says what is wrong and ends the program. */
_Noreturn void bench_fail(const char *what);
/* Zeroed, as a program gets it: in huge pages where it is large. Free with cvr_free. */
void *bench_memory(uint64_t bytes);
/* The first kernel of the cpu backend that takes the signature. */
const cvr_kernel_desc *bench_kernel_of(const case_machine *m, const char *op, const cvr_signature *sig);
/* Seconds of the fastest call in `seconds`: what others do on the machine can only make it slower. */
double bench_time_of(const cvr_kernel_desc *kernel, const cvr_kernel_args *args, double seconds);

#endif
