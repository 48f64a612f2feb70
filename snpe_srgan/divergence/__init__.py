"""Where two runs of a network part: host against emulator, or one file against another, layer by layer."""
