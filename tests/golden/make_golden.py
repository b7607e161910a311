#!/usr/bin/env python3
"""Writes tests/golden/models/*.json: what PyTorch computes for the networks, so that the tests need no PyTorch.

    python tests/golden/make_golden.py [CASE...]       (needs torch and torchvision; a few minutes, 8 GiB)

Weights, inputs and labels come from a formula that tests/models/golden.h computes as well (see `uniform`), so a file
holds results alone:

  logits, auxiliary_logits  evaluation mode, in float64
  train.loss                mean cross-entropy (+ 0.4 * that of the auxiliary head) in train mode with dropout off, float64
  train.gradients           per parameter: the gradient's norm and a few of its elements in file order, float64
  train.float32_distance    how far PyTorch's own float32 gradients are from those (see `distance`): the largest of
                            several runs that differ in memory format, number of threads and backend

state_dicts.json holds, per torchvision architecture, a digest of the names, shapes and order of its state dict.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision

FOLDER = pathlib.Path(__file__).parent / "models"
PROBES = 8
AUXILIARY_WEIGHT = 0.4

# name: architecture, classes, image size, batch, gradients too
CASES = {
    "vgg11_32": ("vgg11", 10, 32, 2, False),
    "vgg11_bn_100": ("vgg11_bn", 10, 100, 2, True),
    "resnet18_64": ("resnet18", 10, 64, 4, True),
    "resnet50_65": ("resnet50", 10, 65, 4, True),
    "inception_v3_75": ("inception_v3", 10, 75, 1, False),
    "inception_v3_107": ("inception_v3", 10, 107, 4, True),
    "inception_v3_aux_299": ("inception_v3", 10, 299, 2, True),
    "resnet20_32": ("resnet20", 10, 32, 4, True),
    "resnet20_a_32": ("resnet20_a", 10, 32, 4, True),
    "resnet20_a_29": ("resnet20_a", 10, 29, 2, False),
    "resnet8x4_32": ("resnet8x4", 10, 32, 4, True),
    "vgg8_32": ("vgg8", 10, 32, 4, True),
    "vgg8_64": ("vgg8", 10, 64, 1, False),
    "vgg13_cifar_32": ("vgg13_cifar", 10, 32, 2, False),
    "mlp_9": ("mlp:20x16", 10, 9, 5, True),
}


# ---- the formula --------------------------------------------------------------------------------------------------------

def fnv1a(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def splitmix(key, count):
    """Elements 0 .. count-1 of the SplitMix64 sequence (Steele, Lea & Flood, OOPSLA 2014) that starts at key."""
    z = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(name, shape, low, high):
    """float32 in [low, high), keyed by a name; 24 random bits an element, in file order."""
    count = math.prod(shape)
    unit = (splitmix(fnv1a(name), count) >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return torch.from_numpy((low + (high - low) * unit).astype(np.float32).reshape(shape))


def parameter_value(name, shape):
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if len(shape) > 1:  # a weight: the variance 2 / fan_in that keeps the scale through ReLU
        bound = math.sqrt(6.0 / math.prod(shape[1:]))
        return uniform(name, shape, -bound, bound)
    if name.endswith("running_var") or name.endswith("weight"):
        return uniform(name, shape, 0.5, 1.5)
    return uniform(name, shape, -0.25, 0.25)


def probe_indices(name, count):
    return [int(word % count) for word in splitmix(fnv1a(name + "/probe"), PROBES)]


# ---- networks that torchvision does not have -------------------------------------------------------------------------

class CifarBlock(nn.Module):
    def __init__(self, inputs, width, stride, option_a):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.grow = width - inputs if option_a else 0
        self.stride = stride
        if not option_a and (stride != 1 or inputs != width):
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        elif self.grow:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.grow // 2, self.grow // 2))
        return F.relu(x + y)


class CifarResNet(nn.Module):
    def __init__(self, depth, widths, option_a, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        for i in range(3):
            blocks = []
            for j in range((depth - 2) // 6):
                inputs, stride = (widths[i], 1 if i == 0 else 2) if j == 0 else (widths[i + 1], 1)
                blocks.append(CifarBlock(inputs, widths[i + 1], stride, option_a))
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.head = "linear" if option_a else "fc"
        setattr(self, self.head, nn.Linear(widths[3], classes))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return getattr(self, self.head)(x.mean((2, 3)))


class CifarVgg(nn.Module):
    def __init__(self, convolutions, classes):
        super().__init__()
        layers, inputs = [], 3
        self.poolings = []
        for stage, width in enumerate((64, 128, 256, 512, 512)):
            for _ in range(convolutions):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
            if stage < 4:
                layers.append(nn.MaxPool2d(2))
                self.poolings.append(layers[-1])
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(512, classes)

    def forward(self, x):
        skip_last = x.shape[2] < 64
        for layer in self.features:
            if not (skip_last and layer is self.poolings[3]):
                x = layer(x)
        return self.classifier(x.mean((2, 3)))


class Mlp(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def build(architecture, classes, size, auxiliary):
    if architecture.startswith("mlp:"):
        return Mlp([3 * size * size, *map(int, architecture[4:].split("x")), classes])
    if architecture in ("vgg8", "vgg13_cifar"):
        return CifarVgg(1 if architecture == "vgg8" else 2, classes)
    if architecture == "resnet8x4":
        return CifarResNet(8, (32, 64, 128, 256), False, classes)
    if architecture.startswith("resnet20"):
        return CifarResNet(20, (16, 16, 32, 64), architecture.endswith("_a"), classes)
    extra = {"aux_logits": auxiliary, "transform_input": False} if architecture == "inception_v3" else {}
    if not architecture.startswith("resnet"):
        extra["init_weights"] = False
    return getattr(torchvision.models, architecture)(weights=None, num_classes=classes, **extra)


# ---- results ---------------------------------------------------------------------------------------------------------

def evaluate(model, x):
    """Logits in evaluation mode, and those of the auxiliary head, which torchvision computes in training alone."""
    captured = {}
    auxiliary = getattr(model, "AuxLogits", None)
    if auxiliary is not None:
        model.Mixed_6e.register_forward_hook(lambda module, inputs, output: captured.update(map=output))
    with torch.no_grad():
        logits = model.eval()(x)
        return logits, None if auxiliary is None else auxiliary(captured["map"])


def gradients(model, x, labels):
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    output = model(x)
    if isinstance(output, tuple):  # InceptionV3 with its auxiliary head
        loss = F.cross_entropy(output[0], labels) + AUXILIARY_WEIGHT * F.cross_entropy(output[1], labels)
    else:
        loss = F.cross_entropy(output, labels)
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: p.grad.double().contiguous() for name, p in model.named_parameters()}


def summary(gradient_of):
    return {name: {"norm": g.norm().item(),
                   "probes": [g.view(-1)[i].item() for i in probe_indices(name, g.numel())]}
            for name, g in gradient_of.items()}


def distance(found, expected):
    """Root mean square over parameters and probes of (found - expected) / (root mean square of the gradient). A gradient
    that is 0 but for rounding (a bias before batch norm) is left out."""
    largest = max(entry["norm"] for entry in expected.values())
    terms = []
    for name, entry in expected.items():
        if entry["norm"] < 1e-9 * largest:
            continue
        scale = entry["norm"] / math.sqrt(entry["count"])
        terms += [((a - b) / scale) ** 2 for a, b in zip(found[name]["probes"], entry["probes"])]
    return math.sqrt(sum(terms) / len(terms))


def make_case(case):
    architecture, classes, size, batch, train = CASES[case]
    auxiliary = case.startswith("inception_v3_aux")

    def fresh(dtype):
        model = build(architecture, classes, size, auxiliary)
        model.load_state_dict({k: parameter_value(k, tuple(v.shape)) for k, v in model.state_dict().items()})
        return model.to(dtype)

    x = uniform("input", (batch, 3, size, size), -math.sqrt(3.0), math.sqrt(3.0))
    labels = torch.from_numpy((splitmix(fnv1a("labels"), batch) % np.uint64(classes)).astype(np.int64))
    logits, auxiliary_logits = evaluate(fresh(torch.float64), x.double())
    result = {"architecture": architecture, "classes": classes, "image_size": size, "batch": batch,
              "auxiliary": auxiliary, "logits": logits.flatten().tolist()}
    own = evaluate(fresh(torch.float32), x)[0].double()
    said = f"{case}: float32 logits {((own - logits).abs().max() / logits.abs().max()).item():.1e}"
    if auxiliary:
        result["auxiliary_logits"] = auxiliary_logits.flatten().tolist()
    if train:
        model = fresh(torch.float64)
        loss, exact = gradients(model, x.double(), labels)
        expected = summary(exact)
        for name, g in exact.items():
            expected[name]["count"] = g.numel()
        distances = []
        for threads, channels_last, mkldnn in ((2, False, True), (2, True, True), (1, False, True), (1, False, False)):
            torch.set_num_threads(threads)
            layout = torch.channels_last if channels_last else torch.contiguous_format
            with torch.backends.mkldnn.flags(enabled=mkldnn):
                model = fresh(torch.float32).to(memory_format=layout)
                _, own = gradients(model, x.to(memory_format=layout), labels)
            distances.append(distance(summary(own), expected))
        torch.set_num_threads(2)
        for entry in expected.values():
            del entry["count"]
        result["train"] = {"loss": loss, "float32_distance": max(distances), "gradients": expected}
        said += f", loss {loss:.4f}, float32 gradients " + " ".join(f"{d:.1e}" for d in distances)
    print(said, flush=True)
    (FOLDER / f"{case}.json").write_text(json.dumps(result, indent=0) + "\n")


def make_state_dicts():
    names = [f"vgg{d}{bn}" for d in (11, 13, 16, 19) for bn in ("", "_bn")]
    names += [f"resnet{d}" for d in (18, 34, 50, 101, 152)] + ["inception_v3", "inception_v3_aux"]
    result = {}
    for name in names:
        with torch.device("meta"):
            model = build(name.removesuffix("_aux"), 1000, 299, name.endswith("_aux"))
        lines = "".join(f"{k} {list(v.shape)}\n" for k, v in model.state_dict().items())
        result[name] = {"digest": f"{fnv1a(lines):016x}", "parameters": sum(p.numel() for p in model.parameters())}
    (FOLDER / "state_dicts.json").write_text(json.dumps(result, indent=0) + "\n")


if __name__ == "__main__":
    np.seterr(over="ignore")
    FOLDER.mkdir(exist_ok=True)
    make_state_dicts()
    for requested in sys.argv[1:] or CASES:
        make_case(requested)
