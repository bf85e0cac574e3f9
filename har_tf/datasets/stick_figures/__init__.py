"""The embedded data set: people who act, drawn with their boxes, joints and tracks."""
