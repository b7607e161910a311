#!/usr/bin/env python3
"""Sets networks from elsewhere beside where they come from, random weights and random batch-norm statistics.

    python tests/golden/compare_graphs.py build/retort [onnx] [export] [grad] [keras] [tf2onnx] [speed]

onnx     exported by both of PyTorch's exporters, against ONNX Runtime: the largest difference over the largest logit, 2e-5
         at most                                                            (torch torchvision timm onnx onnxscript onnxruntime)
export   what `retort export` writes of every family of networks and of those graphs: onnx.checker passes, and ONNX Runtime and OpenVINO
         give what `retort forward` does of the model itself, batch norm as it is and folded; and so does ONNX Runtime with what
         `retort export` writes of that file                                                            (as for onnx, and openvino)
grad     all parameters' gradients of five such graphs, against PyTorch in float64: |g - g64| / |g64|, in the median of five
         inputs three times that of PyTorch's own float32 at most; not in each, since a ReLU whose sum lies within a rounding
         of 0 puts one of the two on the other side of its kink, and that part of the gradient with it (docs/numerics.md)
                                                                                              (the same, and safetensors)
keras    keras.applications' five networks in all three forms, against Keras                     (keras tensorflow-cpu)
tf2onnx  Keras's MobileNetV2 and EfficientNetB0 by way of ONNX, against ONNX Runtime    (keras tensorflow-cpu tf2onnx)
speed    inference of MobileNetV2 and EfficientNet-Lite0 beside ONNX Runtime, two threads, in turn: the medians, and no limit

Exits with 1 if one of them is further off.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

retort = sys.argv[1]
wanted = sys.argv[2:] or ["onnx", "export", "grad", "keras", "tf2onnx"]
failed = False
TORCHVISION = ["mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "densenet121", "resnext50_32x4d", "regnet_y_400mf",
               "shufflenet_v2_x1_0", "squeezenet1_1", "convnext_tiny"]
TIMM = ["tf_efficientnet_lite0", "convnext_tiny", "vit_tiny_patch16_224"]
GRADIENTS = [("torchvision", "mobilenet_v2"), ("torchvision", "efficientnet_b0"), ("torchvision", "regnet_y_400mf"),
             ("torchvision", "convnext_tiny"), ("timm", "vit_tiny_patch16_224")]
INPUTS = 5
BY_CLASS = [("vgg11", 224), ("vgg16_bn", 96), ("resnet18", 224), ("resnet50", 224), ("inception_v3", 299)]
KERAS = ["ResNet50", "VGG16", "InceptionV3", "MobileNetV2", "EfficientNetB0"]
BY_TF2ONNX = ["MobileNetV2", "EfficientNetB0"]
CIFAR = ["mlp:20x10", "resnet8", "resnet20", "resnet14_a", "resnet8x4", "vgg8", "vgg13_cifar"]


def judge(what, found, limit):
    global failed
    failed |= not found <= limit
    print(f"{what:58} {found:9.2e}  limit {limit:8.2e}  {'ok' if found <= limit else 'TOO FAR'}", flush=True)


def run(*arguments):
    return subprocess.run([retort, *map(str, arguments), "--quiet"], check=True, capture_output=True, text=True).stdout


def distance(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def forward(model, x, folder, *more):
    np.save(folder / "x.npy", np.ascontiguousarray(x, dtype=np.float32))
    run("forward", "--model", model, *more, "--input", folder / "x.npy", "--out", folder / "y.npy")
    return np.load(folder / "y.npy")


def torch_network(source, name):
    import timm
    import torch
    import torchvision

    torch.manual_seed(1)
    network = getattr(torchvision.models, name)(weights=None) if source == "torchvision" else timm.create_model(name)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.LayerNorm)) and module.weight is not None:
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return network.eval()


def export(network, x, path, dynamo, **more):
    import torch

    batch = {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)} if dynamo else {
        "dynamic_axes": {"x": {0: "n"}}, "opset_version": 17}
    torch.onnx.export(network, (x[:1],), path, dynamo=dynamo, input_names=["x"], **batch, **more)


def runtime(path, threads=0):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options)
    return lambda x: session.run(None, {session.get_inputs()[0].name: x})[0]


def openvino_runtime(path):
    import openvino

    # A processor with shorter floats would be given those.
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: compiled(x)[0]


def compare_onnx(folder):
    import torch

    for source, name in [("torchvision", n) for n in TORCHVISION] + [("timm", n) for n in TIMM]:
        network, x = torch_network(source, name), torch.randn(3, 3, 224, 224)
        for dynamo in False, True:
            path = folder / "net.onnx"
            export(network, x, path, dynamo)
            judge(f"onnx {source} {name}, exporter {'dynamo' if dynamo else 'torchscript'}",
                  distance(forward(path, x.numpy(), folder), runtime(path)(x.numpy())), 2e-5)


def models_to_export(folder):
    """Model files of every kind, with their image sizes: name, path, size."""
    import torch
    from safetensors.torch import save_file

    path = folder / "model.safetensors"
    for name, size in BY_CLASS:
        save_file({k: v.contiguous() for k, v in torch_network("torchvision", name).state_dict().items()}, folder / "w.safetensors")
        run("import", "--model", name, "--weights", folder / "w.safetensors", "--image-size", size, "--out", path)
        yield name, path, size
    random = np.random.default_rng(1)
    for label in "ab":
        (folder / "data" / label).mkdir(parents=True)
        for i in range(8):
            with open(folder / "data" / label / f"{i}.ppm", "wb") as file:
                file.write(b"P6 32 32 255\n" + random.integers(0, 256, 32 * 32 * 3, dtype=np.uint8).tobytes())
    for name in CIFAR:
        run("train", "--model", name, "--data", folder / "data", "--image-size", 32, "--epochs", 2, "--out", path, "--restart")
        yield name, path, 32
    for source, name in [("torchvision", n) for n in TORCHVISION] + [("timm", n) for n in TIMM]:
        export(torch_network(source, name), torch.randn(1, 3, 224, 224), folder / "from.onnx", False)
        yield f"{source} {name}", folder / "from.onnx", 224


def compare_export(folder):
    import onnx

    for name, model, size in models_to_export(folder):
        x = np.random.default_rng(2).standard_normal((3, 3, size, size), dtype=np.float32)
        expected, path, again = forward(model, x, folder), folder / "to.onnx", folder / "again.onnx"
        for how in [], ["--fold-batch-norm"]:
            run("export", "--model", model, "--out", path, *how)
            run("export", "--model", path, "--out", again)
            for what, file, reader in ("ONNX Runtime", path, runtime), ("OpenVINO", path, openvino_runtime), ("exported again", again, runtime):
                onnx.checker.check_model(file, full_check=True)
                judge(f"export {name}{' folded' if how else ''}, {what}", distance(reader(file)(x), expected), 2e-5)


def compare_grad(folder):
    import torch
    from safetensors.torch import load_file

    for source, name in GRADIENTS:
        size = 224 if name.startswith("vit") else 96  # what positions are made for; elsewhere float64 is slow
        network, x, labels = torch_network(source, name), torch.randn(INPUTS, 2, 3, size, size), torch.tensor([1, 999])
        path = folder / "net.onnx"
        # As it is trained on: batch norm is not folded into the convolutions.
        export(network, x[0], path, False, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
        np.save(folder / "labels.npy", labels.numpy())

        def gradients(images):
            network.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            return {k: p.grad.clone() for k, p in network.named_parameters()}

        own = [gradients(images) for images in x]
        network = network.double()
        errors, of_torch = [], []
        for images, float32 in zip(x, own):
            np.save(folder / "x.npy", images.numpy())
            run("grad", "--model", path, "--input", folder / "x.npy", "--labels", folder / "labels.npy", "--mode", "eval", "--out",
                folder / "g.safetensors")
            found, exact = load_file(folder / "g.safetensors"), gradients(images.double())

            # Matrices that an exporter turns have names of its own: each parameter of ours is the one of theirs that is nearest.
            def nearest(name, gradient):
                same = [found[name]] if name in found else [g for g in found.values() if g.numel() == gradient.numel()]
                parts = [((a.double().reshape(-1) - gradient.reshape(-1)).square().sum()) for a in same]
                return min(parts) if parts else gradient.square().sum()

            norm = sum(g.square().sum() for g in exact.values())
            errors.append(float((sum(nearest(k, g) for k, g in exact.items()) / norm).sqrt()))
            of_torch.append(float((sum((float32[k].double() - g).square().sum() for k, g in exact.items()) / norm).sqrt()))
        median = statistics.median(of_torch)
        judge(f"grad {source} {name} (PyTorch's own float32: {median:.2e}; worst {max(errors):.2e}, {max(of_torch):.2e})",
              statistics.median(errors), 3 * median)


def keras_network(name):
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    keras.utils.set_random_seed(7)
    random = np.random.default_rng(3)
    network = getattr(keras.applications, name)(weights=None)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            ranges = {"gamma": (0.5, 1.5), "beta": (-0.3, 0.3), "moving_mean": (-0.3, 0.3), "moving_variance": (0.5, 1.5)}
            layer.set_weights([random.uniform(*ranges[v.name], v.shape) for v in layer.weights])
        elif getattr(layer, "use_bias", False):
            *weights, bias = layer.get_weights()
            layer.set_weights([*weights, random.normal(0, 0.1, bias.shape)])
    size = network.input_shape[1]
    return network, random.uniform(-1, 1, (4, size, size, 3)).astype(np.float32)


def keras_logits(network, x):
    import keras

    features = keras.Model(network.inputs, network.layers[-1].input).predict(x, verbose=0)
    weight, bias = network.layers[-1].get_weights()
    return features @ weight + bias


def compare_keras(folder):
    for name in KERAS:
        network, x = keras_network(name)
        expected = keras_logits(network, x)
        images = x.transpose(0, 3, 1, 2)
        if name in ("ResNet50", "VGG16"):
            images = images[:, ::-1]  # blue comes first there, and red here
        if name == "EfficientNetB0":
            images = images / 255  # which its own first layer does
        for suffix in ".keras", ".h5", ".weights.h5":
            path = folder / f"net{suffix}"
            if suffix == ".weights.h5":
                network.save_weights(path)
                found = forward("keras:" + name, images, folder, "--weights", path)
            else:
                network.save(path)
                found = forward(path, images, folder)
            judge(f"keras {name} {suffix}", distance(found, expected), 2e-5)


def compare_tf2onnx(folder):
    for name in BY_TF2ONNX:
        network, x = keras_network(name)
        network.export(str(folder / "saved"))
        path = folder / "net.onnx"
        subprocess.run([sys.executable, "-m", "tf2onnx.convert", "--saved-model", folder / "saved", "--output", path, "--opset", "17"],
                       check=True, capture_output=True)
        expected = keras_logits(network, x)
        judge(f"tf2onnx {name}", distance(forward(path, x.transpose(0, 3, 1, 2), folder), expected), 2e-5)


def compare_speed(folder):
    import torch

    for source, name in ("torchvision", "mobilenet_v2"), ("timm", "tf_efficientnet_lite0"):
        network, images = torch_network(source, name), 64
        x = torch.randn(images, 3, 224, 224)
        path = folder / "net.onnx"
        export(network, x, path, False)
        other = runtime(path, threads=2)
        np.save(folder / "x.npy", x.numpy())
        np.save(folder / "one.npy", x[:1].numpy())

        def ours(file):
            start = time.perf_counter()
            run("forward", "--model", path, "--input", folder / file, "--out", folder / "y.npy", "--threads", 2)
            return time.perf_counter() - start

        def theirs():
            start = time.perf_counter()
            for i in range(0, images, 32):
                other(x[i:i + 32].numpy())
            return time.perf_counter() - start

        ours("x.npy"), theirs()
        # The start of the program and the reading of the model are no part of inference: a run of one image takes them away.
        times = [(ours("x.npy") - ours("one.npy"), theirs()) for _ in range(7)]
        mine, its = (statistics.median(column) for column in zip(*times))
        print(f"speed {name:32} retort {(images - 1) / mine:7.1f} images/s, ONNX Runtime {images / its:7.1f}", flush=True)


with tempfile.TemporaryDirectory() as name:
    for what, compare in {"onnx": compare_onnx, "export": compare_export, "grad": compare_grad, "keras": compare_keras, "tf2onnx": compare_tf2onnx,
                          "speed": compare_speed}.items():
        if what in wanted:
            compare(pathlib.Path(name))
sys.exit(failed)
