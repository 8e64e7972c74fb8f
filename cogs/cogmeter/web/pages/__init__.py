"""The dashboard's pages: views that read, templates that show, and the scripts and styles that browsers load."""
