#!/usr/bin/env bash
# Five steps each of networks of every kind at 16 pixels (MobileNetV2 and a detector at 32) on the device kernels; the demo's is in emu_nets_test.
. "$(dirname "$0")/emu_nets.sh"
follows resnet18 model=resnet18 $small data.classes=3 data.size=40 batch=8 optim.lr=1e-5
# Batch norms of few numbers each make a curve that two kernels of the CPU do not share either: at a small rate what is told
# apart is the kernels, not the chaos.
follows mobilenet_v2 model=mobilenet_v2 model.dropout=0 $small data.classes=3 data.img_size=32 data.size=40 batch=8 optim.lr=1e-6
follows unet model=unet model.width=8 model.depth=3 run.task=segment data.masks=yes $small data.classes=3 data.size=10 batch=2 optim.lr=0.001
follows vit model=vit_b_16 model.patch_size=4 model.num_layers=2 model.num_heads=2 model.hidden_dim=32 model.mlp_dim=64 $small data.classes=3 \
  data.size=10 batch=2 optim.lr=0.001
# YOLOv3-tiny, whose boxes choose their targets by the truth alone: YOLOX's choice of them jumps with the last bit.
follows detector "$recipes/yolov3-tiny-scenes.ini" epochs=1 val.interval=0 run.project=runs backend.precision=f32 data.img_size=32 data.train_size=10 \
  data.val_size=2 data.objects=1,2 data.item_scale=0.5,0.5 train.ema=no batch=2 optim.lr=1e-5
done_with emu_nets_all_test
