"""Which of ESPnet's programs get the frontend."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from harness_bench.asr.espnet import register
from harness_bench.asr.espnet.frontend import HarnessFrontend

ASR, OTHERS = register._TASKS[0], register._TASKS[1:]


@pytest.mark.espnet
def test_only_programs_with_an_asr_task_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """asr.sh starts the tokeniser six times for each test set; importing a task takes seconds."""
    for task in register._TASKS:
        monkeypatch.delitem(sys.modules, task, raising=False)
    register.register_if_used()
    assert not sys.modules.keys() & {*register._TASKS}
    frontends: dict[str, type] = {}
    for task in register._TASKS:
        made = ModuleType(task)
        vars(made)["frontend_choices"] = SimpleNamespace(classes=frontends)
        monkeypatch.setitem(sys.modules, task, made)
    for other in OTHERS:
        monkeypatch.delitem(sys.modules, other)
        monkeypatch.setattr(register, "is_installed", lambda name: name == ASR.partition(".")[0])
    register.register_if_used()
    assert frontends == {register.NAME: HarnessFrontend}
