"""The arithmetic of quantization: pure functions of arrays."""
