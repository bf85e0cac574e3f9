"""python -m har_tf report: tables, figures and the page of runs again, without a model."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from har_tf.names import say


@dataclass(frozen=True)
class Report:
    """Write tables, figures and report.html of finished runs again, from their results.json; no model is needed."""

    runs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)"),
    ]
    """Folders of runs, such as runs/ucf10_cnn_gru/figures-group-1a2b3c4d."""
    quote: tuple[Path, ...] = ()
    """Markdown files that show tables of the runs: what stands between the lines <!-- table EXPERIMENT/RUN/TABLE -->
    and <!-- end of table --> is written anew. In RUN, * stands for anything."""

    def run(self) -> None:
        from har_tf.report.publish import publish
        from har_tf.report.quote import quote

        if not self.runs:
            say("error: at least one folder of a run is needed", to=sys.stderr)
            sys.exit(2)
        for folder in self.runs:
            publish(folder)
            for document in quote(folder, self.quote):
                say(f"tables in:  {document}")
