"""How the Hexagon computes where it differs from what a graph says, as far as it was measured on the emulator.

Qualcomm publishes none of this; `tests/test_divergence.py` measures it again.
"""

LOST_UNIT = 256
"""A convolution of 16-bit activations is added up without the low 8 bits of the sum: each sum is rounded down to a
multiple of 256 products (input scale x weight scale), so half of that is lost on average, everywhere in the picture
alike; the bias and the part of the input's zero point are rounded to that unit as well. A product of 8-bit weights is
worth a sixteenth of one of 4-bit weights, which is why only the latter show it. 8-bit activations lose nothing."""
