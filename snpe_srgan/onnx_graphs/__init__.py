"""ONNX graphs: read, built, rewritten, sized, asked for their facts, run, made from a TensorFlow graph."""
