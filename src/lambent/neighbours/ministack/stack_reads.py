"""What templates are read from: parameters, secrets, objects, each with the reader's permission."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lambent.neighbours import templates
from lambent.neighbours.ministack import template_text
from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.stack_permits import Permits, acting
from lambent.neighbours.subjects.base import Unreadable

# In a resource's map of resolved references: the digest of what they were resolved in.
_DIGEST = "\0resolved in"


def install(permits: Permits) -> None:
    """Put the readers that ask where MiniStack's are."""
    reads = _Reads(permits)
    engine = MiniStack.part("cloudformation.engine")
    helpers = MiniStack.part("cloudformation.helpers")
    for part in ("engine", "handlers", "changesets"):
        module = MiniStack.part(f"cloudformation.{part}")
        need(module, "_parse_template")
        module._parse_template = template_text.parse
    for name, reader in (
        ("_fetch_include_snippet", reads.snippet),
        ("_resolve_dynamic_reference", reads.reference),
    ):
        need(engine, name)
        setattr(engine, name, reader)
    resolve = reads.resolving(need(engine, "_resolve_dynamic_references"))
    for module in (engine, MiniStack.part("cloudformation.stacks")):
        need(module, "_resolve_dynamic_references")
        module._resolve_dynamic_references = resolve
    need(helpers, "_resolve_document")
    helpers._resolve_document = reads.document
    # Nested stacks alone look it up at each use; the handlers of requests keep the first.
    need(helpers, "_resolve_template")
    helpers._resolve_template = reads.nested
    parameters = MiniStack.part("ssm")
    reads.lookup = need(parameters, "_lookup_parameter")
    reads.value = need(parameters, "resolve_parameter_value")
    parameters.resolve_parameter_value = reads.parameter


