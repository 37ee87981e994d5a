"""The server: everything it is made of, and the order in which that starts and stops."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import resource
from collections.abc import Callable

from lambent import ids
from lambent.api import authorization, body_limits, operations
from lambent.api.account import Account
from lambent.api.aliases import Aliases
from lambent.api.authorization import Authorization, ResourcePolicies, Subjects
from lambent.api.cloudwatch import CloudWatch
from lambent.api.code import CodeTaker
from lambent.api.code_signing import CodeSigning
from lambent.api.concurrency import ReservedConcurrency
from lambent.api.context import Handler
from lambent.api.event_invoke import EventInvokeConfigs
from lambent.api.event_sources import EventSourceMappings
from lambent.api.functions import Functions
from lambent.api.iam_holders import Holders
from lambent.api.iam_keys import AccessKeys
from lambent.api.iam_policies import ManagedPolicies
from lambent.api.iam_simulation import Simulation
from lambent.api.invocations import Invocations
from lambent.api.layers import Layers
from lambent.api.live_tail import LiveTail
from lambent.api.logs import Logs
from lambent.api.policies import Policies
from lambent.api.provisioned import ProvisionedConcurrencyConfigs, provision
from lambent.api.runtime_management import RecursionConfigs, RuntimeManagementConfigs
from lambent.api.scans import Scans
from lambent.api.service import JsonService, QueryService, RestService, RpcService, Service
from lambent.api.sts import SecurityTokens
from lambent.api.tags import Tags
from lambent.api.urls import FunctionUrlConfigs
from lambent.api.versions import Versions
from lambent.app.host import Host
from lambent.app.isolation import open_backend
from lambent.aws import model, sigv4
from lambent.blobs.files import FileBlobs
from lambent.clock import Clock, SystemClock, utc
from lambent.config import NEIGHBOURS, Settings
from lambent.errors import ServiceError, StartError
from lambent.events.destinations import Destinations
from lambent.events.worker import EventWorker
from lambent.functions.catalog import Catalog
from lambent.functions.code_signing import CodeSigningCatalog
from lambent.functions.event_sources import EventSourceCatalog
from lambent.functions.layers import LayerCatalog
from lambent.functions.lifecycle import Lifecycle
from lambent.functions.package import CodeCache
from lambent.functions.response_stream import ResponseStream
from lambent.functions.types import FunctionVersion
from lambent.gateway.edge import Edge
from lambent.gateway.events import EventReports
from lambent.gateway.forwarding import Forwarding
from lambent.gateway.inward import Inward, queue_event
from lambent.gateway.reports import Reports
from lambent.gateway.stacks import Stacks
from lambent.gateway.urls import FunctionUrls
from lambent.http import Application, HttpLimits, HttpServer
from lambent.iam.authenticate import Authenticator, Principal
from lambent.iam.authorizer import Authorizer
from lambent.iam.credentials import DEFAULT_ACCOUNT, AccessKey, CredentialStore
from lambent.iam.directory import Directory
from lambent.iam.first_role import first_role
from lambent.iam.key_use import KeyUse
from lambent.iam.keyring import KeyRing
from lambent.iam.sessions import Grant, Session, Sessions
from lambent.invoke import Invoker, LocalExecutor
from lambent.measures import Measures
from lambent.neighbours.base import Neighbour
from lambent.neighbours.embedded import Embedded
from lambent.neighbours.guard import Guard
from lambent.neighbours.objects import Objects
from lambent.neighbours.remote import Remote
from lambent.neighbours.requests import Requests
from lambent.neighbours.watchdog import Bounds
from lambent.observe.logs import LogStore
from lambent.observe.metrics import Metrics
from lambent.observe.traces import Traces
from lambent.observe.usage import Prices, Usage
from lambent.pool.concurrency import Concurrency
from lambent.pool.factory import EnvironmentFactory
from lambent.pool.idleness import Idleness
from lambent.pool.pool import Pool, PoolLimits
from lambent.queue.sqlite import SqliteQueue
from lambent.router.direct import DirectRouter
from lambent.sandbox.kernel.child import ENDPOINT_PORT
from lambent.sources.poller import Means
from lambent.sources.sources import Sources
from lambent.store.sealed import SealedStore
from lambent.store.sqlite import SqliteStore

_log = logging.getLogger(__name__)

_REAP_SECONDS = 5.0
# Logs are looked through for what is kept no longer every ten minutes.
_EXPIRE_TURNS = 120
_MINUTE_TURNS = 12
_LOCATION_SECONDS = 600
_DESCRIPTORS_WANTED = 65_536


class App:
    """A whole server."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, host: Host | None = None
    ) -> None:
        """host: what was prepared for it; without one, it prepares when it starts."""
        self.settings = settings
        self.clock = clock or SystemClock()
        self.port = 0
        self.owner: AccessKey
        self.warnings: list[str] = []
        self._host = host

    async def start(self) -> None:
        """Start everything, bottom up; raises StartError.

        Order: what is durable, then what runs functions, then what may ask for it; the port last.
        """
        settings = self.settings
        host = self._host = self._host or Host.prepare(settings)
        self.traces = None
        if settings.otlp_endpoint:
            self.traces = Traces(settings.otlp_endpoint, self.clock, ids.span_id)
        data = host.data
        _raise_descriptor_limit()
        ring = KeyRing.open(data / "secret.key")
        self.store = SealedStore(SqliteStore(data / "metadata.db"), ring.derive(b"store", b""))
        await self.store.open()
        self.blobs = FileBlobs(data / "blobs")
        await self.blobs.open()
        self.directory = Directory(self.store)
        await self.directory.open()
        self.keys = CredentialStore(data, ring, self.directory)
        if not self.keys.there:
            # The first start: what a first function needs, as AWS's console would make it.
            await first_role(self.directory, DEFAULT_ACCOUNT, self.clock)
        self.owner = self.keys.open()
        self.authorizer = Authorizer(self.directory, self.clock, settings.authorization)
        self.ring = ring
        self.key_use = KeyUse(data / "keys-used.json")
        self.sessions = Sessions(self.clock, ring)
        self.layers = LayerCatalog(self.store)
        self.mappings = EventSourceCatalog(self.store)
        self.signing = CodeSigningCatalog(self.store)
        code = CodeCache(data / "code")
        code.open()
        prices = Prices(settings.price_request, settings.price_gb_second)
        self.usage = Usage(data / "usage", self.clock, prices)
        self.metrics = Metrics(data / "metrics", self.clock)
        self.measures = Measures(self.metrics, self.usage, self.traces)
        self.logs = LogStore(data / "logs", settings.log_group_bytes)
        self.languages = host.languages
        self.catalog = Catalog(self.store)
        self.lifecycle = Lifecycle(
            self.catalog,
            self.layers,
            self.blobs,
            code,
            settings.unzipped_bytes,
            settings.account_code_megabytes * 1024 * 1024,
            self._sign,
        )
        try:
            self.backend = await open_backend(settings, host, self.clock, self.warnings)
        except StartError:
            await self.store.close()
            host.close()
            raise
        self._warn_of_relaxed_rules()
        factory = EnvironmentFactory(
            self.backend,
            self.languages,
            self.clock,
            self.lifecycle.unpacked,
            self.lifecycle.layers,
            self._log_writer,
            settings.response_bytes,
            settings.log_rate_bytes,
            settings.poll_microseconds / 1e6,
            self.measures.measured,
            self._credentials,
            self._door,
        )
        self.pool = Pool(
            factory.start,
            self.clock,
            PoolLimits(
                settings.environments,
                max(1, settings.cold_starts),
                settings.freeze_seconds,
                settings.idle_seconds,
                settings.init_seconds,
                settings.age_seconds,
                settings.scaling_environments,
            ),
        )
        self.lifecycle.attach(
            factory.warm,
            self.pool.retire,
            functools.partial(provision, self.pool),
            self.pool.versions,
        )
        router = DirectRouter()
        router.announce(LocalExecutor(self.pool))
        concurrency = self.concurrency = Concurrency(
            settings.account_concurrency, settings.requests_per_environment, self.clock
        )
        self.invoker = Invoker(
            self.catalog,
            concurrency,
            router,
            self.clock,
            self.measures.throttled,
            self.measures.recursion_stopped,
        )
        ways_in: dict[str, Application] = {}
        self.queue = SqliteQueue(data / "queue.db")
        await self.queue.open()
        self.embedded = Embedded(
            data / "neighbours",
            settings.region,
            ways_in,
            lambda: self._door()[0],
            Bounds(settings.embedded_silent_seconds, settings.embedded_bytes),
            host.agent,
        )
        self.neighbours = self._neighbours()
        self.guard = Guard(self.authorizer, self.neighbours)
        requests = Requests(self.guard, self.neighbours)
        self.events = EventWorker(
            self.queue,
            self.invoker,
            self.catalog,
            Destinations(requests, self._queue_as, self._identity, self.clock),
            self.clock,
            settings.event_retry_seconds,
            self.measures.of_event,
            Idleness().spare,
        )
        self.sources = Sources(
            self.mappings,
            Means(
                requests,
                self.invoker,
                self._identity,
                self.clock,
                settings.payload_bytes,
                self.measures.of_source,
            ),
        )
        authenticator = Authenticator(
            self.keys,
            self.sessions,
            self.clock,
            settings.authentication == "strict",
            settings.region,
            self.key_use,
        )
        services = self._api = self._services()
        self.edge = Edge(
            authenticator,
            services,
            self.blobs,
            self.languages.names,
            Reports(self.owner, self.usage, concurrency.running, self.queue, self.clock),
            EventReports(self.queue, self.events.expect, self.events.forget, self.clock),
            FunctionUrls(
                self.catalog,
                self.invoker,
                authenticator,
                self.authorizer,
                self.directory,
                self.clock,
                settings.payload_bytes,
                self._new_stream,
                self.measures.url,
            ),
            Forwarding(
                authenticator,
                self.guard,
                self.neighbours,
                settings.object_bytes,
                Stacks(self.sessions, self.directory, self.authorizer),
            ),
            self.embedded.answered,
        )
        self.inward = Inward(
            authenticator, services["lambda"], self.sessions, self.directory, self.authorizer
        )
        ways_in.update(lambent=self.inward, endpoint=self.edge)
        spool = data / "incoming"
        spool.mkdir(mode=0o700, exist_ok=True)
        self.server = HttpServer(self.edge, HttpLimits(spool=str(spool)))
        self.port = host.listeners[0].getsockname()[1]
        for listener in host.listeners:
            await self.server.serve(listener, host.tls)
        self.edge.endpoint = self.endpoint
        # What is here now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 50, 50)
        self._reaper = asyncio.ensure_future(self._reap())
        self._resuming = asyncio.ensure_future(self.lifecycle.resume())
        self.embedded.resume()
        await self.events.open()
        await self.sources.open()

    @property
    def endpoint(self) -> str:
        """The URL clients use."""
        host = self.settings.host
        host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
        scheme = "https" if self.settings.tls_certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def stop(self) -> None:
        """Stop everything, top down: the port, the requests in progress, then the rest."""
        self.server.stop_listening()
        await self.server.close(self.settings.drain_seconds)
        await self.edge.close()
        self._reaper.cancel()
        await asyncio.gather(self._reaper, self._resuming, return_exceptions=True)
        await self._stop_inner()

    async def _stop_inner(self) -> None:
        await self.invoker.close()
        await self.sources.close(self.settings.drain_seconds)
        await self.events.close(self.settings.drain_seconds)
        await self.queue.close()
        await self.lifecycle.close()
        await self.pool.close()
        await self.embedded.stop()
        await self.inward.close()
        await self.backend.close()
        await self.logs.flush()
        await self.usage.flush()
        self.key_use.save()
        await self.metrics.flush(everything=True)
        if self.traces is not None:
            await self.traces.flush()
        for catalog in (self.catalog, self.layers, self.mappings, self.signing, self.directory):
            catalog.close()
        await self.store.close()
        if self._host is not None:
            self._host.close()

    # -- parts ----------------------------------------------------------------------------

    def _warn_of_relaxed_rules(self) -> None:
        settings = self.settings
        if settings.authorization != "enforce":
            self.warnings.append(
                f"authorization = {settings.authorization}: every user and every function may do "
                "what its account's owner may, and function URLs are open"
            )
        if settings.authentication == "any":
            self.warnings.append(
                "authentication = any: every request is believed; for development only"
            )

    def _neighbours(self) -> dict[str, Neighbour]:
        """Who answers for each service beside Lambda."""
        found: dict[str, Neighbour] = dict.fromkeys(NEIGHBOURS, self.embedded)
        for name, there in self.settings.neighbours.items():
            found[name] = Remote(
                there.endpoint,
                there.access_key_id,
                there.secret_access_key,
                there.session_token,
                there.region,
                self.clock,
            )
        return found

    def _services(self) -> dict[str, Service]:
        scans = Scans()
        logs = Logs(self.logs, self.clock, scans)
        tail = LiveTail(self.logs, self.clock, scans)
        logs_model = model.load("logs")
        metrics_model = model.load("cloudwatch")
        iam_model, sts_model = model.load("iam"), model.load("sts")
        authorizer = self.authorizer

        def asks(subjects: Subjects, of_resource: ResourcePolicies | None = None) -> Authorization:
            return Authorization(authorizer, subjects, of_resource)

        policies = ManagedPolicies(self.directory, self.clock)
        holders = Holders(self.directory, self.clock)
        keys = AccessKeys(self.directory, self.clock, self.ring, self.key_use)
        simulation = Simulation(self.directory)
        tokens = SecurityTokens(self.directory, self.keys, self.sessions, authorizer, self.clock)
        return {
            "lambda": RestService(
                model.load("lambda"),
                self._lambda_handlers(),
                asks(
                    authorization.of_lambda,
                    authorization.of_functions(self.catalog, self.mappings),
                ),
                body_limits.of_lambda(self.settings.payload_bytes),
            ),
            "iam": QueryService(
                iam_model,
                {
                    **operations.handlers_of(iam_model, policies, keys, simulation),
                    **holders.handlers(),
                },
                asks(authorization.of_iam(self.directory)),
                {},
            ),
            "sts": QueryService(
                sts_model,
                operations.handlers_of(sts_model, tokens),
                asks(authorization.of_sts),
                {},
            ),
            "monitoring": RpcService(
                metrics_model,
                operations.handlers_of(metrics_model, CloudWatch(self.metrics)),
                asks(authorization.of_cloudwatch),
                {},
            ),
            "logs": JsonService(
                logs_model,
                operations.handlers_of(logs_model, logs, tail),
                asks(authorization.of_logs),
                body_limits.LOGS,
            ),
        }

    def _lambda_handlers(self) -> dict[str, Handler]:
        settings, catalog, clock = self.settings, self.catalog, self.clock
        s3, guard = self.neighbours["s3"], self.guard
        code = CodeTaker(
            self.lifecycle, settings.zipped_bytes, lambda caller: Objects(s3, guard, caller)
        )
        layers = Layers(self.layers, code, self.lifecycle, clock)
        signing = CodeSigning(catalog, self.signing, clock)
        concurrency = settings.account_concurrency
        return operations.handlers(
            Functions(
                catalog,
                self.languages,
                self.lifecycle,
                clock,
                code,
                layers,
                signing,
                self.authorizer,
            ),
            Versions(catalog),
            Aliases(catalog),
            layers,
            Policies(catalog),
            ReservedConcurrency(catalog, concurrency),
            ProvisionedConcurrencyConfigs(catalog, self.pool, clock, concurrency),
            EventInvokeConfigs(catalog, clock),
            FunctionUrlConfigs(catalog, clock),
            EventSourceMappings(catalog, self.mappings, clock, self.sources.check),
            signing,
            RuntimeManagementConfigs(catalog),
            RecursionConfigs(catalog),
            Tags(catalog, self.mappings, self.signing),
            Account(
                catalog, self.layers, concurrency, settings.zipped_bytes, settings.unzipped_bytes
            ),
            Invocations(
                self.invoker,
                settings.payload_bytes,
                settings.event_bytes,
                self.events.accept,
                clock,
                self._new_stream,
            ),
        )

    def _new_stream(self) -> ResponseStream:
        settings = self.settings
        return ResponseStream(
            self.clock,
            settings.stream_bytes,
            settings.stream_burst_bytes,
            settings.stream_rate_bytes,
        )

    def _log_writer(
        self, version: FunctionVersion, stream: str
    ) -> Callable[[int, list[str]], None]:
        return self.logs.writer(version.account, version.region, version.log_group, stream)

    def _session(self, version: FunctionVersion) -> Session:
        """One of a version's execution role."""
        role = version.configuration.role
        found = self.directory.find(version.account, "role", role.rpartition("/")[2])
        role_id = found.identifier if found is not None and found.arn == role else ""
        return self.sessions.issue(Grant(version.account, role, version.name, role_id))

    def _identity(self, version: FunctionVersion) -> Principal:
        """A version's execution role, as who asks."""
        session = self._session(version)
        return Principal(version.account, session.access_key_id, version.region, "lambda", session)

    async def _queue_as(
        self, principal: Principal, function: str, payload: bytes, trace_id: str
    ) -> None:
        """Have a function run asynchronously for a role that may; raises ServiceError."""
        response = await queue_event(self._api["lambda"], principal, function, payload, trace_id)
        if response.status != 202:
            raise ServiceError(response.body.decode("utf-8", "replace"))

    def _credentials(self, version: FunctionVersion) -> dict[str, str]:
        session = self._session(version)
        return {
            "AWS_ACCESS_KEY_ID": session.access_key_id,
            "AWS_SECRET_ACCESS_KEY": session.secret,
            "AWS_SESSION_TOKEN": session.token,
        }

    def _door(self) -> tuple[str, Application | None]:
        """How functions reach this server."""
        if self.settings.isolation == "process":
            return self.endpoint, None
        return f"http://127.0.0.1:{ENDPOINT_PORT}", self.edge

    def _sign(self, endpoint: str, region: str, path: str) -> str:
        host = endpoint.partition("://")[2]
        signed = sigv4.presign(
            "GET",
            host,
            path,
            self.owner.access_key_id,
            self.owner.secret,
            region,
            "lambda-code",
            utc(self.clock.time()),
            _LOCATION_SECONDS,
        )
        return endpoint + signed

    async def _reap(self) -> None:
        turns = 0
        while True:
            await asyncio.sleep(_REAP_SECONDS)
            self.pool.reap()
            turns += 1
            self.measures.sample(self.concurrency, self.pool, self.catalog.reserved)
            await self.metrics.flush()
            if self.traces is not None:
                await self.traces.flush()
            if turns % _MINUTE_TURNS == 0:
                await asyncio.to_thread(self.key_use.save)
                self.measures.sample_events(await self.queue.depths(), self.clock.time())
            if turns % _EXPIRE_TURNS == 0:
                await self.logs.expire(self.clock.time())


def _raise_descriptor_limit() -> None:
    """An environment costs about eight descriptors; take what the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        _DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_WANTED)
    )
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
