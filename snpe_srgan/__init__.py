"""snpe-srgan: train super-resolution networks and put them on Snapdragon chips as `.dlc` files."""

__version__ = "0.1.0"
