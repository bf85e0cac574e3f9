"""A file for each page that is published, made from `results.json` and the files beside it."""
