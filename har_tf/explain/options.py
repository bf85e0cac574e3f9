"""The options that several methods have, and what each may be. Nothing here imports TensorFlow."""

CHOICES = {
    "normalize": ("clip", "frame", None),
    "pool": ("spatial", "spatiotemporal"),
    "channels": ("sum", "max", "norm"),
    "join": ("sum", "average"),
    "align": ("centres", "corners"),
    "goal": ("preserve", "delete"),
    "score": ("logit", "probability"),
    "scale": ("percentile", "max"),
    "colours": ("max", "sum"),
    "weights": ("probability", "softmax"),
}


def check(**options) -> None:
    """Raises ValueError for the first option, by its name in `CHOICES`, that is none of its choices."""
    for name, value in options.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name} is one of {', '.join(map(repr, CHOICES[name]))}. Received: {name}={value!r}")
