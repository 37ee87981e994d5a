"""What is kept of decisions is bounded in bytes, whatever names and policies clients bring."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest

from lambent.clock import ManualClock
from lambent.errors import AccessDenied
from lambent.iam import memory as memory_module
from lambent.iam.authenticate import Principal
from lambent.iam.authorizer import LONGEST_VALUE, Authorizer, ResourcePolicy, Subject
from lambent.iam.directory import Directory
from lambent.iam.memory import LONGEST_NAME, Memory
from lambent.iam.policy.document import Policy, read
from lambent.iam.policy.evaluation import Decision, Outcome
from lambent.store.memory import MemoryStore

STRANGER = Principal("2", "K", "r-1", "s3")
MB = 1024 * 1024


def ask(authorizer: Authorizer, name: str, policy: ResourcePolicy | None = None) -> str:
    """The message of a denial."""
    try:
        authorizer.check(STRANGER, Subject("s3:GetObject", f"arn:aws:s3:::{name}", "1"), policy)
    except AccessDenied as refused:
        return refused.message
    raise AssertionError(f"{name[:100]} was allowed")


def kept(work: Callable[[], object]) -> int:
    """The bytes that are still taken when some work is over."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.fixture
def authorizer(monkeypatch: pytest.MonkeyPatch) -> Authorizer:
    """One that keeps a sixteenth of what it would keep otherwise, so that tests are short."""
    monkeypatch.setattr(memory_module, "DECISION_BYTES", MB)
    monkeypatch.setattr(memory_module, "POLICY_BYTES", 2 * MB)
    return Authorizer(Directory(MemoryStore()), ManualClock(), "enforce")


def test_names_of_any_length_and_number_take_a_bounded_memory(authorizer: Authorizer) -> None:
    def work() -> None:
        for number in range(2_000):
            ask(authorizer, f"{number:05}" + "é" * 1500)

    assert kept(work) < MB


def test_a_name_that_is_too_long_is_refused_and_neither_kept_nor_repeated(
    authorizer: Authorizer,
) -> None:
    said = []

    def work() -> None:
        for number in range(5):
            said.append(ask(authorizer, f"{number}" + "x" * MB))

    assert kept(work) < 100_000
    assert all(len(each) < 400 and str(LONGEST_NAME) in each for each in said)


def test_a_policy_with_conditions_is_kept_once_for_all_names(authorizer: Authorizer) -> None:
    statement = {
        "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*",
        "Condition": {"StringLike": {"aws:UserAgent": [f"*{n}*" for n in range(500)]}},
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})

    def work() -> None:
        for number in range(500):
            policy = ResourcePolicy("1", "a", lambda: document)
            ask(authorizer, f"{number}", policy)

    assert kept(work) < 2 * MB


def test_policies_are_forgotten_together_with_the_decisions_that_hold_them(
    authorizer: Authorizer,
) -> None:
    def document(number: int) -> str:
        resources = [f"arn:aws:s3:::b{number}-{n}/*" for n in range(50)]
        statement = {
            "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["*", *resources]
        }  # fmt: skip
        return json.dumps({"Statement": statement})

    def work() -> None:
        for number in range(300):
            text = document(number)
            ask(authorizer, "k", ResourcePolicy(str(number), "a", lambda text=text: text))  # type: ignore[misc]

    assert kept(work) < 3 * MB


def _read_into(found: list[Policy], document: str) -> None:
    found.append(read(document))


def test_the_weights_are_no_less_than_what_is_taken() -> None:
    texts = [f'"arn:::::{number}"' for number in range(1000)]
    conditions = ",".join(f'"?{number}"' for number in range(1000))
    for document in (
        f'{{"Statement":{{"Effect":"Allow","Action":"a:b","Resource":[{",".join(texts)}]}}}}',
        '{"Statement":{"Effect":"Allow","Action":"a:b","Resource":"*",'
        f'"Condition":{{"ArnLike":{{"a:b":[{conditions}]}}}}}}}}',
    ):
        found: list[Policy] = []
        taken = kept(partial(_read_into, found, document))
        assert taken < memory_module._BYTES_PER_CHARACTER * len(document)


def test_what_is_kept_is_what_was_decided() -> None:
    memory = Memory()
    key = ("who", "s3:GetObject", "arn:aws:s3:::b/k", "1", "")
    decision = Decision(Outcome.ALLOWED)
    memory.keep(key, decision)
    assert memory.decisions[key] is decision
    memory.forget_decisions()
    assert not memory.decisions
    memory.keep(("x" * 10_000, *key[1:]), decision)
    assert not memory.decisions


def test_a_value_that_takes_long_to_compare_is_refused_where_it_is_compared(
    authorizer: Authorizer,
) -> None:
    anonymous = Principal("", "", "r-1", "s3", anonymous=True)
    subject = Subject("s3:GetObject", "arn:aws:s3:::b/k", "1")

    def let_in(condition: str, agent: str) -> bool:
        begin = '{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"'
        document = begin + condition + "}}"
        policy = ResourcePolicy(condition, "a", lambda: document)
        try:
            authorizer.check(anonymous, subject, policy, (("aws:useragent", (agent,)),))
        except AccessDenied:
            return False
        return True

    looks = ',"Condition":{"StringNotLike":{"aws:UserAgent":"*bot*"}}'
    assert let_in(looks, "a" * LONGEST_VALUE) and not let_in(looks, "a" * (LONGEST_VALUE + 1))
    assert let_in("", "a" * (LONGEST_VALUE + 1))
