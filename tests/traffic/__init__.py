"""Recorded-looking traffic with labelled incidents, the same for the same seed: to judge by it what finds them."""

from traffic.incidents import INCIDENTS, Incident
from traffic.services import QUIET, SERVICES, Service
from traffic.simulation import CHECK_S, Found, fired_s, simulate
from traffic.stream import START_S, Minutes, Traffic

__all__ = [
    "CHECK_S",
    "INCIDENTS",
    "QUIET",
    "SERVICES",
    "START_S",
    "Found",
    "Incident",
    "Minutes",
    "Service",
    "Traffic",
    "fired_s",
    "simulate",
]
