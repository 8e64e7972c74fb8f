"""The small tables (alerts, errors, usage, costs, samples, traces, markers): one SQL text for every engine.

An engine provides a Session for the differences between its SQL and the others'; see session.py.
"""
