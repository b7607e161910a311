#!/usr/bin/env python3
"""Sets the program beside PyTorch at full size: same weights, same input.

    python tests/golden/compare_pytorch.py build/retort [forward] [grad] [loss]     (needs torch, torchvision, safetensors)

forward  VGG16 and ResNet-50 at 224 px, InceptionV3 at 299: the largest difference over the largest logit; 2e-5 at most
grad     the same, train mode without dropout, batch 4: distance of all parameters' gradients from PyTorch's in float64,
         |g - g64| / |g64|; three times that of PyTorch's own float32 at most
loss     the distillation loss and its gradient, against float64: T from 0.5 to 20, lambda from 0 to 1, 2 to 1000 classes,
         logits up to +-100, both conventions; 2e-5 at most

Exits with 1 if one of them is further off.
"""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file, save_file

NETWORKS = {"vgg16": 224, "resnet50": 224, "inception_v3": 299}
retort = sys.argv[1]
wanted = sys.argv[2:] or ["forward", "grad", "loss"]
failed = False


def judge(what, found, limit):
    global failed
    failed |= not found <= limit
    print(f"{what:58} {found:9.2e}  limit {limit:8.2e}  {'ok' if found <= limit else 'TOO FAR'}", flush=True)


def run(*arguments):
    return subprocess.run([retort, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def make_network(name, size):
    torch.manual_seed(1)
    extra = {"aux_logits": False, "transform_input": False, "init_weights": True} if name == "inception_v3" else {}
    network = getattr(torchvision.models, name)(weights=None, num_classes=1000, **extra)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    network.train()
    with torch.no_grad():  # statistics of real activations, not 0 and 1
        for _ in range(10):
            network(torch.randn(4, 3, size, size))
    return network


def distance(gradients, exact):
    difference = sum((gradients[k].double() - exact[k]).square().sum() for k in exact)
    return float((difference / sum(exact[k].square().sum() for k in exact)).sqrt())


def gradients_of(network, x, labels):
    network.train().zero_grad()
    loss = F.cross_entropy(network(x), labels)
    loss.backward()
    return loss.item(), {k: p.grad.clone() for k, p in network.named_parameters()}


def compare_network(name, size, folder):
    network = make_network(name, size)
    # Copied now: forward passes in train mode move the running statistics.
    save_file({k: v.clone().contiguous() for k, v in network.state_dict().items()}, folder / "w.safetensors")
    x = torch.randn(4, 3, size, size)
    np.save(folder / "x.npy", x.numpy())
    model = ["--model", name, "--weights", folder / "w.safetensors", "--input", folder / "x.npy", "--quiet"]
    if "forward" in wanted:
        with torch.no_grad():
            expected = network.eval()(x).numpy()
        run("forward", *model, "--out", folder / "y.npy")
        found = np.load(folder / "y.npy")
        judge(f"forward {name}@{size}", np.abs(found - expected).max() / np.abs(expected).max(), 2e-5)
    if "grad" in wanted:
        labels = torch.tensor([1, 20, 300, 999])
        np.save(folder / "labels.npy", labels.numpy())
        own_loss, own = gradients_of(network, x, labels)
        exact_loss, exact = gradients_of(network.double(), x.double(), labels)
        out = run("grad", *model, "--labels", folder / "labels.npy", "--mode", "train", "--dropout", 0, "--json",
                  "--out", folder / "g.safetensors")
        found = load_file(folder / "g.safetensors")
        assert set(exact) <= set(found), set(exact) - set(found)
        judge(f"grad {name}@{size} (PyTorch's own float32: {distance(own, exact):.2e})", distance(found, exact),
              3 * distance(own, exact))
        judge(f"loss {name}@{size}", abs(json.loads(out)["loss"] - exact_loss) / exact_loss, 2e-5)


def exact_loss(z, v, label, temperature, lam, convention):
    z = torch.tensor(z).double().requires_grad_()
    p, q = F.log_softmax(torch.tensor(v).double() / temperature, 1), F.log_softmax(z / temperature, 1)
    hard = F.cross_entropy(z, label)
    if convention == "convex":
        soft = temperature**2 * (p.exp() * (p - q)).sum()
        loss = lam * hard + (1 - lam) * soft
    else:
        soft = -(p.exp() * q).sum()
        loss = lam * hard + soft
    loss.backward()
    return loss.item(), z.grad.numpy()


def compare_losses(folder):
    worst = {"loss": 0.0, "gradient": 0.0}
    cases = itertools.product([2, 10, 100, 1000], [0.5, 1, 2, 4, 8, 20], [0, 0.07, 0.5, 1], [3, 100], ["convex", "additive"])
    count = 0
    for classes, temperature, lam, scale, convention in cases:
        # One linear map, the identity: its input is the student's logits, its bias's gradient the loss's.
        random = np.random.default_rng(count)
        z = random.uniform(-scale, scale, (1, classes)).astype(np.float32)
        v = random.uniform(-scale, scale, (1, classes)).astype(np.float32)
        label = torch.tensor([count % classes])
        save_file({"layers.0.weight": torch.eye(classes), "layers.0.bias": torch.zeros(classes)}, folder / "w.safetensors")
        np.save(folder / "x.npy", z.reshape(1, classes, 1, 1))
        np.save(folder / "v.npy", v)
        np.save(folder / "labels.npy", label.numpy())
        out = run("grad", "--model", "mlp:", "--weights", folder / "w.safetensors", "--input", folder / "x.npy",
                  "--labels", folder / "labels.npy", "--teacher-logits", folder / "v.npy", "--temperature", temperature,
                  "--lambda", lam, "--convention", convention, "--json", "--quiet", "--out", folder / "g.safetensors")
        loss, gradient = exact_loss(z, v, label, temperature, lam, convention)
        found = load_file(folder / "g.safetensors")["layers.0.bias"].numpy()
        worst["loss"] = max(worst["loss"], abs(json.loads(out)["loss"] - loss) / max(abs(loss), 1e-3))
        worst["gradient"] = max(worst["gradient"], np.abs(found - gradient).max() / max(np.abs(gradient).max(), 1e-3))
        count += 1
    for what, found in worst.items():
        judge(f"distillation {what}, worst of {count} cases", found, 2e-5)


with tempfile.TemporaryDirectory() as name:
    if "forward" in wanted or "grad" in wanted:
        for network, size in NETWORKS.items():
            compare_network(network, size, pathlib.Path(name))
    if "loss" in wanted:
        compare_losses(pathlib.Path(name))
sys.exit(failed)
