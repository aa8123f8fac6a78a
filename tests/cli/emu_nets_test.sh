#!/usr/bin/env bash
# The demo's network, five steps at 16 pixels, on the device kernels with nothing left to the host.
. "$(dirname "$0")/emu_nets.sh"
follows demo "$recipes/fashion-mnist.ini" $small data.root= data.names= data.classes=10 data.size=20 batch=4 optim.lr=0.005
done_with emu_nets_test
