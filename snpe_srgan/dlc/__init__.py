"""Reads .dlc files without any SDK, and rebuilds the ONNX graph they were made from."""
