"""Runs the starter model with onnxruntime whenever it is told to; what is said and answered is in `protocol.py`.

    starter_onnx.py WEIGHTS WIDTH HEIGHT    WEIGHTS: starter.safetensors; sides are multiples of 4
"""

import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper
from safetensors.numpy import load_file

from protocol import serve, threads


class Graph:
    """ONNX nodes, added one by one."""

    def __init__(self, weights):
        self.nodes = []
        self.constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
        self.weights = weights

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind, inputs, **attributes):
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def layer(self, x, name, stride=1, activation="Relu"):
        """Reflected edges, a convolution, the style's instance norm, an activation."""
        half = self.weights[f"{name}.w"].shape[-1] // 2
        pads = self.constant(f"{name}.pads", np.array([0, 0, half, half] * 2, dtype=np.int64))
        x = self.add("Pad", [x, pads], mode="reflect")
        x = self.add("Conv", [x, f"{name}.w"], strides=[stride, stride])
        scale = self.add("MatMul", ["style", f"{name}.norm.gamma"])
        shift = self.add("MatMul", ["style", f"{name}.norm.beta"])
        x = self.add("InstanceNormalization", [x, scale, shift], epsilon=1e-5)
        return self.add(activation, [x]) if activation else x

    def double(self, x):
        return self.add("Resize", [x, "", "twice"], mode="nearest", coordinate_transformation_mode="asymmetric",
                        nearest_mode="floor")


def model(weights):
    graph = Graph(weights)
    graph.constant("twice", np.array([1, 1, 2, 2], dtype=np.float32))
    x = "picture"
    for index, stride in enumerate([1, 2, 2]):
        x = graph.layer(x, f"contract.{index}", stride)
    for index in range(6):
        inner = graph.layer(x, f"res.{index}.0")
        x = graph.add("Add", [graph.layer(inner, f"res.{index}.1", activation=None), x])
    x = graph.layer(graph.double(x), "expand.0")
    x = graph.layer(graph.double(x), "expand.1")
    x = graph.layer(x, "expand.2", activation="Sigmoid")
    styles = next(iter(value for name, value in weights.items() if name.endswith("gamma"))).shape[0]
    inputs = [
        helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [styles]),
    ]
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 3, "height", "width"])
    made = helper.make_model(
        helper.make_graph(graph.nodes, "starter", inputs, [output], graph.constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    checker.check_model(made)
    return made, styles


def main():
    file, width, height = sys.argv[1:]
    made, styles = model(load_file(file))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(0).integers(0, 256, (int(height), int(width), 3), dtype=np.uint8)
    style = np.eye(styles, dtype=np.float32)[2]

    def run():
        values = np.ascontiguousarray(picture.transpose(2, 0, 1)[None]).astype(np.float32) / 255
        painting = session.run(None, {"picture": values, "style": style})[0]
        return (painting[0].transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)

    run()
    serve("", run)


if __name__ == "__main__":
    main()
