"""Pictures: reading and writing them, MATLAB's bicubic, colour and range, tiles. NumPy; Pillow only for codecs."""
