import pytest

from har_tf.files.json_text import DEEPEST, parse_json


def nested(levels: int) -> str:
    return '{"a": [1, ' * (levels // 2) + "0" + "]}" * (levels // 2)


def test_values_come_back_from_text_and_bytes():
    for content in ('{"a": [1, null, "ü"]}', '{"a": [1, null, "ü"]}'.encode(), '\ufeff{"a": [1, null, "ü"]}'.encode()):
        assert parse_json(content) == {"a": [1, None, "ü"]}
    assert len(parse_json(f"[{'[1],' * 1000}[]]")) == 1001
    assert str(parse_json(nested(DEEPEST))).count("[") == DEEPEST // 2


@pytest.mark.parametrize("text", [nested(DEEPEST + 2), "[" * 200, "[" * 100_000, nested(100_000), '{"":' * 100_000])
def test_what_is_nested_too_deeply_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"nested deeper than 100 levels|line 1 column"):
        parse_json(text)


@pytest.mark.parametrize("content", ["", "{", b"\xff{}", b"\x00", "9" * 5000, "'a'"])
def test_what_is_no_json_is_a_value_error(content):
    with pytest.raises(ValueError) as error:
        parse_json(content)
    assert "\n" not in str(error.value)
