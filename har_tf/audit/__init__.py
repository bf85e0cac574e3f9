"""What is broken, double, or on both sides of a split."""

import lazy_loader

# A manifest is read without what decodes and compares videos.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"overlap": ["overlap_report"]})
