"""Detectors of things in frames, behind one interface."""
