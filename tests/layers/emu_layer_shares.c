/* All families of layers but those of object detection: emu_test. */
#include "emu_share.h"

const emu_share emu_shares[] = {
    {{0, 32}, NULL, {"activation", "norm", "shape", "window"}},
    {{1, 1}, NULL, {"arith", "pool", "dropout", "quant"}},
    {{1, 8}, NULL, {"loss"}},
    {{2, 8}, NULL, {"elementwise", "attention", "resize", "tokens", "stochastic", "chains", "peak"}},
    {{2, 64}, "layers/emu_cases", {"products"}},
};
const size_t n_emu_shares = sizeof emu_shares / sizeof *emu_shares;
