"""How a model is trained, as values that are checked before TensorFlow is imported."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainingRecipe:
    """How a model is trained.

    Args:
        epochs: passes over the training clips.
        learning_rate: the first one; with "cosine" the largest.
        schedule: "constant"; "cosine": a linear start over `warmup_epochs`, then half a cosine to zero; "step": a tenth
            of what it was after every `step_epochs`.
        warmup_epochs: may be a fraction.
        label_smoothing: share of the target that is spread over all classes.
        clipnorm: largest norm of any weight's gradient; None: not clipped.
        weight_decay: decoupled, as in AdamW; 0: none.
        optimizer: "adam", or "sgd" with `momentum`.
        momentum: of SGD.
        step_epochs: see `schedule`.
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "step"] = "constant"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    clipnorm: float | None = None
    weight_decay: float = 0.0
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.9
    step_epochs: int = 50

    def __post_init__(self):
        clipnorm, schedules = self.clipnorm is None or self.clipnorm > 0, ("constant", "cosine", "step")
        rules = (
            ("epochs", self.epochs >= 1, "At least one epoch"),
            ("learning_rate", self.learning_rate > 0, "The learning rate is positive"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "Label smoothing lies in [0, 1)"),
            ("warmup_epochs", self.warmup_epochs >= 0, "warmup_epochs is at least 0"),
            ("weight_decay", self.weight_decay >= 0, "weight_decay is at least 0"),
            ("clipnorm", clipnorm, "clipnorm is positive, or None"),
            ("schedule", self.schedule in schedules, "Schedules are 'constant', 'cosine' and 'step'"),
            ("optimizer", self.optimizer in ("adam", "sgd"), "Optimisers are 'adam' and 'sgd'"),
            ("momentum", 0 <= self.momentum < 1, "The momentum lies in [0, 1)"),
            ("step_epochs", self.step_epochs >= 1, "A step takes at least one epoch"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise ValueError(f"{rule}. Received: {name}={getattr(self, name)!r}")
