"""Which clips stand for many: classes and recordings take turns."""

from collections import Counter
from collections.abc import Sequence


def spread(labels: Sequence[int], recordings: Sequence[str], count: int) -> list[int]:
    """The places of so many clips, or of all, in their order.

    The next is of the class of which fewest are taken, and among those of the recording of which fewest are.

    Args:
        labels: of the N clips.
        recordings: what each clip was cut from.
        count: how many.
    """
    classes, taken = Counter(), Counter()
    kinds = [(int(label), recording) for label, recording in zip(labels, recordings, strict=True)]
    left = dict.fromkeys(range(len(kinds)))
    while left and len(kinds) - len(left) < count:
        place = min(left, key=lambda i: (classes[kinds[i][0]], taken[kinds[i][1]]))
        classes[kinds[place][0]] += 1
        taken[kinds[place][1]] += 1
        del left[place]
    return [place for place in range(len(kinds)) if place not in left]
