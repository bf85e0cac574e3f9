"""Files that are whole or not there, pickles read without running them, and processes that may crash."""
