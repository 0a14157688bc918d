"""Labels to one device: slices, what is lost, what is refused, another ledger."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Clients
from edgemse_agent.intake.labels import LabelTopic
from edgemse_agent.ledger import Ledger
from edgemse_agent.lines import PredictionLine
from edgemse_agent.settings import AgentSettings
from support.clock import FakeClock

from edgemse import Coverage
from edgemse.cells import unseal
from edgemse.labels import LabelConversation
from edgemse.topics import LABELS_BYTES_MAX

NONE = (None, None, None, None)


def labels(count: int, first: int = 0) -> list[dict[str, object]]:
    return [{"id": str(n), "y_true": 1.0} for n in range(first, first + count)]


class Device:
    """The device's end, which answers into `answers`; its ledger may be lost."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, FakeClock()
        self.answers: list[bytes] = []
        self.ledgers = 0
        self.start()

    def start(self, *, fresh: bool = False) -> None:
        self.ledgers += fresh
        self.agent = Agent(AgentSettings("pi"), Ledger(self.folder / str(self.ledgers)), self.clock)
        self.clients = Clients(self.agent)
        self.topic = LabelTopic(self.clients, self.answers.append, "labels")

    def restart(self, *, fresh: bool = False) -> None:
        """As after a power cut: what was not committed is gone."""
        self.close()
        self.start(fresh=fresh)

    def close(self) -> None:
        self.agent.ledger.close()

    def predict(self, count: int) -> None:
        for n in range(count):
            self.agent.take(PredictionLine(str(n), NONE, 2.0, 1.0, None))

    def tick(self) -> None:
        self.clock.passed += 0.2
        self.agent.tick()
        self.clients.notify()

    @property
    def samples(self) -> int:
        return self.agent.counters["samples"]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with closing(Device(tmp_path)) as device:
        yield device


def exchange(
    conversation: LabelConversation, device: Device, rng: random.Random, loss: float = 0.0
) -> None:
    message = conversation.due(device.clock.monotonic())
    if message is not None and rng.random() >= loss:
        assert len(message) <= LABELS_BYTES_MAX
        device.topic.take(message)
        if rng.random() < loss:
            device.topic.take(message)
    device.tick()
    answers, device.answers[:] = list(device.answers), []
    for answer in answers:
        if rng.random() >= loss:
            conversation.heard(json.loads(answer))


def test_all_labels_are_confirmed_in_slices(device: Device) -> None:
    device.predict(1_200)
    conversation = LabelConversation("pi", labels(1_200))
    turns = 0
    while len(conversation):
        exchange(conversation, device, random.Random(1))
        turns += 1
    assert turns == 3
    assert device.samples == 1_200
    assert not conversation.refused
    assert device.agent.ledger.sessions() != {}
    assert conversation.due(1e9) is None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_each_label_is_counted_once(device: Device, seed: int) -> None:
    """Messages and answers are lost and doubled, the device loses power in between."""
    rng = random.Random(seed)
    device.predict(1_500)
    assert device.agent.commit()
    conversation = LabelConversation("pi", labels(1_500))
    turns = 0
    while len(conversation):
        exchange(conversation, device, rng, loss=0.3)
        turns += 1
        if turns == 2 or rng.random() < 0.05:
            device.restart()
        assert device.clock.passed < 3_000, "the labels do not arrive"
    assert len(device.agent.pairing) == 0
    assert device.agent.commit(everything=True)
    held = [unseal(each.cell) for each in device.agent.ledger.due(1_000)]
    coverage = Coverage()
    for cell in held:
        coverage.merge(cell.coverage)
    assert sum(cell.stats.count for cell in held) == 1_500
    assert (coverage.predictions, coverage.matched, coverage.duplicate) == (1_500, 1_500, 0)


def test_the_same_labels_of_another_run_go_on_where_the_device_stands(device: Device) -> None:
    device.predict(800)
    rng = random.Random(1)
    first = LabelConversation("pi", labels(800))
    exchange(first, device, rng)
    assert len(first) == 300
    second = LabelConversation("pi", labels(800))
    for _ in range(3):
        exchange(second, device, rng)
    assert len(second) == 0
    assert device.samples == 800
    assert device.agent.counters["lines_repeated"] == 500
    other = LabelConversation("pi", labels(801))
    exchange(other, device, rng)
    assert device.agent.counters["lines_repeated"] == 500


@pytest.mark.parametrize("known", [True, False])
def test_another_ledger_gets_the_rest_in_a_new_session(device: Device, known: bool) -> None:
    rng = random.Random(1)
    conversation = LabelConversation("pi", labels(900))
    if known:
        exchange(conversation, device, rng)
        assert len(conversation) == 400
    device.restart(fresh=True)
    for _ in range(5):
        exchange(conversation, device, rng)
    assert len(conversation) == 0
    assert sum(device.agent.ledger.sessions().values()) == (400 if known else 900)


def test_what_is_refused_is_known_by_its_number(device: Device) -> None:
    wrong = [{"id": str(n), "y_true": "high"} for n in range(30)]
    conversation = LabelConversation("pi", [*labels(2), *wrong])
    exchange(conversation, device, random.Random(1))
    assert len(conversation) == 0
    assert [refusal.number for refusal in conversation.refused] == list(range(2, 32))
    assert conversation.refused[0].why == "y_true: got text, wanted a number"


def test_a_device_that_does_not_answer_is_sent_to_less_and_less() -> None:
    conversation = LabelConversation("pi", labels(1))
    sent = [now for now in range(600) if conversation.due(float(now)) is not None]
    assert sent[:5] == [0, 5, 15, 35, 75]
    assert sent[6] - sent[5] == 60


def test_long_labels_fill_messages_to_their_bound(device: Device) -> None:
    long = [{"id": f"{n}" + "x" * 240, "y_true": 1.0, "segment": "s" * 200} for n in range(400)]
    conversation = LabelConversation("pi", long)
    turns = 0
    while len(conversation):
        exchange(conversation, device, random.Random(1))
        turns += 1
    assert turns == 4


def test_a_message_above_the_bound_is_refused_whole(device: Device) -> None:
    device.topic.take(b'{"id": 1, "y_true": 1}\n' * 3_000)
    (answer,) = map(json.loads, device.answers)
    assert "69000 bytes of labels; wanted at most 65536" in answer["error"]
    assert device.agent.counters["lines_bad"] == 1
    assert len(device.agent.pairing) == 0


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"session": "another", "durable": 1},
        {"session": "S", "durable": 10**30},
        {"session": "S", "durable": True},
        {"session": "S", "durable": -1},
        {"session": "S", "durable": "1"},
        {"session": "S", "n": 7, "error": "x"},
    ],
)
def test_a_forged_or_foreign_answer_changes_nothing(reply: dict[str, object]) -> None:
    conversation = LabelConversation("pi", labels(3))
    message = conversation.due(0.0)
    assert message is not None
    session = json.loads(message.splitlines()[0])["session"]
    conversation.heard({**reply, "session": session} if reply.get("session") == "S" else reply)
    assert len(conversation) == 3
    assert not conversation.refused
