"""What the server tells of itself: metrics, usage, cost, runtimes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.conftest import Functions, Server


def cli(functions: Functions, *words: str) -> str:
    command = [sys.executable, "-m", "lambent", *words]
    if words[0] != "runtimes":
        command += ["--endpoint", functions.server.endpoint]
    command += ["--data-dir", str(functions.server.data)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_every_invocation_is_billed(functions: Functions) -> None:
    name = functions.create("def handler(e, c): return 1 / e['n']", MemorySize=512)
    functions.invoke(name, {"n": 1})
    functions.invoke(name, {"n": 0})
    rows = json.loads(cli(functions, "cost", "--json"))
    row = next(each for each in rows if each["function"] == name)
    assert (row["invocations"], row["errors"], row["throttles"]) == (2, 1, 0)
    assert 0.5 * 0.002 <= row["gb_seconds"] < 1
    assert row["price"] == pytest.approx(2 * 2e-7 + row["gb_seconds"] * 1.66667e-5)
    assert name in cli(functions, "cost") and "Total: $" in cli(functions, "cost")


def test_metrics_are_for_who_knows_the_owners_key(functions: Functions) -> None:
    name = functions.create("def handler(e, c): return 1")
    functions.invoke(name)
    url = functions.server.endpoint + "/metrics"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url)
    key = functions.server.key
    pair = f"{key['access_key_id']}:{key['secret_access_key']}".encode()
    basic = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    with urllib.request.urlopen(urllib.request.Request(url, headers=basic)) as answer:
        text = answer.read().decode()
    assert f'function="{name}",version="$LATEST"}} 1\n' in text
    assert "# TYPE lambent_duration_seconds histogram" in text


def test_runtimes_says_what_the_host_has_and_how_to_get_the_rest(functions: Functions) -> None:
    rows = {each["runtime"]: each for each in json.loads(cli(functions, "runtimes", "--json"))}
    assert rows["nodejs20.x"]["state"] == "ok" and rows["nodejs20.x"]["version"].startswith("20.")
    assert rows["provided.al2023"]["state"] == "ok"
    missing = [each for each in rows.values() if each["state"] == "missing"]
    assert missing and all(each["remedy"] for each in missing)
    assert "provided.al2023" in rows["dotnet8"]["remedy"]
    assert "rbenv install 4.0" in rows["ruby4.0"]["remedy"]
    assert "nodejs20.x" in cli(functions, "runtimes")


def test_cloudwatch_shows_a_functions_metrics(functions: Functions) -> None:
    name = functions.create("def handler(e, c): return 1 / e['n']", Publish=True)
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.invoke(name, {"n": 1})
    functions.invoke(name, {"n": 0})
    functions.invoke(name, {"n": 1}, Qualifier="live")
    cloudwatch = functions.server.client("cloudwatch")
    function = {"Name": "FunctionName", "Value": name}
    listed = cloudwatch.list_metrics(Namespace="AWS/Lambda", Dimensions=[function])["Metrics"]
    names = {each["MetricName"] for each in listed if each["Dimensions"] == [function]}
    assert names == {"Invocations", "Errors", "Throttles", "Duration"}
    now = datetime.now(UTC)
    window = {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(minutes=2)}
    summed = cloudwatch.get_metric_statistics(
        Namespace="AWS/Lambda", MetricName="Errors", Dimensions=[function], Period=3600,
        Statistics=["Sum", "SampleCount"], **window,
    )["Datapoints"]  # fmt: skip
    assert sum(each["Sum"] for each in summed) == 1
    assert sum(each["SampleCount"] for each in summed) == 3
    alias = [function, {"Name": "Resource", "Value": f"{name}:live"}]
    queries = [
        {"Id": "live", "MetricStat": {"Stat": "Sum", "Period": 60, "Metric": {
            "Namespace": "AWS/Lambda", "MetricName": "Invocations", "Dimensions": alias}}},
        {"Id": "slow", "MetricStat": {"Stat": "p99", "Period": 60, "Metric": {
            "Namespace": "AWS/Lambda", "MetricName": "Duration", "Dimensions": [function]}}},
    ]  # fmt: skip
    data = cloudwatch.get_metric_data(MetricDataQueries=queries, **window)["MetricDataResults"]
    values = {each["Id"]: each["Values"] for each in data}
    assert sum(values["live"]) == 1 and all(each > 0 for each in values["slow"])
    with pytest.raises(cloudwatch.exceptions.ClientError, match="not supported"):
        cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda", MetricName="Duration", Period=60,
            ExtendedStatistics=["tm90"], Dimensions=[function], **window,
        )  # fmt: skip


def test_cloudwatchs_older_protocol_is_spoken_too(functions: Functions) -> None:
    from lambent.cli.client import Client, profile

    name = functions.create("def handler(e, c): return 1")
    functions.invoke(name)
    client = Client(profile(functions.server.data, functions.server.endpoint))
    target = "GraniteServiceVersion20100801.ListMetrics"
    headers = {"x-amz-target": target, "content-type": "application/x-amz-json-1.0"}
    body = json.dumps({"Dimensions": [{"Name": "FunctionName", "Value": name}]}).encode()
    answer = client.request("POST", "/", body, headers, service="monitoring").json()
    assert {each["Namespace"] for each in answer["Metrics"]} == {"AWS/Lambda"}


def test_sampled_invocations_are_traced_to_a_collector(servers: Callable[..., Server]) -> None:
    taken: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        server = servers("--otlp-endpoint", f"http://127.0.0.1:{collector.server_port}")
        functions = Functions(server, "traced")
        source = "import os\ndef handler(e, c): return os.environ['_X_AMZN_TRACE_ID']\n"
        functions.invoke(functions.create(source))
        active = functions.create(source, TracingConfig={"Mode": "Active"})
        header = functions.invoke(active).payload
        assert server.stop() == 0
        collector.shutdown()
        thread.join()
    spans = [span for each in taken for span in each["resourceSpans"][0]["scopeSpans"][0]["spans"]]
    assert sorted(each["name"] for each in spans) == sorted(["Init", active])
    assert {each["traceId"] for each in spans} == {header[7:15] + header[16:40]}


def test_provisioned_concurrency_has_metrics_of_its_own(functions: Functions) -> None:
    name = functions.create("def handler(e, c): return 1", Publish=True)
    functions.client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    functions.invoke(name, Qualifier="1")
    cloudwatch = functions.server.client("cloudwatch")
    listed = cloudwatch.list_metrics(MetricName="ProvisionedConcurrencyInvocations")["Metrics"]
    found = [[each["Value"] for each in metric["Dimensions"]] for metric in listed]
    assert [name] in found and [name, f"{name}:1"] in found
