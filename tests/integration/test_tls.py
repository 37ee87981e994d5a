"""The public port with a certificate."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import ROLE, RUNTIME, Server, make_zip
from tests.integration.test_urls import ECHO

_LAMBENT = [sys.executable, "-m", "lambent"]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this host that nobody signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lambent")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def test_everything_goes_over_tls(servers: Callable[..., Server], tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    server = servers("--tls-certificate", str(chain), "--tls-key", str(key))
    assert server.endpoint.startswith("https://127.0.0.1:")
    client = boto3.client(
        "lambda",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.key["access_key_id"],
        aws_secret_access_key=server.key["secret_access_key"],
        verify=str(chain),
    )
    client.create_function(
        FunctionName="echo",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": make_zip({"app.py": ECHO})},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="echo")
    assert client.invoke(FunctionName="echo", Payload=b"[1]")["Payload"].read() == b"[1]"

    url = client.create_function_url_config(FunctionName="echo", AuthType="NONE")["FunctionUrl"]
    assert url.startswith("https://")
    for action, condition in (
        ("lambda:InvokeFunctionUrl", {"FunctionUrlAuthType": "NONE"}),
        ("lambda:InvokeFunction", {"InvokedViaFunctionUrl": True}),
    ):
        client.add_permission(
            FunctionName="echo", StatementId=action[7:], Action=action, Principal="*", **condition
        )
    where = urlsplit(server.endpoint)
    trusted = ssl.create_default_context(cafile=str(chain))
    connection = http.client.HTTPSConnection("127.0.0.1", where.port, context=trusted)
    connection.request("GET", "/", headers={"host": urlsplit(url).netloc})
    headers = json.loads(connection.getresponse().read())["headers"]
    connection.close()
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-amzn-tls-version"].startswith("TLSv1.")

    done = subprocess.run(
        [*_LAMBENT, "invoke", "echo", '{"a": 1}', "--data-dir", str(server.data)],
        env={"AWS_CA_BUNDLE": str(chain), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"a": 1}

    plain = http.client.HTTPConnection("127.0.0.1", where.port)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/_lambent/health")
        plain.getresponse()
    plain.close()
    old = ssl.create_default_context(cafile=str(chain))
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    refused = http.client.HTTPSConnection("127.0.0.1", where.port, context=old)
    with pytest.raises(ssl.SSLError):
        refused.connect()
    refused.close()


def test_a_certificate_that_cannot_be_used_is_no_start(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = certificate(tmp_path / "other")

    def started(*flags: str) -> str:
        done = subprocess.run(
            [*_LAMBENT, "serve", "--port", "0", "--data-dir", str(tmp_path / "data"), *flags],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 1
        return done.stderr

    assert "go together" in started("--tls-certificate", str(chain))
    assert "cannot be used" in started("--tls-certificate", str(chain), "--tls-key", str(other))
    assert "cannot be used" in started("--tls-certificate", "/nowhere", "--tls-key", str(key))
