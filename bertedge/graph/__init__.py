"""The ONNX graph of an encoder, built node by node from a checkpoint and a plan."""
