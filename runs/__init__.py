"""How it is carried out: command line, configuration, engine, store, plots."""
