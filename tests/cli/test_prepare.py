"""python -m har_tf prepare."""

from pathlib import Path

from checks import run_command

from har_tf.cli.app import Prepare


def test_prepare_then_open(tiny_recipe, tiny_run, tmp_path, capsys):
    from har_tf.store.prepared import PreparedDataset

    folder = next((tiny_recipe.output.out / "figures").iterdir())
    run_command(Prepare(str(folder), tmp_path, classes="wave, clap", num_frames=4, size=(16, 24), workers=0))
    count, path = capsys.readouterr().out.splitlines()[-2:]
    assert count == "12 clips, none left out"
    assert PreparedDataset.open(Path(path)).class_names == ("wave", "clap")
