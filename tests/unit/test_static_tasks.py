# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every task and play has to keep to."""

from __future__ import annotations

import re
import typing as t

import pytest

from ._collection import ROOT, TaskOf, play_tasks, plays, role_tasks

TASKS = [*role_tasks(), *play_tasks()]
NEVER = {
    "ansible.builtin.pause": "wait for a condition instead",
    "ansible.builtin.shell": "use a module, or ansible.builtin.command with argv",
    "ansible.builtin.raw": "use a module",
}
CLUSTER = ("kubernetes.core.", "llmd.wide_ep.")
ACCESS = {"kubeconfig", "context", "host", "api_key"}
# It makes the kubeconfigs, and proves each of them.
MAKES_ACCESS = ROOT / "roles" / "rehearsal_cluster"


def carries_secret(task: TaskOf) -> bool:
    """Whether a task sends or reads Secrets."""
    if not task.action.startswith(CLUSTER) or not isinstance(task.arguments, dict):
        return False
    return bool(re.search(r"'kind': 'Secret'|^kind: Secret$", str(task.arguments), re.MULTILINE))


def reads_only_names(task: TaskOf) -> bool:
    """Removing an object by its name shows nothing of it."""
    return task.arguments.get("state") == "absent" and "definition" not in task.arguments


def selected(keep: t.Callable[[TaskOf], bool]) -> list[t.Any]:
    return [pytest.param(task, id=task.label) for task in TASKS if keep(task)]


def deploys_secret(task: TaskOf) -> bool:
    # The scenarios' tokens are made up.
    return carries_secret(task) and not task.path.is_relative_to(ROOT / "molecule")


@pytest.mark.parametrize("task", selected(deploys_secret))
def test_secrets_are_hidden(task: TaskOf) -> None:
    assert reads_only_names(task) or task.inherited("no_log"), "no_log: true belongs on the task"


@pytest.mark.parametrize("task", selected(lambda task: True))
def test_tasks_have_names_and_known_ways(task: TaskOf) -> None:
    assert task.task.get("name"), "no name"
    assert task.task["name"][0].isupper(), "names are sentences: a verb and its object"
    assert task.action not in NEVER, NEVER.get(task.action)


@pytest.mark.parametrize("task", selected(lambda task: task.action == "ansible.builtin.command"))
def test_commands_do_not_replace_modules(task: TaskOf) -> None:
    text = str(task.arguments)
    assert not re.search(r"\b(kubectl|helm|curl|sleep)\b", text), text


@pytest.mark.parametrize("task", selected(lambda task: task.action == "kubernetes.core.helm"))
def test_helm_does_not_wait(task: TaskOf) -> None:
    # Removal has to: without it a release of the same name can follow while its objects still go.
    if task.arguments.get("state", task.arguments.get("release_state")) != "absent":
        assert task.arguments.get("wait") in (False, None)
        assert task.arguments.get("atomic") in (False, None)


def leaves_access_to_the_play(task: TaskOf) -> bool:
    in_role = task.path.is_relative_to(ROOT / "roles") and not task.path.is_relative_to(MAKES_ACCESS)
    return in_role and task.action.startswith(CLUSTER)


@pytest.mark.parametrize("task", selected(leaves_access_to_the_play))
def test_access_comes_from_the_play(task: TaskOf) -> None:
    if isinstance(task.arguments, dict):
        assert not ACCESS & set(task.arguments), "roles leave access to module_defaults of the play"


@pytest.mark.parametrize("task", selected(lambda task: task.path.is_relative_to(ROOT / "roles")))
def test_tags_are_those_of_the_role(task: TaskOf) -> None:
    role = task.path.relative_to(ROOT / "roles").parts[0]
    for level in (task.task, *task.outer):
        tags = level.get("tags") or []
        for tag in [tags] if isinstance(tags, str) else tags:
            assert re.fullmatch(rf"{role}(_[a-z0-9_]+)?|always|never", tag), tag


@pytest.mark.parametrize("task", selected(lambda task: "register" in task.task))
def test_registered_names_are_private(task: TaskOf) -> None:
    assert task.task["register"].startswith("__"), task.task["register"]


PLAYBOOKS = [(path, play) for path, play in plays() if path.parent.name == "playbooks" and "hosts" in play]


@pytest.mark.parametrize(("path", "play"), PLAYBOOKS, ids=[f"{path.stem}: {play['name']}" for path, play in PLAYBOOKS])
def test_plays_take_the_deployments(path: t.Any, play: dict[str, t.Any]) -> None:
    assert play.get("gather_facts") is False
    assert play["hosts"] == ("localhost" if path.stem == "not_set_up" else "wide_ep")
