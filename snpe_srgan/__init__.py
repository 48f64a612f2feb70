"""snpe-srgan: train super-resolution networks and put them on Snapdragon chips as `.dlc` files."""

from snpe_srgan.offline import switch_telemetry_off

__version__ = "0.1.0"

switch_telemetry_off()
