"""What is broken, double, or on both sides of a split."""

from har_tf.audit.overlap import overlap_report

__all__ = ["overlap_report"]
