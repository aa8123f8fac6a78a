#!/usr/bin/env bash
# What of the command-line tests trains, validates or predicts, on `far` with nothing left to the host.
exec bash "$(dirname "$0")/far_test.sh" params_cli_test transfer_cli_test segment_train_test multilabel_cli_test sampler_cli_test \
  masks_cli_test val_save_test tiles_cli_test data_test not_finite_test proposals_test
