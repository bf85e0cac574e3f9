"""Concepts: mined from videos, reviewed, and asked of a model's layers (TCAV)."""
