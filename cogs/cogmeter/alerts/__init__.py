"""Alerting: measures, evaluates rules, stores each alert, delivers it. README.md names the file to open first."""
