"""Which tensor gets which grid, and the quantized (QDQ) graph that is written."""
