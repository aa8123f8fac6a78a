"""torch_speed.py MODEL BATCH SIZE eager|compile f32|tf32|bf16|f16: training steps of a torchvision model on one random batch, as one line:
images a second, and the most memory that was allocated. On a machine without a GPU it runs on the CPU."""
import sys
import time

import torch
import torchvision

NARROW = {"bf16": torch.bfloat16, "f16": torch.float16}


def build(name, size):
    if name == "resnet18_cifar":  # of cvrun; nearly the same arithmetic
        return torchvision.models.resnet18(num_classes=10)
    more = {"image_size": size} if name.startswith("vit") else {}
    return torchvision.models.get_model(name, num_classes=10, **more)


def main():
    name, batch, size, mode, precision = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    model = build(name, size).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, fused=device == "cuda")
    pictures = torch.rand(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,), device=device)
    scaler = torch.amp.GradScaler(device, enabled=precision == "f16")
    run = torch.compile(model) if mode == "compile" else model

    def step():
        with torch.autocast(device, dtype=NARROW.get(precision, torch.bfloat16), enabled=precision in NARROW):
            loss = torch.nn.functional.cross_entropy(run(pictures), labels)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    def settle():
        if device == "cuda":
            torch.cuda.synchronize()

    times = []
    for at in range(6 if device == "cpu" else 30):
        settle()
        begin = time.perf_counter()
        step()
        settle()
        times.append(time.perf_counter() - begin)
    times = sorted(times[3 if device == "cpu" else 10 :])
    memory = f"{torch.cuda.max_memory_allocated()} bytes allocated" if device == "cuda" else "memory not counted on the CPU"
    print(f"{batch / times[len(times) // 2]:.6g} images/s, {memory}, {mode}, {precision}, {device}, PyTorch {torch.__version__}")


main()
