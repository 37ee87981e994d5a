"""The part of the CloudWatch API that shows functions' metrics."""

from __future__ import annotations

import re
from typing import Any

from lambent.api.context import Context
from lambent.errors import InvalidParameterValue
from lambent.observe.metrics import Metrics, Series, Statistics

NAMESPACE = "AWS/Lambda"
_UNITS = {"Duration": "Milliseconds"}
_PAGE = 500
# Source: GetMetricStatistics in the CloudWatch API reference.
_DATAPOINTS = 1440
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")

Parameters = dict[str, Any]


def _statistic(name: str, each: Statistics) -> float:
    """A statistic by its name; raises InvalidParameterValue."""
    if name == "Sum":
        return each.total
    if name == "Average":
        return each.total / each.count
    if name == "SampleCount":
        return float(each.count)
    if name == "Minimum":
        return each.least
    if name == "Maximum":
        return each.most
    percentile = _PERCENTILE.fullmatch(name)
    if percentile is None:
        raise InvalidParameterValue(f"The value {name} for parameter Stat is not supported.")
    return each.percentile(float(percentile[1]))


class CloudWatch:
    """Handlers of the metric operations."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def list_metrics(self, context: Context, parameters: Parameters) -> Parameters:
        if parameters.get("Namespace", NAMESPACE) != NAMESPACE:
            return {"Metrics": []}
        wanted = [(each["Name"], each.get("Value")) for each in parameters.get("Dimensions", [])]
        found = []
        for _, _, name, dimensions in await self._metrics.series(context.account, context.region):
            given = dict(dimensions)
            fits = all(key in given and value in (None, given[key]) for key, value in wanted)
            if fits and parameters.get("MetricName", name) == name:
                pairs = [{"Name": key, "Value": value} for key, value in dimensions]
                described = {"Namespace": NAMESPACE, "MetricName": name, "Dimensions": pairs}
                found.append(described)
        begin = _token(parameters.get("NextToken"))
        page = found[begin : begin + _PAGE]
        more = begin + _PAGE < len(found)
        return {"Metrics": page, "NextToken": str(begin + _PAGE) if more else None}

    async def get_metric_statistics(self, context: Context, parameters: Parameters) -> Parameters:
        start, end, period = parameters["StartTime"], parameters["EndTime"], parameters["Period"]
        _check(start, end, period)
        if (end - start) / period > _DATAPOINTS:
            raise InvalidParameterValue(
                "You have requested up to more datapoints than the limit of 1,440. You may reduce "
                "the datapoints requested by increasing Period, or decreasing the time range."
            )
        series = _series(context, parameters)
        found = await self._read(parameters["Namespace"], series, start, end, period)
        plain = parameters.get("Statistics", [])
        extended = parameters.get("ExtendedStatistics", [])
        if not plain and not extended:
            raise InvalidParameterValue("Statistics or ExtendedStatistics must be specified.")
        points = []
        for at, each in sorted(found.items()):
            point: Parameters = {"Timestamp": float(at), "Unit": _UNITS.get(series[2], "Count")}
            point.update({name: _statistic(name, each) for name in plain})
            if extended:
                point["ExtendedStatistics"] = {n: _statistic(n, each) for n in extended}
            points.append(point)
        return {"Label": series[2], "Datapoints": points}

    async def get_metric_data(self, context: Context, parameters: Parameters) -> Parameters:
        start, end = parameters["StartTime"], parameters["EndTime"]
        results = []
        for query in parameters["MetricDataQueries"]:
            stat = query.get("MetricStat")
            if stat is None:
                raise InvalidParameterValue(
                    "Expressions are not offered by this version of Lambent."
                )
            metric, period = stat["Metric"], stat["Period"]
            _check(start, end, period)
            if not query.get("ReturnData", True):
                continue
            series = _series(context, metric)
            found = await self._read(metric.get("Namespace", ""), series, start, end, period)
            newest_first = parameters.get("ScanBy", "TimestampDescending") == "TimestampDescending"
            times = sorted(found, reverse=newest_first)
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label", series[2]),
                    "Timestamps": [float(at) for at in times],
                    "Values": [_statistic(stat["Stat"], found[at]) for at in times],
                    "StatusCode": "Complete",
                }
            )
        return {"MetricDataResults": results, "Messages": []}

    async def _read(
        self, namespace: str, series: Series, start: float, end: float, period: int
    ) -> dict[int, Statistics]:
        if namespace != NAMESPACE:
            return {}
        return await self._metrics.read(series, start, end, period)


def _series(context: Context, parameters: Parameters) -> Series:
    pairs = sorted((each["Name"], each["Value"]) for each in parameters.get("Dimensions", []))
    return context.account, context.region, parameters.get("MetricName", ""), tuple(pairs)


def _check(start: float, end: float, period: int) -> None:
    if not start < end:  # nor is it where one of them is not a number
        raise InvalidParameterValue(
            "The parameter StartTime must be less than the parameter EndTime."
        )
    if period < 60 or period % 60:
        raise InvalidParameterValue("Period must be a multiple of 60 seconds.")


def _token(token: str | None) -> int:
    try:
        return max(0, int(token or "0"))
    except ValueError:
        raise InvalidParameterValue("The value for parameter NextToken is invalid.") from None
