"""Engines that run a model, all behind one `Session`."""
