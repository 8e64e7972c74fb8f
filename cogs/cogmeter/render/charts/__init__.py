"""Charts: PNG pictures that matplotlib draws in a worker process.

A chart passes through these modules:

- ``builder`` makes a ``chart.Chart`` from a timeline or an alert, and adds thresholds and markers.
- ``worker_client`` sends it as JSON to ``worker``, the process that ``worker_process`` starts.
- ``painter`` draws it. One figure with two axes serves every picture; ``cogmeter.mplstyle`` has colours and sizes.
- ``plots`` has a function for each element: lines, bars, thresholds, breaches, markers.
- ``bar_chart`` makes a ``BarChart`` of a slow run or of a command's time; ``bar_painter`` draws it into a figure of its
  own, whose horizontal axis begins at the start of the run.
- ``ticks`` computes limits and ticks without matplotlib, so that the terminal can use them.

How to add a chart:

1. A quantity with one value per bin, such as a queue's length, needs no drawing: make a ``curve.Curve`` and pass it as
   ``Chart(timeline, curve)``. A new unit is one entry in ``curve.UNITS``.
2. Another element needs a field of ``Chart`` (also in ``Chart.fingerprint``), a function in ``plots`` that draws it
   into the axes, a call in ``Painter.draw``, and a sentence in ``chart.describe`` for screen readers.
   The horizontal axis counts microseconds since 1970. Artists are removed before the next picture.
3. Look at ``Painter().draw(chart)``, which returns the PNG: without data, with one bin, and at a width of 400 pixels.
4. Add the case to ``tests/cogmeter/render/charts/test_painter.py``.
"""
