"""What is broken, double, or on both sides of a split."""
