"""What people look at: charts, embeds and the words for numbers."""
