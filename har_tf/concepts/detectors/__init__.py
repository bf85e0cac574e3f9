"""Detectors of things in frames: `open.open_detector` opens one, `base.Detector` is what all of them are."""
