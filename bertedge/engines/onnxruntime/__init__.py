"""onnxruntime: the reference engine, which runs on every CPU."""
