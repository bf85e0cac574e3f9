"""The one reader of JSON: whatever a damaged or malicious text is, its error is a ValueError of one line."""

import json
from typing import Any

DEEPEST = 100  # models in models in a `.keras` file come to 30; what handles values by recursion can take a few hundred


def parse_json(content: str | bytes) -> Any:
    """The value of a JSON text.

    Args:
        content: text, or bytes of UTF-8 with or without a byte order mark.

    Raises:
        ValueError: it is no JSON, or nested deeper than `DEEPEST` levels.
    """
    text = content if isinstance(content, str) else bytes(content).decode("utf-8-sig")
    too_deep = f"nested deeper than {DEEPEST} levels"
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    # With fewer brackets than levels there is nothing to count.
    level, depth = [value] if text.count("[") + text.count("{") > DEEPEST else [], 0
    while level:
        level = [
            part for whole in level if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]  # fmt: skip
        depth += 1
        if depth > DEEPEST + 1:
            raise ValueError(too_deep)
    return value
