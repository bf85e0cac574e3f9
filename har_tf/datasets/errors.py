"""The errors of this package."""


class DatasetError(ValueError):
    """A data folder, a list file or a data set that cannot be used; one line that names the thing."""


class IncompleteError(DatasetError):
    """A copy of a published data set that lacks videos; `lacking` says which, without what helps from Python."""

    def __init__(self, lacking: str):
        super().__init__(f"{lacking}; partial=True does without")
        self.lacking = lacking
