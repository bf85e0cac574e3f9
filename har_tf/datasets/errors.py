"""The error of this package."""


class DatasetError(ValueError):
    """A data folder, a list file or a data set that cannot be used; one line that names the thing."""
