"""What a quantization costs: in simulation, on the emulator, layer by layer."""
