#!/usr/bin/env python3
"""Writes tests/golden/keras: one small network as Keras saves it, in all forms, and what it computes; and of the built-in
networks which weights Keras saves, under which names. Needs keras and one of
its backends (pip install keras tensorflow-cpu). Run from the root."""
import json
import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers

ROOT = Path("tests/golden/keras")
SIZE = 13


def smallest():
    """What fuzzing starts from."""
    return keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), layers.Dense(2)])


def network():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.Sequential([layers.RandomFlip("horizontal"), layers.Rescaling(1 / 127.5, offset=-1)], name="input")(inputs)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(scale=False, name="norm")(x))
    left = layers.SeparableConv2D(8, 3, padding="same", activation="silu", name="separable")(x)
    right = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    right = layers.Conv2D(8, (1, 3), padding="same", activation="gelu", name="flat")(right)
    x = layers.Concatenate()([left, right])
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="each")(x)
    gate = layers.Reshape((1, 1, 32))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv2D(32, 1, activation="hard_sigmoid", name="gate")(gate)
    x = layers.Multiply()([x, gate])
    x = layers.LeakyReLU(0.1)(layers.MaxPooling2D(3, strides=2, padding="same")(x))
    x = keras.Sequential([keras.Input((4, 4, 32)), layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")],
                         name="within")(x)
    x = layers.Dense(6, activation="tanh", name="hidden")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="classes")(layers.Dropout(0.2)(x)))


keras.utils.set_random_seed(1)
model = network()
random = np.random.default_rng(1)
for layer in model.layers:
    if layer.name == "norm":
        layer.set_weights([random.normal(0, 0.2, 8), random.normal(0, 0.2, 8), random.uniform(0.5, 1.5, 8)])
(ROOT / "weights").mkdir(parents=True, exist_ok=True)
model.save(ROOT / "net.keras")
model.save(ROOT / "net.h5")
model.save_weights(ROOT / "weights" / "net.weights.h5")
(ROOT / "weights" / "config.json").write_text(model.to_json())
# Exact in float32, and made by the test in the same way: pixels 0 to 255, a step of 37.
pixels = (np.arange(2 * SIZE * SIZE * 3) * 37 % 256).astype(np.float32).reshape(2, SIZE, SIZE, 3)
features = keras.Model(model.inputs, model.layers[-1].input).predict(pixels, verbose=0).astype(np.float64)
weight, bias = model.layers[-1].get_weights()
(ROOT / "logits.json").write_text(json.dumps([float(v) for v in (features @ weight + bias).ravel()]) + "\n")

seed, corpus = smallest(), Path("tests/fuzz/corpus/keras")
corpus.mkdir(parents=True, exist_ok=True)
seed.save(corpus / "net.keras")
seed.save(corpus / "net.h5")

saved = {}
for name in ["ResNet50", "VGG16", "InceptionV3", "MobileNetV2", "EfficientNetB0"]:
    with tempfile.NamedTemporaryFile(suffix=".weights.h5") as file:
        getattr(keras.applications, name)(weights=None).save_weights(file.name)
        shapes = {}
        h5py.File(file.name).visititems(lambda path, entry: shapes.__setitem__(path, list(entry.shape))
                                        if isinstance(entry, h5py.Dataset) and entry.dtype.kind == "f" else None)
        saved[name] = shapes
lines = [f"{json.dumps(name)}: {json.dumps(shapes, separators=(',', ':'))}" for name, shapes in saved.items()]
(ROOT / "applications.json").write_text("{" + ",\n".join(lines) + "}\n")
