"""LiteRT's file format: integer networks written as .tflite, and read back."""
