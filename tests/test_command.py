"""The command line's habits: one line of reason, exit codes, names separated by commas."""

import pytest

from har_tf.command import guarded, words
from har_tf.video import VideoError


def fail(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("epochs=0"), "error: epochs=0"),
        (VideoError("a.avi", "empty"), "error: a.avi: empty"),
        (PermissionError(13, "Permission denied", "/x/y"), "error: /x/y: Permission denied"),
        (ValueError("two\nlines"), "error: two lines"),
        (KeyError("weights"), "error: KeyError: 'weights' (HAR_TF_TRACEBACK=1 shows where)"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(error, line, capsys):
    assert guarded(fail(error)) == 1
    assert capsys.readouterr().err == line + "\n"


def test_success_interruption_and_traceback(monkeypatch, capsys):
    assert guarded(lambda: None) == 0
    assert guarded(fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"
    monkeypatch.setenv("HAR_TF_TRACEBACK", "1")
    with pytest.raises(ValueError, match="seen"):
        guarded(fail(ValueError("seen")))


def test_words():
    assert words("a, b,,c ") == ["a", "b", "c"]
    with pytest.raises(ValueError, match="Received: ' , '"):
        words(" , ")
