"""What the networks are trained on: pixel, feature and adversarial losses, each a pure function of tensors."""
