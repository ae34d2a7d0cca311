"""From a folder to a set of policies, or to what is wrong with it, with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.api.authorizing import call_actions
from gateway.policy import loader
from gateway.policy.errors import PoliciesRefused
from gateway.policy.loader import Policies, load_policies
from tests.gateway.policy.sets import write_set

GOOD = '@id("all")\n@description("Everything.")\npermit(principal, action, resource);\n'
ACTIONS = call_actions()


def load(folder: Path) -> Policies:
    """Load a folder."""
    return load_policies(folder, ACTIONS)


def refusals(folder: Path) -> list[str]:
    """Return how a folder is refused: file name, line and text of each problem."""
    with pytest.raises(PoliciesRefused) as caught:
        load(folder)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return [f"{problem.file.name}:{problem.line}: {problem.text}" for problem in caught.value.problems]


def test_policies_in_the_order_of_files(tmp_path: Path) -> None:
    """Files count in the order of their names; each policy knows where it stands."""
    found = load(write_set(tmp_path, b=f"// later\n{GOOD}", a=GOOD.replace("all", "first")))
    assert [(policy.id, policy.file.name, policy.line) for policy in found.policies] == [
        ("first", "a.cedar", 1), ("all", "b.cedar", 2),
    ]  # fmt: skip
    assert found.policies[1].description == "Everything."
    assert found.policies[1].effect == "permit"


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Hidden files and those of other kinds are not read."""
    write_set(tmp_path, a=GOOD)
    for name in (".hidden.cedar", "README.md", "a.cedar.bak", "old.cedarschema"):
        (tmp_path / name).write_text("permit(")
    assert len(load(tmp_path).policies) == 1


def test_digest(tmp_path: Path) -> None:
    """The digest stands for names and contents: the same for the same, another for any change."""
    digests = {load(write_set(tmp_path / "1", a=GOOD)).digest, load(write_set(tmp_path / "2", a=GOOD)).digest}
    assert len(digests) == 1
    digests.add(load(write_set(tmp_path / "3", a=GOOD + " ")).digest)
    digests.add(load(write_set(tmp_path / "4", b=GOOD)).digest)
    assert len(digests) == 3


def test_reads(tmp_path: Path) -> None:
    """The set knows what its policies can read."""
    text = '@id("x") forbid(principal, action in Action::"send", resource) when { context.minute < 5 };'
    assert load(write_set(tmp_path, a=GOOD, b=text)).reads == {"minute"}


_OTP = '@id("b") forbid(principal, action == Action::"SendOtp", resource)'
FAULTS: list[tuple[str, str, str]] = [
    (
        "syntax",
        '// next\n@id("b")\npermit(principal,\n  action == == x,\n  resource);',
        "a.cedar:7: unexpected token `==`",
    ),
    ("no semicolon", '\n@id("b") permit(principal, action, resource)', "a.cedar:5: the last policy has no"),
    ("open quote", '@id("b) permit(principal, action, resource);\n', "a.cedar:4: "),
    ("open comment", "\n/* permit(principal, action, resource); */", "a.cedar:5: "),
    ("template", '@id("b")\npermit(principal == ?principal, action, resource);', "a.cedar:4: templates"),
    ("no id", "permit(principal, action, resource);", "a.cedar:4: has no @id"),
    ("empty id", '@id("") permit(principal, action, resource);', "a.cedar:4: has no @id"),
    ("odd id", '@id("A b") permit(principal, action, resource);', "a.cedar:4: 'A b' cannot be an @id"),
    ("reserved id", '@id("default-deny") permit(principal, action, resource);', "a.cedar:4: 'default-deny' cannot"),
    ("twice", f"\n{GOOD}", 'a.cedar:5: @id("all") is that of the policy at a.cedar:1 already'),
    ("unknown action", '@id("b")\npermit(principal,\n  action == Action::"Nope",\n  resource);', "a.cedar:6: b: unrec"),
    ("unknown type", '@id("b")\npermit(principal in Team::"x",\n action, resource);', "a.cedar:5: b: "),
    ("unknown attribute", f"{_OTP}\nwhen {{ context.nope }};", "a.cedar:5: b: attribute `nope`"),
    (
        "attribute of some",
        f'{_OTP[:26]} action, resource) when {{ context.sender == "A" }};',
        "a.cedar:4: b: attribute",
    ),
    ("optional unasked", f"{_OTP}\nwhen {{ context.address.isLoopback() }};", "a.cedar:5: b: "),
    ("wrong type", f'{_OTP}\nwhen {{ context.minute == "9:00" }};', "a.cedar:4: b: the types Long and String"),
]


@pytest.mark.parametrize(("text", "wanted"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_fault(tmp_path: Path, text: str, wanted: str) -> None:
    """A set with a fault is refused as a whole, with file and line."""
    found = refusals(write_set(tmp_path, a=GOOD + text))
    assert any(problem.startswith(wanted) for problem in found), found


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Every file's faults are told together, in the order of files and lines."""
    found = refusals(write_set(tmp_path, a="permit(;\npermit(principal, action, resource);", b="forbid(;"))
    assert [problem.rpartition(": ")[0].partition(": ")[0] for problem in found] == [
        "a.cedar:1",
        "a.cedar:2",
        "b.cedar:1",
    ]


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there is told with the command that makes one."""
    assert "smsgw policy init" in refusals(tmp_path / "none")[0]


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    """A file is no folder."""
    (tmp_path / "policy").touch()
    assert "cannot be read" in refusals(tmp_path / "policy")[0]


def _unreadable(folder: Path) -> None:
    (folder / "b.cedar").symlink_to(folder / "gone")


@pytest.mark.parametrize(
    ("breaking", "wanted"),
    [
        (lambda folder: (folder / "a.cedar").unlink(), "holds no policy"),
        (lambda folder: folder.chmod(0o770), "others than its owner can put policies here"),
        (lambda folder: (folder / "a.cedar").chmod(0o620), "a.cedar:0: others than its owner"),
        (lambda folder: (folder / "a.cedar").write_bytes(b"// \xff\n" + GOOD.encode()), "a.cedar:1: is not UTF-8"),
        (_unreadable, "b.cedar:0: cannot be read"),
    ],
)  # fmt: skip
def test_folder_at_fault(tmp_path: Path, breaking: Callable[[Path], None], wanted: str) -> None:
    """What is wrong with files is found before anything is parsed."""
    breaking(write_set(tmp_path, a=GOOD))
    assert any(wanted in problem for problem in refusals(tmp_path))


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Size of a file, number of files, number of policies: each has a bound."""
    write_set(tmp_path, a=GOOD, b=GOOD.replace("all", "b"))
    monkeypatch.setattr(loader, "MAX_POLICIES", 1)
    assert "holds 2 policies" in refusals(tmp_path)[0]
    monkeypatch.setattr(loader, "MAX_FILES", 1)
    assert "holds 2 files" in refusals(tmp_path)[0]
    monkeypatch.setattr(loader, "MAX_FILE_BYTES", 10)
    assert any("is larger" in problem for problem in refusals(tmp_path))


def test_a_new_method_is_an_action_at_once(tmp_path: Path) -> None:
    """A method that the table has can be named by policies, and one that it has no more cannot."""
    text = GOOD + '@id("new") forbid(principal, action == Action::"NewService.Do", resource);'
    folder = write_set(tmp_path, a=text)
    assert len(load_policies(folder, {**ACTIONS, "NewService.Do": "new:do"}).policies) == 2
    assert refusals(folder)[0].startswith("a.cedar:4: new: unrecognized action")
