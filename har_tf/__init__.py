"""har_tf: train a video classifier, see where and when it looked, and test whether that can be trusted.

    import har_tf as har

    data = har.load("my_videos")                                   # records; prints what a reader should know
    result = har.train("CNN-GRU/MobileNetV2", data, out="runs/a")  # audited split, training, report
    clf = har.Classifier.load("runs/a/model.keras")
    clf.predict("clip.mp4").top(3)
    clf.explain("clip.mp4", method="3dcam").save("overlay.mp4")
    clf.trust(result.test)                                         # explanations, reliance, probabilities

Nothing heavy is imported until a name is used.
"""

import sys

import lazy_loader

__version__ = "0.1.0"

_attribute, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "audit", "concepts", "datasets", "evaluate", "experiment", "explain", "models", "pipeline", "report", "store",
        "training", "trial", "video",
    ],
    submod_attrs={"classifier": ["Classifier"], "front_door": ["load", "train", "trust"]},
)  # fmt: skip


def __getattr__(name):
    if name in ("Classifier", "load", "train", "trust") and "tensorflow" not in sys.modules:
        from har_tf import quiet

        quiet.import_tensorflow()  # its log lines show where the import fails
    return _attribute(name)
