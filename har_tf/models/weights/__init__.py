"""Published checkpoints, one publisher a file: which tensor of a file is which weight of our model."""