class _Reads:
    lookup: Any
    value: Any

    def __init__(self, permits: Permits) -> None:
        self._permits = permits

    # -- objects ----------------------------------------------------------------------------

    def _object(self, bucket: str, key: str, most: int, permit: bool) -> bytes | None:
        """An object's bytes, None if there is none; raises Denied, ValueError if it is larger."""
        if permit:
            self._permits.ask("s3:GetObject", f"arn:aws:s3:::{bucket}/{key}", about=bucket)
        s3 = MiniStack.part("s3")
        known = need(s3, "_buckets").get(bucket)
        stored = known["objects"].get(key) if known else None
        if stored is None:
            return None
        if int(stored.get("size", 0)) > most:
            raise ValueError(f"Template may not exceed {most} bytes in size.")
        data: bytes | None = need(s3, "_get_object_data")(bucket, key)
        return data

    def document(self, parameters: Any, body: str, url: str, label: str) -> Any:
        """``_resolve_document``: of a request, whose URL the gateway has authorised."""
        return self._document(parameters, body, url, label, permit=False)

    def nested(self, parameters: Any) -> Any:
        """``_resolve_template`` of a nested stack."""
        return self._document(parameters, "TemplateBody", "TemplateURL", "Template", permit=True)

    def _document(
        self, parameters: Any, body_key: str, url_key: str, label: str, permit: bool
    ) -> Any:
        helpers = MiniStack.part("cloudformation.helpers")
        body, url = helpers._p(parameters, body_key), helpers._p(parameters, url_key)
        if body or not url:
            return body or None, None
        policy = body_key.startswith("StackPolicy")
        most = templates.POLICY_BYTES if policy else templates.OBJECT_BYTES
        try:
            data = self._object(*templates.object_of(url), most, permit)
            if data is None:
                raise ValueError(f"{label} not found at {url}")
            return data.decode("utf-8"), None
        except Unreadable as error:
            return None, helpers._error("ValidationError", error.message)
        except ValueError as error:
            if permit:
                raise
            return None, helpers._error("ValidationError", str(error))

    def snippet(self, location: Any) -> dict[str, Any]:
        """``_fetch_include_snippet``: what AWS::Include includes."""
        engine = MiniStack.part("cloudformation.engine")
        prefix = engine._INCLUDE_ERROR
        text = location if isinstance(location, str) else ""
        bucket, _, key = text.removeprefix("s3://").partition("/")
        if not text.startswith("s3://") or not bucket or not key:
            wrong = "The location parameter is not a valid S3 uri."
            raise engine._IncludeError(prefix + wrong)
        try:
            data = self._object(bucket, key, templates.OBJECT_BYTES, permit=True)
            if data is None:
                raise ValueError(f"The S3 object {location} does not exist.")
            document = template_text.read(data.decode("utf-8"))
        except UnicodeDecodeError:
            wrong = "The specified S3 object's content should be valid Yaml/JSON"
            raise engine._IncludeError(prefix + wrong) from None
        except ValueError as error:
            raise engine._IncludeError(prefix + str(error)) from None
        if not isinstance(document, dict):
            wrong = f"The snippet at {location} must be a key-value object."
            raise engine._IncludeError(prefix + wrong)
        inner: list[Any] = []
        engine._find_includes(document, inner)
        if inner:
            wrong = f"The snippet at {location} uses AWS::Include, which cannot be nested."
            raise engine._IncludeError(prefix + wrong)
        return document

    # -- parameters and secrets -------------------------------------------------------------

    def _parameter(self, name: str) -> dict[str, Any]:
        """A parameter's record, {} if there is none; raises Denied."""
        known, record = self.lookup(name, allow_arn_region=True, flexible_name=True)
        who = acting()
        region = who.region
        plain = known or name
        if name.startswith("arn:"):
            parts = name.split(":", 5)
            if len(parts) < 6 or parts[4] != who.account:
                raise ValueError(f"Parameter {name} is not of this account")
            region = parts[3]
            plain = known or parts[5].removeprefix("parameter")
        rest = f"parameter/{plain.removeprefix('/')}"
        self._permits.ask("ssm:GetParameters", f"arn:aws:ssm:{region}:{who.account}:{rest}")
        return record or {}

    def parameter(self, name: str, version: Any = None, decrypt: bool = False) -> Any:
        """``resolve_parameter_value`` of a template's parameter; raises ValueError."""
        record = self._parameter(name)
        if record.get("Type") == "SecureString":
            raise ValueError(
                f"Parameters [{name}] referenced by template have types not supported by "
                "CloudFormation."
            )
        return self.value(name, version, False)

    def reference(self, literal: str) -> str:
        """``_resolve_dynamic_reference``: ``{{resolve:SERVICE:BODY}}``; raises ValueError."""
        service, _, body = literal.removeprefix("{{resolve:").removesuffix("}}").partition(":")
        if service == "secretsmanager":
            return self._secret(literal, body)
        if service == "ssm-secure":
            # Of the properties that take one, none is of a type that is offered.
            raise ValueError(f"SSM Secure reference is not supported here: {literal}")
        name, _, version = body.partition(":")
        if self._parameter(name).get("Type") == "SecureString":
            raise ValueError(f"Non-secure ssm prefix was used for secure parameter: {name}")
        value = self.value(name, version or None, False)
        if value is None:
            raise ValueError(f"Unable to fetch parameters [{body}] from parameter store")
        return str(value)

    def _secret(self, literal: str, body: str) -> str:
        place = 7 if body.startswith("arn:") else 1
        parts = body.split(":")
        identifier, rest = ":".join(parts[:place]), [*parts[place:], "", "", "", ""]
        kind, key, stage, version = rest[:4]
        if kind not in ("", "SecretString") or (stage and version):
            raise ValueError(f"Dynamic reference {literal} is invalid")
        who = acting()
        place_of = f"arn:aws:secretsmanager:{who.region}:{who.account}:secret:"
        resource = identifier if identifier.startswith("arn:") else f"{place_of}{identifier}-??????"
        secrets = MiniStack.part("secretsmanager")
        _, secret = need(secrets, "_resolve")(identifier, use_arn_scope=True)
        arn = secret["ARN"] if secret else ""
        action = "secretsmanager:GetSecretValue"
        self._permits.ask(action, arn or resource, about=arn)
        value = need(secrets, "resolve_secret_string")(arn, stage or "AWSCURRENT", version or None)
        if value is None:
            raise ValueError("Secrets Manager can't find the specified secret.")
        if not key:
            return str(value)
        try:
            part = json.loads(value)[key]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"Could not find a value associated with JSONKey {key}") from None
        return part if isinstance(part, str) else json.dumps(part)

    def resolving(self, original: Any) -> Any:
        """``_resolve_dynamic_references``; what was resolved before is for the same text alone."""

        def resolve(
            value: Any,
            previous: dict[str, str] | None = None,
            reuse_ssm: bool = False,
            reuse_secrets: bool = False,
        ) -> Any:
            text = json.dumps(value, sort_keys=True, default=repr)
            digest = hashlib.sha256(text.encode()).hexdigest()
            # Who changes what surrounds a value, as the resource's name, uses the value.
            same = (previous or {}).get(_DIGEST) == digest
            whole, resolved = original(value, previous, same and reuse_ssm, same and reuse_secrets)
            return whole, {**resolved, _DIGEST: digest} if resolved else resolved

        return resolve
