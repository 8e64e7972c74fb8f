"""Services that the bot calls: requests to hosts other than Discord's API."""
