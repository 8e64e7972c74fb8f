"""The demo: the example bot in a simulated Discord, with simulated history and traffic."""
