"""External tools: Qualcomm's libraries from the onnxruntime-qnn wheel, the SNPE SDK, the chips they know."""
