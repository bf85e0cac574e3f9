"""python -m har_tf preview: a sheet of what the embedded data set draws."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from har_tf.datasets import stick_figures
from har_tf.datasets.stick_figures import Figures
from har_tf.names import say


@dataclass(frozen=True)
class Preview:
    """Write a sheet of what the embedded data set draws, with its true boxes."""

    dataset: Annotated[Literal["figures"], tyro.conf.Positional]
    """The embedded data set."""
    out: Path = Path("figures.png")
    """The picture to write."""
    size: tuple[int, int] = (128, 192)
    """Height and width of a frame."""
    figure_height: float = Figures.figure_height
    """Height of a figure as a share of the frame's, from 0.2 to 0.9."""
    clutter: float = Figures.clutter
    """Texture of the background and things in it, from 0 to 1."""
    shake: float = Figures.shake
    """How the camera moves in the hand, in widths of the frame, from 0 to 1."""
    traffic: int = Figures.traffic
    """Large things that pass behind the person, from 0 to 20."""
    noise: float = Figures.noise
    """Noise of the camera, as a share of full scale, from 0 to 1."""
    seed: int = 0
    """Seed of everything that is drawn at random."""

    def run(self) -> None:
        import cv2

        from har_tf.files.whole import check_target, whole_file

        if self.out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise ValueError(f"Sheets end in .png or .jpg. Received: --out {self.out}")
        check_target("--out", self.out)
        settings = Figures(
            size=self.size,
            figure_height=self.figure_height,
            clutter=self.clutter,
            shake=self.shake,
            traffic=self.traffic,
            noise=self.noise,
            seed=self.seed,
        )
        sheet = stick_figures.preview(settings)
        encoded = cv2.imencode(self.out.suffix, sheet[..., ::-1])[1]
        with whole_file(self.out) as temporary:
            temporary.write_bytes(encoded.tobytes())
        say(self.out)
