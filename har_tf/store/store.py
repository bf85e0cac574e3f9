"""One resumable store on disk, under prepared clips, features and flow.

A store is a folder, named by a fingerprint of all that its content depends on, so that two settings never mix. It
appears only when everything in it is complete. Until then its parts gather in a hidden folder beside it,
`.<name>_<fingerprint>.work`; a run that was interrupted, in whatever way, is taken up there by the next one. A second
run of the same at the same time waits for the first.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import TypeVar

from har_tf.datasets.errors import DatasetError
from har_tf.files.whole import FULL, alone, resumable, size_text, sync
from har_tf.names import say

NAMED = 5  # clips that a message names
Opened = TypeVar("Opened")

log = logging.getLogger(__name__)


def check_room(out_dir: Path, needs: Mapping[str, int], remedy: str) -> None:
    """Says how much disk several stores take, and refuses what does not fit, before the first of them is filled.

    What lies in the folder counts as room: it may be a part of them.

    Args:
        out_dir: the folder of the stores, which is made where it is not there.
        needs: what is stored, and its bytes.
        remedy: what takes less.

    Raises:
        DatasetError: the disk is too small.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in out_dir.rglob("*") if path.is_file())
    free = shutil.disk_usage(out_dir).free
    named = ", ".join(f"{what} {size_text(count)}" for what, count in needs.items())
    text = f"{size_text(sum(needs.values()))} of disk are needed ({named}); {size_text(free)} are free"
    text += f", {size_text(there)} are stored" if there else ""
    if sum(needs.values()) > free + there:
        raise DatasetError(f"{out_dir}: {text}. {remedy}")
    say(f"{out_dir}: {text}")


class Store:
    """The places of one store, and the order in which it comes to be.

    Args:
        out_dir: folder for stores.
        name: what it is, for those who look at the folder.
        fingerprint: of all that its content depends on, in hexadecimal.
        inside: folder in the store that everything lies in; empty: the store itself.

    Attributes:
        name: the one it was made under first.
        place: where the finished content lies.
        work: the hidden folder of an unfinished store.
        parts: the folder in `work` that becomes `place`.
    """

    def __init__(self, out_dir: str | Path, name: str, fingerprint: str, inside: str = ""):
        self.fingerprint = fingerprint
        self._out_dir = Path(out_dir)
        # What was made before is found by its fingerprint, also where the data were called otherwise then.
        known = sorted(self._out_dir.glob(f"[!.]*_{fingerprint[:12]}"))
        home = self._out_dir / f"{name}_{fingerprint[:12]}"
        self._home = home if home in known or not known else known[0]
        self.work = self._home.with_name(f".{self._home.name}.work")
        self.name = self._home.name.removesuffix(f"_{fingerprint[:12]}")
        self.place, self.parts = self._home / inside, self.work / inside
        self._needs = ""
        self._damage: DatasetError | None = None  # what was wrong with the store that is mended

    def open_or_fill(self, open_at: Callable[[Path, bool], Opened], fill: Callable[[], object]) -> Opened:
        """Opens what was finished before; where there is nothing, or something damaged, fills the store first.

        A damaged store becomes an unfinished one again, so that what is sound in it is kept.

        Args:
            open_at: opens the content of a store, and compares every byte with its checksum where the second argument
                is True; raises DatasetError where it is damaged.
            fill: calls `begin`, writes what is missing into `parts`, and leaves nothing else there.

        Raises:
            DatasetError: the folder cannot be written, or the disk is too small or gets full.
        """
        opened, lock = self._opened(open_at), self._home.with_name(f".{self._home.name}.lock")
        if opened is None or lock.exists():  # a killed run leaves its lock
            try:
                self._out_dir.mkdir(parents=True, exist_ok=True)
                with alone(lock), resumable(f"the same command goes on from what is finished in {self.work}"):
                    opened = self._opened(open_at)
                    if opened is None:
                        self._reopen()
                        fill()
                        self._publish()
                        opened = open_at(self.place, False)
            except OSError as error:
                raise DatasetError(f"{self._out_dir}: {self._failure(error)}") from error
        return opened

    def begin(self, files: Set[Path], missing: Sequence[str], total: int, clip_bytes: int, clips: str) -> None:
        """Says what room is needed, makes the folders of unfinished files, removes what a killed run left of others.

        Args:
            files: that may lie there while the store is filled.
            missing: names of the clips that are still to be written.
            total: number of all clips.
            clip_bytes: that each of them takes; 1 KiB is added for its part of the index.
            clips: what they are, as in "30 clips of 3 x 16 x 24".

        Raises:
            DatasetError: the disk is too small.
        """
        count = len(missing)
        free, needed = shutil.disk_usage(self._out_dir).free, count * (clip_bytes + 1024)
        if needed > free:
            raise DatasetError(
                f"{self._out_dir}: {size_text(needed)} are needed for {count} {clips}; {size_text(free)} are free"
            )
        self._needs = f"; {count} {clips} take {size_text(needed)}"
        if count:
            say(f"{self._out_dir}: {count} {clips} take {size_text(needed)} of disk; {size_text(free)} are free")
        for folder in {self.parts, *(file.parent for file in files)}:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path not in files:
                    path.unlink()
        if self._damage is not None:
            named = f": {', '.join(missing[:NAMED])}{', ...' * (count > NAMED)}" if missing else ""
            log.warning("%s: %d of %d clips are made again, the others kept%s", self._home, count, total, named)
        elif count < total:
            log.info("%s: %d of %d clips were finished before", self.work, total - count, total)

    def _opened(self, open_at: Callable[[Path], Opened]) -> Opened | None:
        self._damage = None
        if not self.place.exists():
            return None
        try:
            return open_at(self.place, True)
        except DatasetError as error:
            self._damage = error
            return None

    def _reopen(self) -> None:
        """Makes a damaged store an unfinished one."""
        if self._damage is not None:
            log.warning("%s", self._damage)
            shutil.rmtree(self.work, ignore_errors=True)
            self._home.rename(self.work)
        else:
            shutil.rmtree(self._home, ignore_errors=True)  # a folder without the content

    def _publish(self) -> None:
        for path in (*self.parts.iterdir(), self.parts):
            sync(path)
        sync(self.work)
        self.work.rename(self._home)
        sync(self._out_dir)

    def _failure(self, error: OSError) -> str:
        if error.errno not in FULL:
            return f"cannot be written: {error.strerror or error}"
        return (
            f"the disk is full{self._needs}. What is finished stays in {self.work}: make room and run this again, or "
            "remove it"
        )
