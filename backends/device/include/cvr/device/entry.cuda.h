/* Behind a kernel that is compiled by nvcc: the entry KERNEL_NAME, whose argument is the parameters with the constants
 * behind them. */
struct kernel_argument {
    kernel_params p;
    constants k;
};

extern "C" __global__ void __launch_bounds__(GROUP) KERNEL_NAME(const __grid_constant__ kernel_argument a) {
    kernel(a.p, a.k);
}
