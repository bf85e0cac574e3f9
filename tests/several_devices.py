"""Experiments with `--strategy mirrored` beside one device: `from several_devices import ...`.

Dropout has to be off, for its random numbers are of each device.
"""

import json
from functools import partial

import pytest

from har_tf import devices
from har_tf.experiment import changed


def results_on(count: int, main, recipe) -> dict:
    """`results.json` of an experiment that was run on so many logical CPUs, with features and clips of its own."""
    out, kind, run = recipe.output.out, "mirrored" if count > 1 else "one", f"on_{count}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "mirrored", partial(devices.mirrored, count))
        try:
            main(changed(recipe, strategy=kind, run=run, prepared=out / f"prepared_{count}"))
        finally:
            devices.begin("one")
    (file,) = out.glob(f"*/{run}/results.json")
    return json.loads(file.read_text())


def assert_same(several: dict, one: dict) -> None:
    """All that is in results, within rounding, but how long it took."""
    several, one = _values(several), _values(one)
    assert several.keys() == one.keys()
    apart = {
        name: (value, one[name])
        for name, value in several.items()
        if value != (pytest.approx(one[name], rel=1e-3, abs=1e-4) if isinstance(value, float) else one[name])
    }
    assert not apart, apart


def _values(results) -> dict[str, object]:
    """Path -> value."""
    if not isinstance(results, dict | list):
        return {"": results}
    entries = results.items() if isinstance(results, dict) else enumerate(results)
    return {
        f"{name}/{inner}": value
        for name, entry in entries
        if not str(name).endswith("seconds")
        for inner, value in _values(entry).items()
    }
