"""A classifier as ONNX, for other programs: vectors in, calibrated probabilities out.

For the kinds that are a few matrices: logistic regression and the neural network. Distance, sets and the rule
for "unidentified" stay behind; class names go along as metadata.
"""

from pathlib import Path
from typing import Any

import numpy as np

from napari_bloodcell.core.artifact import write_bytes
from napari_bloodcell.core.classify.classifier import Classifier
from napari_bloodcell.core.errors import ClassifyError

LAYERS = {
    "logistic": (("coefficients", "intercept"),),
    "ann": (("weights_in", "bias_in"), ("weights_out", "bias_out")),
}
OPSET = 17


def export_onnx(classifier: Classifier, path: Path) -> None:
    """Input ``vectors`` (N x D), output ``probabilities`` (N x C), both float32."""
    if classifier.kind not in LAYERS or classifier.calibration.method == "isotonic":
        raise ClassifyError(
            f"A {classifier.kind} classifier with {classifier.calibration.method} calibration cannot be "
            f"written as ONNX. It takes {' or '.join(LAYERS)}, with temperature or no calibration."
        )
    try:
        import onnx
    except ImportError as error:
        raise ClassifyError("Writing ONNX takes: pip install 'napari-bloodcell[onnx]'.") from error
    from onnx import TensorProto, helper

    numbers = _numbers(classifier)
    nodes = [
        helper.make_node("Sub", ["vectors", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["layer_0"]),
    ]
    layers = LAYERS[classifier.kind]
    for number, (weights, bias) in enumerate(layers):
        last = number == len(layers) - 1
        goal = "scores" if last else f"raw_{number}"
        nodes.append(helper.make_node("Gemm", [f"layer_{number}", weights, bias], [goal]))
        if not last:
            nodes.append(helper.make_node("Relu", [goal], [f"layer_{number + 1}"]))
    nodes += [
        helper.make_node("Div", ["scores", "temperature"], ["cooled"]),
        helper.make_node("Add", ["cooled", "offsets"], ["shifted"]),
        helper.make_node("Softmax", ["shifted"], ["probabilities"], axis=1),
    ]
    width, classes = len(classifier.mean), len(classifier.class_names)
    graph = helper.make_graph(
        nodes,
        "napari-bloodcell",
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["cells", width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["cells", classes])],
        [onnx.numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    facts = {"classes": ",".join(classifier.class_names), "embedder": classifier.embedder}
    helper.set_model_props(model, facts | {"classifier": classifier.hash})
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())


def _numbers(classifier: Classifier) -> dict[str, Any]:
    calibration = classifier.calibration
    offsets = calibration.offsets if len(calibration.offsets) else np.zeros(len(classifier.class_names))
    arrays = {
        "mean": classifier.mean,
        "scale": classifier.scale,
        "temperature": np.array([calibration.temperature]),
        "offsets": offsets,
    }
    ready = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    return ready | classifier.head.arrays
