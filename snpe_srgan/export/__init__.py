"""From a trained network to the files that other programs read: .pb, .onnx, and their cost."""
