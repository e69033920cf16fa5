"""Pages in a browser, served on this machine only: the dashboard of recordings, and the lab."""
