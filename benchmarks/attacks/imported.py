"""Imported by the process that those of `interruptions` are forked from, so that each begins at once."""

from benchmarks.attacks.programs import preload

preload()
