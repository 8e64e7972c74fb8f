"""Reads what was pushed to Datadog with the models of its own client, and keeps it as Datadog would."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from datadog_api_client.configuration import Configuration
from datadog_api_client.model_utils import ModelNormal, validate_and_convert_types
from datadog_api_client.v1.model.event_create_request import EventCreateRequest
from datadog_api_client.v2.model.metric_payload import MetricPayload
from http_receiver import Seen

MODELS = {"/api/v2/series": MetricPayload, "/api/v1/events": EventCreateRequest}
TAG = re.compile(r"[a-z][\w.-]*:[\w\-:./]+")
METRIC = re.compile(r"[a-z][a-z0-9_.]*")
COUNT, GAUGE = 1, 3

Key = tuple[str, str, frozenset[str]]  # metric, host, tags


@dataclass
class Intake:
    """What Datadog knows: one value for each metric, host, set of tags and second. The last one replaces the others."""

    points: dict[Key, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    units: dict[str, str] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    replaced: int = 0  # points that came again

    @classmethod
    def of(cls, requests: Iterable[Seen], *, key: str) -> Intake:
        intake = cls()
        for seen in requests:
            assert seen.headers["DD-API-KEY"] == key
            assert seen.headers["Content-Type"] == "application/json"
            model = read(seen.body, MODELS[seen.path])
            if isinstance(model, MetricPayload):
                assert seen.headers["Content-Encoding"] == "gzip"
                assert int(seen.headers["Content-Length"]) <= 512_000
                assert len(seen.body) <= 5_242_880  # aiohttp has decompressed it
                intake._keep(model)
            else:
                check_tags(model.tags)
                intake.events.append(model)
        return intake

    def _keep(self, payload: MetricPayload) -> None:
        assert payload.series
        within: set[Any] = set()
        for series in payload.series:
            assert METRIC.fullmatch(series.metric)
            check_tags(series.tags)
            kind = series.type.value
            assert (kind, getattr(series, "interval", None)) in {(COUNT, 60), (GAUGE, None)}
            self.units[series.metric] = getattr(series, "unit", "")
            (host,) = (resource.name for resource in series.resources if resource.type == "host")
            key = series.metric, host, frozenset(series.tags)
            (point,) = series.points
            assert kind == GAUGE or point.timestamp % 60 == 0
            assert (key, point.timestamp) not in within, "one request has the same point twice"
            within.add((key, point.timestamp))
            self.replaced += point.timestamp in self.points[key]
            self.points[key][point.timestamp] = point.value

    def total(self, metric: str, **tags: str) -> float:
        """The sum of a metric over all points with these tags."""
        return sum(value for points in self.of_tags(metric, **tags) for value in points.values())

    def of_tags(self, metric: str, **tags: str) -> list[dict[int, float]]:
        wanted = {f"{name}:{value}" for name, value in tags.items()}
        return [points for (name, _, found), points in self.points.items() if name == metric and wanted <= found]


def read(body: bytes, kind: type[Any]) -> Any:
    """The body as the client's model. Fields and values that Datadog does not know are refused."""
    content = json.loads(body)
    model = validate_and_convert_types(content, (kind,), ["body"], True, True, configuration=Configuration())
    check_known(model)
    return model


def check_known(value: Any) -> None:
    if isinstance(value, list):
        for one in value:
            check_known(one)
    elif isinstance(value, ModelNormal):
        assert not getattr(value, "_unparsed", False), type(value).__name__
        assert value._data_store.keys() <= value.openapi_types.keys(), type(value).__name__
        for one in value._data_store.values():
            check_known(one)
    else:
        assert not getattr(value, "_unparsed", False), value


def check_tags(tags: list[str]) -> None:
    """Fail on a tag that Datadog would change; source: "Getting started with tags"."""
    assert len(set(tags)) == len(tags)
    for tag in tags:
        assert TAG.fullmatch(tag), tag
        assert len(tag) <= 200
        assert tag == tag.lower()
        assert "__" not in tag
        assert not tag.endswith(("_", ":")), tag
