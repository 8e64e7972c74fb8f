"""The demo: the project's bot in a simulated Discord, with made-up history and traffic that exist nowhere else."""
