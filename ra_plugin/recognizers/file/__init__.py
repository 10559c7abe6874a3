"""Networks in files of other frameworks: ONNX and TFLite."""
