"""Options of the loader of a data set, from the command line."""

import pytest
from checks import failed, run_command

from har_tf.cli.app import Check, Command, Prepare


def test_options_reach_the_loader_as_the_types_of_its_arguments(monkeypatch, videos, tmp_path):
    from har_tf import datasets
    from har_tf.datasets import DatasetError

    asked = []

    def load(*args, **options):
        asked.append(options)
        raise DatasetError("enough")

    monkeypatch.setattr(datasets, "load", load)
    given = ("boxes=joints, margin=0.25", "partial=True,workers=3")
    with pytest.raises(DatasetError, match="enough"):
        run_command(Prepare("jhmdb", tmp_path, root=videos, options=given))
    assert asked == [{"boxes": "joints", "margin": 0.25, "partial": True, "workers": 3}]
    with pytest.raises(DatasetError, match="enough"):
        run_command(Check(videos, dataset="thumos", options=("one_label=false",)))
    assert asked[1] == {"split": 1, "lists": None, "one_label": False}
    with pytest.raises(DatasetError, match="enough"):
        run_command(Prepare("figures", tmp_path, options=("clips=8,noise=0",)))
    assert asked[2] == {"clips": 8, "noise": 0.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "part=train",
            "--options of thumos are annotations=..., one_label=..., drop_wrong=..., partial=.... Got: part=t",
        ),
        (
            "partial",
            "--options of thumos are annotations=..., one_label=..., drop_wrong=..., partial=.... Got: partial",
        ),
        ("root=a", "--options of thumos are"),
        ("partial=yes", "--options: partial is true or false. Received: partial=yes"),
        ("partial=true,partial=false", "--options: partial is given twice"),
    ],
)
def test_wrong_options_are_refused_before_the_work(videos, tmp_path, capsys, given, message):
    assert message in failed(Prepare("thumos", tmp_path, root=videos, options=(given,)), capsys)
    assert message in failed(Check(videos, dataset="thumos", options=(given,)), capsys)


def test_options_are_of_named_data_sets(videos, tmp_path, capsys):
    message = failed(Prepare("jhmdb", tmp_path, root=videos, options=("margin=much",)), capsys)
    assert "--options: margin is a value of type float. Received: margin=much" in message
    assert "options of" in failed(Prepare(str(videos), tmp_path, options=("partial=true",)), capsys)
    assert "A folder has no options" in failed(Check(videos, options=("partial=true",)), capsys)


def test_options_may_be_repeated_on_the_command_line():
    import tyro

    text = ["check", ".", "--dataset", "thumos", "--options", "partial=true,one_label=false", "--options", "a=b"]
    options = tyro.cli(Command, args=text, config=(tyro.conf.OmitSubcommandPrefixes,))
    assert options.options == ("partial=true,one_label=false", "a=b")
