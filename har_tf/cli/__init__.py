"""The command line: a file for each command, with its options and what it does with them."""

from har_tf.signals import answer_while_imports_run

answer_while_imports_run()
