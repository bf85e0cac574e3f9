"""python -m har_tf check: what is broken, double, or in two parts of a split."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from har_tf.cli.loading import loader_options
from har_tf.names import say


@dataclass(frozen=True)
class Check:
    """Decode every video of a folder and say what is broken, what is there twice, and what is in two parts of a split.

    The exit code is 1 if there are problems, duplicates, or (with --audit) clips in two parts that show the same.
    """

    directory: Annotated[Path, tyro.conf.Positional]
    """Any folder; videos may lie at any depth."""
    out: Path | None = None
    """The manifest to write, .parquet or .csv. If it is there, only files that changed are read."""
    audit: bool = False
    """Also look for clips that show the same frames."""
    dataset: str | None = None
    """The data set that the folder holds (ucf101, hmdb51, ...), for its official split. None: any folder; those in it
    that are called train, val and test are a split."""
    lists: Path | None = None
    """Folder of the official lists. They may be of UCF101 where no data set is named."""
    split: int | None = None
    """Number of the official split. None: 1."""
    options: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """More about how the data set is loaded: KEY=VALUE,... such as partial=true of one that is not whole; may be
    repeated. The keys are the arguments of its `load` in har_tf.datasets."""
    workers: int | None = None
    """Decoding processes. None: one a core."""
    fresh: bool = False
    """Read all files again."""
    timeout: float = 600
    """Seconds after which a file is given up, which is its problem then."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> None:
        from har_tf import datasets
        from har_tf.audit import overlap as audit
        from har_tf.audit.check import check, duplicates, summary

        if not self.timeout > 0:
            raise ValueError(f"A file is given some time, in seconds. Received: --timeout {self.timeout:g}")
        dataset = None
        if self.dataset is None and self.options:
            raise ValueError(f"A folder has no options; --dataset names what it holds. Received: {self.options[0]}")
        if self.dataset is not None and self.dataset not in datasets.PUBLISHED:
            raise ValueError(f"Data sets are {', '.join(datasets.PUBLISHED)}. Received: --dataset {self.dataset}")
        if self.dataset is not None:
            loading = loader_options(self.dataset, self.options)
            dataset = datasets.load(self.dataset, self.directory, split=self.split or 1, lists=self.lists, **loading)
        elif self.lists is not None or self.split is not None:
            dataset = datasets.load(self.directory, split=self.split or 1, lists=self.lists)
        found = check(self.directory, self.out, self.workers, self.audit, dataset, self.fresh, self.timeout)
        pairs = audit.pairs(found) if self.audit else ()
        leaks = [pair for pair in pairs if pair.across]
        if self.json:
            twice = {kind: [[row.path for row in rows] for rows in sets] for kind, sets in duplicates(found).items()}
            report = {
                "files": len(found),
                "problems": {row.path: row.problem for row in found.problems},
                "notes": {row.path: row.note for row in found.rows if row.note},
                "duplicates": twice,
                "near_identical": [asdict(pair) for pair in pairs] if self.audit else None,
            }
            say(json.dumps(report))
        else:
            say(*summary(found).split("\n"))
            if self.audit:
                say(*audit.summary(found, pairs).split("\n"))
            if self.out is not None:
                say(self.out)
        counts = {
            "files with a problem": len(found.problems),
            "duplicates": sum(len(rows) - 1 for rows in found.duplicates),
            "near-identical pairs across the split": len(leaks),
        }
        if any(counts.values()):
            named = "; ".join(f"{what}: {count}" for what, count in counts.items() if count)
            raise Findings(f"{self.directory}, {len(found)} files: {named}")


class Findings(ValueError):
    """A collection has problems; the summary on stdout names them."""
