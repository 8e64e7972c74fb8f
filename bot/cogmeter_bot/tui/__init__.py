"""``cogmeter dashboard``: a full-screen dashboard that refreshes itself (extra ``tui``)."""
