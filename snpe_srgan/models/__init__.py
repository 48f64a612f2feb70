"""Networks: one file each, described once as a list of layers, built for TensorFlow or ONNX from that description."""
