"""Numbers about predictions and explanations; each module is imported by name (`evaluate.classification`)."""
