"""``cogmeter dashboard``: all that the command line shows, on one screen that refreshes itself (extra ``tui``)."""
