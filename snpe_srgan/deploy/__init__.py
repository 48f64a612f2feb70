"""The stage deploy: one quantized network as everything that an app on a phone needs, with its proof."""
