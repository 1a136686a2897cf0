"""Networks of QKeras as QONNX:  python benchmarks/exporters/qkeras_files.py FOLDER

Needs an environment of its own: tensorflow-cpu 2.15, qkeras 0.9, tf2onnx, and qonnx 0.4, whose converter it is.  The
converter writes no quantizer for the input, drops quantizers that are no ReLU, and fails at depthwise layers.
"""

from pathlib import Path
import sys

import numpy as np
import onnx
from qkeras import QActivation, QConv2D, QDense, quantized_bits
import tensorflow as tf
from tensorflow.keras.layers import Activation, Add, AveragePooling2D, BatchNormalization, Flatten
from tensorflow.keras.layers import GlobalAveragePooling2D, Input, MaxPooling2D
from tensorflow.keras.models import Model
import tf2onnx
import tf2onnx.optimizer  # noqa: F401  qonnx 0.4 expects it to be loaded
from qonnx.converters.keras import from_keras  # noqa: I001


def weights(bits: int) -> dict:
    return {"kernel_quantizer": quantized_bits(bits, 0, alpha=1), "bias_quantizer": quantized_bits(bits, 0, alpha=1)}


def relu(bits: int) -> QActivation:
    return QActivation(f"quantized_relu({bits},2)")


def mlp(bits: int) -> Model:
    x = start = Input((16,))
    for rows in (24, 20):
        x = relu(bits)(BatchNormalization()(QDense(rows, **weights(bits))(x)))
    return Model(start, QDense(5, **weights(bits))(x))


def cnn(bits: int, pool) -> Model:
    x = start = Input((12, 12, 3))
    x = relu(bits)(BatchNormalization()(QConv2D(8, 3, padding="same", **weights(bits))(x)))
    x = relu(bits)(QConv2D(12, 3, **weights(bits))(pool(2)(x)))
    return Model(start, Activation("softmax")(QDense(7, **weights(bits))(Flatten()(x))))


def residual(bits: int) -> Model:
    """An add of two ReLUs, and a global average without a quantizer in front of the last layer."""
    x = start = Input((8, 8, 3))
    x = relu(bits)(QConv2D(8, 3, padding="same", **weights(bits))(x))
    x = relu(bits)(Add()([x, relu(bits)(QConv2D(8, 3, padding="same", **weights(bits))(x))]))
    return Model(start, QDense(5, **weights(bits))(GlobalAveragePooling2D()(x)))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for bits in (2, 3, 4, 6, 8):
        for name, make in (("mlp", mlp), ("maxpool", lambda bits: cnn(bits, MaxPooling2D)),
                           ("avgpool", lambda bits: cnn(bits, AveragePooling2D)), ("residual", residual)):
            tf.random.set_seed(1)
            rng, network = np.random.default_rng(1), make(bits)
            for layer in network.layers:
                if isinstance(layer, BatchNormalization):
                    shape = layer.get_weights()[0].shape
                    layer.set_weights([rng.uniform(0.3, 1.5, shape) * rng.choice([1, 1, -1], shape),
                                       *rng.normal(0, 0.3, (2, *shape)), rng.uniform(0.3, 2, shape)])
            model, _ = from_keras(network, name=f"{name}_{bits}", opset=13)
            onnx.save(model, str(folder / f"qkeras_{name}_{bits}.onnx"))
            print(f"{name}_{bits}", tf2onnx.__version__, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
