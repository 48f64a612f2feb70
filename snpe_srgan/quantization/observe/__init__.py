"""What flows through a float network on calibration pictures, and how much each tensor matters."""
