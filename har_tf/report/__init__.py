"""Tables, plots and the page that a run leaves behind; numbers come in, nothing is computed here."""
