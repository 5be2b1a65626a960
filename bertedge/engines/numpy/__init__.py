"""Numpy for the int8 matmuls, onnxruntime for everything else: correct on every CPU, and slow."""
