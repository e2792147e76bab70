"""The files that GitHub reads, which nothing else here runs: their form, and the rules of this repository."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.y*ml"))
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def check(schema: str, *paths: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def jobs(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from yaml.safe_load(path.read_text())["jobs"].items()


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("vendor.github-workflows", "workflows/*.yaml"),
        ("custom.github-workflows-require-timeout", "workflows/*.yaml"),
        ("vendor.dependabot", "dependabot.yml"),
        ("vendor.github-issue-config", "ISSUE_TEMPLATE/config.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/[!c]*.yml"),
    ],
)
def test_each_file_has_the_form_that_github_publishes(schema: str, pattern: str) -> None:
    paths = sorted(GITHUB.glob(pattern))
    assert paths
    done = check(schema, *paths)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_schema_finds_a_misspelt_key(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    done = check("vendor.github-workflows", wrong)
    assert 1 == done.returncode
    assert "run-on" in done.stdout


def test_every_workflow_and_template_is_checked() -> None:
    listed = subprocess.run(["git", "ls-files", ".github"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {
        *(str(path.relative_to(ROOT)) for path in WORKFLOWS), ".github/dependabot.yml", ".github/ISSUE_TEMPLATE/config.yml",
        ".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/proposal.yml", ".github/pull_request_template.md",
    } == set(listed)  # fmt: skip


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_with_its_version_beside_it(path: Path) -> None:
    used = re.findall(r"uses: (.+)", path.read_text())
    assert used
    assert [] == [one for one in used if not PINNED.fullmatch(one)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_more_rights_than_a_job_asks_for(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in jobs(path):
        writes = {key for key, value in job.get("permissions", {}).items() if value == "write"}
        allowed = {"attest": {"attestations", "id-token"}, "publish": {"id-token"}, "page": {"contents"}}
        assert writes <= allowed.get(name, set()), name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_step_puts_a_text_of_others_into_a_shell(path: Path) -> None:
    for name, job in jobs(path):
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_step_runs_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for _, job in jobs(path):
        for step in job["steps"]:
            for target in re.findall(r"^make ([a-z-]+)$", step.get("run", ""), re.MULTILINE):
                assert target in targets
            for file in re.findall(r"(?:^|python )(\.ci/run|tools/\w+\.py)", step.get("run", "")):
                assert (ROOT / file).exists()


def test_ci_runs_on_the_oldest_and_the_newest_python() -> None:
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert oldest is not None
    ((_, job),) = jobs(GITHUB / "workflows/ci.yaml")
    assert oldest.group(1) == job["strategy"]["matrix"]["python"][0]
    assert 2 == len(job["strategy"]["matrix"]["python"])
    assert {"run": ".ci/run"} in job["steps"]


def test_a_release_publishes_without_a_password_with_attestations_and_bills_of_materials() -> None:
    steps = [step for _, job in jobs(GITHUB / "workflows/release.yaml") for step in job["steps"]]
    used = {step["uses"].partition("@")[0]: step.get("with", {}) for step in steps if "uses" in step}
    assert {"attestations": True} == used["pypa/gh-action-pypi-publish"]
    assert {"actions/attest-build-provenance", "actions/attest-sbom"} <= used.keys()
    assert "secrets." not in (GITHUB / "workflows/release.yaml").read_text()


def test_every_week_the_newest_versions_of_all_packages_are_tested() -> None:
    steps = dict(jobs(GITHUB / "workflows/weekly.yaml"))["newest-dependencies"]["steps"]
    commands = [step.get("run") for step in steps]
    assert commands.index("make lock") < commands.index(".ci/run")


def test_the_hooks_are_the_tools_of_the_virtual_environment() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert "local" == repository["repo"]
    for hook in repository["hooks"]:
        (program,) = re.findall(r"\.venv/bin/(\S+)", hook["entry"])
        assert Path(sys.executable).with_name(program).exists(), program
