"""The stages between two artifacts: freeze, convert, quantize, compress, inspect, each with its self-check."""
