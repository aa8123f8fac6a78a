/* The families of object detection, and pictures without an object: emu_detect_test. */
#include "emu_share.h"

const emu_share emu_shares[] = {
    {{0, 32}, NULL, {"detect."}}, {{1, 8}, NULL, {"detect_loss"}}, {{2, 1}, NULL, {"detections"}},
    {{1, 64}, NULL, {"roi"}},     {{2, 8}, NULL, {"yolo"}},        {{0, 32}, "layers/emu_cases", {"empty"}},
};
const size_t n_emu_shares = sizeof emu_shares / sizeof *emu_shares;
