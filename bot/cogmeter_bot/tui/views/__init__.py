"""What the dashboard shows, one module for each view."""
