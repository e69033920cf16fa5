"""These are users' scripts: they train as soon as they are imported, so nobody collects them."""

collect_ignore_glob = ["*.py"]
