"""Work without a user: task loops, scheduled jobs and event listeners."""
