"""The ONNX graph of a BERT, built node by node from a checkpoint and a plan."""
