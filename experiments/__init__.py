"""A page for each experiment: recipe, presets, main."""

from har_tf.signals import answer_while_imports_run

answer_while_imports_run()
