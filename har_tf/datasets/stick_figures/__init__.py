"""The embedded data set: people who act, drawn with their boxes, joints and tracks."""

import lazy_loader

# Settings are read without what draws and what writes videos.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "drawing": ["ACTIONS", "JOINTS", "REVERSED_PAIRS", "Drawing", "Figures", "draw"],
        "dataset": ["generate", "load", "plan", "preview"],
    },
)
